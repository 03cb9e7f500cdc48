//! A RESP2 and RESP3 client of the tests' own: strict about every byte, so that a sloppy reply fails here.
//!
//! It knows types, never commands. Its text form (`Display`) is one to one with the bytes: two replies
//! print alike only when they are equal on the wire, the order of a map's pairs included.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+…`
    Simple(String),
    /// `-…`
    Error(String),
    /// `:…`
    Integer(i64),
    /// `$…`
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    /// `#t`, `#f`
    Boolean(bool),
    /// `,…`: as written, since the spelling is what is compared
    Double(String),
    /// `=…`
    Verbatim(Vec<u8>),
    /// `*` array, `%` map (keys and values in turn), `~` set, `>` push
    Aggregate(u8, Vec<Reply>),
}

impl Reply {
    /// The bulk string's bytes, or a panic that shows what came instead.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Reply::Bulk(bytes) | Reply::Verbatim(bytes) => bytes,
            other => panic!("expected a bulk string, got {other}"),
        }
    }

    /// The integer, or a panic that shows what came instead.
    pub fn integer(&self) -> i64 {
        match self {
            Reply::Integer(number) => *number,
            other => panic!("expected an integer, got {other}"),
        }
    }

    /// The elements of an aggregate, or a panic that shows what came instead.
    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Aggregate(_, items) => items,
            other => panic!("expected an aggregate, got {other}"),
        }
    }

    /// Any of the three ways to say nothing.
    pub fn is_null(&self) -> bool {
        matches!(self, Reply::NullBulk | Reply::NullArray | Reply::Null)
    }

    /// The error's text, when it is one.
    pub fn error(&self) -> Option<&str> {
        match self {
            Reply::Error(text) => Some(text),
            _ => None,
        }
    }

    /// Panics unless it is `+OK`.
    pub fn expect_ok(&self) {
        assert_eq!(*self, Reply::Simple("OK".into()), "expected +OK, got {self}");
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Simple(text) => write!(f, "+{text}"),
            Reply::Error(text) => write!(f, "-{text}"),
            Reply::Integer(number) => write!(f, ":{number}"),
            Reply::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Reply::NullBulk => write!(f, "$-1"),
            Reply::NullArray => write!(f, "*-1"),
            Reply::Null => write!(f, "_"),
            Reply::Boolean(value) => write!(f, "#{}", if *value { 't' } else { 'f' }),
            Reply::Double(text) => write!(f, ",{text}"),
            Reply::Verbatim(bytes) => write!(f, "=\"{}\"", bytes.escape_ascii()),
            Reply::Aggregate(kind, items) => {
                write!(f, "{}[", char::from(*kind))?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index > 0 { ", " } else { "" })?;
                }
                write!(f, "]")
            }
        }
    }
}

/// Appends a command as an array of bulk strings.
pub fn encode(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
}

impl Client {
    /// Connects to 127.0.0.1; reads give up after a generous deadline.
    pub fn connect(port: u16) -> Self {
        Client::try_connect(port).expect("the node accepts connections")
    }

    /// Connects to 127.0.0.1.
    pub fn try_connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(super::PATIENCE))?;
        stream.set_write_timeout(Some(super::PATIENCE))?;
        Ok(Client { stream, buffer: Vec::new(), start: 0 })
    }

    /// The socket itself, for the tests that misuse it.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// A second handle on the same socket, for a thread that writes while this one reads.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor is left")
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a command and waits for its reply.
    pub fn try_command(&mut self, arguments: &[&[u8]]) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        encode(&mut bytes, arguments);
        self.send(&bytes)?;
        self.read_reply()
    }

    /// Sends a command given as bytes and waits for its reply.
    pub fn command(&mut self, arguments: &[&[u8]]) -> Reply {
        self.try_command(arguments).expect("the node answers")
    }

    /// Sends a command of plain words (`"SET a b"`) and waits for its reply.
    pub fn words(&mut self, line: &str) -> Reply {
        let arguments: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        self.command(&arguments)
    }

    /// Reads one reply; an end of stream inside or before it is `UnexpectedEof`.
    pub fn read_reply(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (&kind, rest) = line.split_first().ok_or_else(|| bad("an empty line"))?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        let number = || text().parse::<i64>().map_err(|_| bad("not a number"));
        match kind {
            b'+' => Ok(Reply::Simple(text())),
            b'-' => Ok(Reply::Error(text())),
            b':' => Ok(Reply::Integer(number()?)),
            b',' => Ok(Reply::Double(text())),
            b'_' if rest.is_empty() => Ok(Reply::Null),
            b'#' if rest == b"t" || rest == b"f" => Ok(Reply::Boolean(rest == b"t")),
            b'$' | b'=' if rest == b"-1" => Ok(Reply::NullBulk),
            b'*' if rest == b"-1" => Ok(Reply::NullArray),
            b'$' => Ok(Reply::Bulk(self.body(number()?)?)),
            b'=' => Ok(Reply::Verbatim(self.body(number()?)?)),
            b'*' | b'~' | b'>' | b'%' => {
                let count = number()? * if kind == b'%' { 2 } else { 1 };
                let items: io::Result<Vec<Reply>> = (0..count).map(|_| self.read_reply()).collect();
                Ok(Reply::Aggregate(kind, items?))
            }
            _ => Err(bad(&format!("a reply that begins {:?}", String::from_utf8_lossy(&line)))),
        }
    }

    /// Reads until the other side closes; what had been buffered comes first.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = self.buffer.split_off(self.start);
        self.start = 0;
        self.buffer.clear();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(rest),
            Err(error) => Err(error),
            Ok(_) => Ok(rest),
        }
    }

    /// Sets how long a read may take.
    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a positive timeout");
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut searched = self.start;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|&byte| byte == b'\n') {
                let end = searched + at;
                let line = self.buffer[self.start..end].to_vec();
                self.start = end + 1;
                let Some((b'\r', line)) = line.split_last() else {
                    return Err(bad("LF without CR"));
                };
                return Ok(line.to_vec());
            }
            searched = self.buffer.len();
            searched -= self.fill()?;
        }
    }

    fn body(&mut self, bytes: i64) -> io::Result<Vec<u8>> {
        let bytes = usize::try_from(bytes).map_err(|_| bad("a negative length"))?;
        while self.buffer.len() - self.start < bytes + 2 {
            self.fill()?;
        }
        let body = self.buffer[self.start..self.start + bytes].to_vec();
        let end = self.start + bytes;
        if &self.buffer[end..end + 2] != b"\r\n" {
            return Err(bad("a bulk string without CRLF at its end"));
        }
        self.start = end + 2;
        Ok(body)
    }

    /// Reads more; gives back by how much the buffer's front moved.
    fn fill(&mut self) -> io::Result<usize> {
        let moved = std::mem::take(&mut self.start);
        self.buffer.drain(..moved);
        let length = self.buffer.len();
        self.buffer.resize(length + 64 * 1024, 0);
        let read = self.stream.read(&mut self.buffer[length..]);
        self.buffer.truncate(length + *read.as_ref().unwrap_or(&0));
        match read? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the node closed the connection")),
            _ => Ok(moved),
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP: {what}"))
}
