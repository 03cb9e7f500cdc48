//! A reply as a tree, and the tree as JSON.
//!
//! Invariant: the order of a map's fields is the node's.

use std::fmt::Write as _;

use annulus_net::resp::reader;

/// One reply, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Nothing.
    Null,
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Another number, as it was written.
    Number(String),
    /// Any text.
    Text(String),
    /// Several values.
    List(Vec<Value>),
    /// Named values.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// A complete reply, whose end [`reader::reply_end`] has found; what is nested in it is bounded by that.
    pub fn read(reply: &[u8]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let line = || text(reply[1..].strip_suffix(b"\r\n").unwrap_or_default());
        match reply[0] {
            b':' => reader::read_integer(reply).map_or(Self::Null, Self::Integer),
            b'#' => Self::Flag(reply.starts_with(b"#t")),
            b',' => Self::Number(line()),
            b'$' => reader::read_bulk(reply).map_or(Self::Null, |bytes| Self::Text(text(bytes))),
            b'*' | b'~' | b'>' => match reader::array_items(reply) {
                Some(items) => Self::List(items.map(Self::read).collect()),
                None => Self::Null,
            },
            b'%' => {
                let items: Vec<Self> = reader::array_items(reply).into_iter().flatten().map(Self::read).collect();
                Self::Map(items.chunks_exact(2).map(|pair| (pair[0].shown(), pair[1].clone())).collect())
            }
            b'_' => Self::Null,
            _ => Self::Text(line()),
        }
    }

    /// A single value as a cell of a table shows it; what holds others, as JSON.
    pub fn shown(&self) -> String {
        match self {
            Self::Null => "-".to_owned(),
            Self::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Number(text) | Self::Text(text) => text.clone(),
            Self::List(_) | Self::Map(_) => self.to_json(),
        }
    }

    /// In one line.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Flag(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Self::Integer(number) => out.push_str(&number.to_string()),
            // JSON has neither infinities nor what is no number.
            Self::Number(text) if text.parse().is_ok_and(f64::is_finite) => out.push_str(text),
            Self::Number(text) | Self::Text(text) => write_text(out, text),
            Self::List(items) => {
                write_all(out, ['[', ']'], items, |out, item| item.write_json(out));
            }
            Self::Map(fields) => write_all(out, ['{', '}'], fields, |out, (name, value)| {
                write_text(out, name);
                out.push(':');
                value.write_json(out);
            }),
        }
    }
}

fn write_all<T>(out: &mut String, [open, close]: [char; 2], items: &[T], mut write: impl FnMut(&mut String, &T)) {
    out.push(open);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(close);
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            character if character < ' ' => {
                write!(out, "\\u{:04x}", u32::from(character)).expect("writing to a string");
            }
            character => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_every_type_become_json() {
        for (reply, json) in [
            ("+OK\r\n", r#""OK""#),
            (":-12\r\n", "-12"),
            ("$5\r\na\"\\\n\u{1}\r\n", r#""a\"\\\u000a\u0001""#),
            ("$-1\r\n", "null"),
            ("*-1\r\n", "null"),
            ("_\r\n", "null"),
            ("#t\r\n", "true"),
            (",1.5\r\n", "1.5"),
            (",inf\r\n", r#""inf""#),
            ("*0\r\n", "[]"),
            ("~2\r\n:1\r\n*1\r\n+x\r\n", r#"[1,["x"]]"#),
            ("%2\r\n$1\r\nb\r\n#f\r\n+a\r\n%1\r\n:1\r\n_\r\n", r#"{"b":false,"a":{"1":null}}"#),
        ] {
            assert_eq!(Value::read(reply.as_bytes()).to_json(), json, "{reply}");
        }
    }

    #[test]
    fn cells() {
        let shown = |reply: &str| Value::read(reply.as_bytes()).shown();
        assert_eq!([shown("_\r\n"), shown("#f\r\n"), shown(":7\r\n"), shown("+a b\r\n")], ["-", "no", "7", "a b"]);
        assert_eq!(shown("*1\r\n:7\r\n"), "[7]");
    }
}
