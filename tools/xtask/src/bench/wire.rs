//! One command and its reply over a connection of its own, for asking a server how it is. Not a client for load.
//!
//! Invariant: every read and write has a deadline; an error reply is an error.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Longest reply that is read: INFO is the longest that is asked for.
const REPLY_BYTES_MAX: u64 = 1 << 20;

/// Sends words, returns the reply's text: a simple or bulk string, a number, or all that are in an array, one a line; what is
/// not known is an empty line there.
pub fn ask(port: u16, words: &[&str], deadline: Duration) -> Result<String, String> {
    let what = || words.first().copied().unwrap_or_default();
    exchange(port, words, deadline).map_err(|error| format!("{} on port {port}: {error}", what()))
}

fn exchange(port: u16, words: &[&str], deadline: Duration) -> Result<String, String> {
    let text = |error: std::io::Error| error.to_string();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, deadline).map_err(text)?;
    stream.set_read_timeout(Some(deadline)).and_then(|()| stream.set_write_timeout(Some(deadline))).map_err(text)?;
    stream.write_all(&encode(words)).map_err(text)?;
    let reply = read_reply(&mut BufReader::new(stream.take(REPLY_BYTES_MAX)))?;
    reply.ok_or_else(|| "there is no value".into())
}

/// A command as RESP.
fn encode(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// One reply; `None` where there is no value.
fn read_reply(source: &mut dyn BufRead) -> Result<Option<String>, String> {
    let mut line = String::new();
    source.read_line(&mut line).map_err(|error| error.to_string())?;
    let line = line.strip_suffix("\r\n").ok_or("the connection ended within a reply")?;
    let mut characters = line.chars();
    let (kind, rest) = (characters.next(), characters.as_str());
    match kind {
        Some('+' | ':') => Ok(Some(rest.into())),
        Some('$') if rest == "-1" => Ok(None),
        Some('$') => {
            let length: usize = rest.parse().map_err(|_| format!("{line} is no length"))?;
            let mut bytes = vec![0; length.min(REPLY_BYTES_MAX as usize)];
            source.read_exact(&mut bytes).map_err(|error| error.to_string())?;
            source.read_line(&mut String::new()).map_err(|error| error.to_string())?;
            String::from_utf8(bytes).map(Some).map_err(|_| "the value is no text".into())
        }
        Some('*') => {
            let count: usize = rest.parse().map_err(|_| "there is no array".to_string())?;
            let items: Result<Vec<Option<String>>, String> = (0..count).map(|_| read_reply(source)).collect();
            items.map(|items| Some(items.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("\n")))
        }
        _ => Err(line.into()),
    }
}

/// A field of INFO.
pub fn field(info: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok();
    info.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        assert_eq!(encode(&["GET", "a"]), b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
    }

    #[test]
    fn replies_are_text_or_errors() {
        let read = |text: &str| read_reply(&mut text.as_bytes());
        assert_eq!(read("+PONG\r\n"), Ok(Some("PONG".into())));
        assert_eq!(read("$3\r\nabc\r\n"), Ok(Some("abc".into())));
        assert_eq!(read("*2\r\n$4\r\ncore\r\n*1\r\n:0\r\n"), Ok(Some("core\n0".into())));
        assert_eq!(read("*3\r\n$1\r\na\r\n$-1\r\n:0\r\n"), Ok(Some("a\n\n0".into())), "a line for what is not known");
        assert_eq!(read("$-1\r\n"), Ok(None));
        assert_eq!(read("-LOADING wait\r\n"), Err("-LOADING wait".into()));
        assert!(read("$x\r\n").is_err() && read("$5\r\nab").is_err() && read("").is_err() && read("+PO").is_err());
    }

    #[test]
    fn fields_of_info_are_found_by_their_whole_name() {
        let info = "# Stats\r\ntotal_commands:7\r\ntotal_commands_processed:42\r\n";
        assert_eq!(field(info, "total_commands_processed"), Some(42));
        assert_eq!(field(info, "processed"), None);
    }
}
