//! Bytes of one exchange under one deadline: the head of a request in, an answer out.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// What is needed of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
}

/// Why there is no request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// The client closed, or the connection broke.
    Gone,
    /// Not HTTP.
    Malformed,
    /// No end within the limit.
    TooLarge,
    /// No end before the deadline.
    Late,
}

/// Reads up to the empty line; a body is not read.
pub(super) fn read(mut stream: &TcpStream, deadline: Instant) -> Result<Head, ReadError> {
    let mut buffer = [0; HEAD_BYTES_MAX];
    let mut filled = 0;
    while filled < buffer.len() {
        let left = left(deadline).ok_or(ReadError::Late)?;
        stream.set_read_timeout(Some(left)).map_err(|_| ReadError::Gone)?;
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(ReadError::Gone),
            Ok(count) => filled += count,
            Err(error) if is_timeout(&error) => return Err(ReadError::Late),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(ReadError::Gone),
        }
        if buffer[..filled].windows(4).any(|window| window == b"\r\n\r\n") {
            return parse(&buffer[..filled]).ok_or(ReadError::Malformed);
        }
    }
    Err(ReadError::TooLarge)
}

/// Writes everything before the deadline, or fails.
pub(super) fn write(mut stream: &TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        let left = left(deadline).ok_or(io::ErrorKind::TimedOut)?;
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // The client learns the end from this rather than from a reset when it had sent more than was read.
    stream.shutdown(std::net::Shutdown::Write)
}

/// `METHOD SP TARGET SP HTTP/1.x`.
fn parse(head: &[u8]) -> Option<Head> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_plain = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_plain || !target.starts_with('/') || !version.starts_with("HTTP/1.") || words.next().is_some() {
        return None;
    }
    let path = target.split('?').next()?;
    Some(Head { method: method.to_owned(), path: path.to_owned() })
}

/// Time until the deadline, `None` once there is none; a timeout of zero would mean for ever.
fn left(deadline: Instant) -> Option<Duration> {
    Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines() {
        let head = |method: &str, path: &str| Some(Head { method: method.to_owned(), path: path.to_owned() });
        assert_eq!(parse(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), head("GET", "/metrics"));
        assert_eq!(parse(b"POST /a?b=c HTTP/1.0\r\n\r\n"), head("POST", "/a"));
        for bad in [
            "",
            "GET",
            "GET /",
            "GET / HTTP/2",
            "get / HTTP/1.1",
            "GET x HTTP/1.1",
            "GET / HTTP/1.1 x",
            "\u{ff} / HTTP/1.1",
        ] {
            assert_eq!(parse(format!("{bad}\r\n\r\n").as_bytes()), None, "{bad}");
        }
    }
}
