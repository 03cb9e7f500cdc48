//! Commands that are several: one part per key or per core, and one reply made of the parts' replies.
//!
//! Invariant: a gather ends when its last part has answered; the first error among the parts is then its reply.

use annulus_net::resp::{Protocol, reader, writer};

use crate::commands::table::Gather as Kind;
use crate::replies::ReplyBytes;
use crate::waiting::ReplyTo;

/// One command in parts.
#[derive(Debug)]
pub struct Gather {
    kind: Kind,
    to: ReplyTo,
    protocol: Protocol,
    parts: Vec<Option<ReplyBytes>>,
    missing: usize,
    /// Where a choice among the parts begins.
    first: usize,
    /// What the whole reply begins with.
    head: Vec<u8>,
}

impl Gather {
    /// A gather of `parts` parts, none of which has answered.
    pub fn new(kind: Kind, to: ReplyTo, protocol: Protocol, parts: usize, random: u64) -> Self {
        assert!(parts > 0, "a command has a part");
        let first = usize::try_from(random % parts as u64).expect("less than parts");
        Self { kind, to, protocol, parts: vec![None; parts], missing: parts, first, head: Vec::new() }
    }

    /// Puts the beginning of a larger reply before what is gathered: the header of a map, say, and its first values.
    pub fn put_before(&mut self, head: &[u8]) {
        self.head.extend_from_slice(head);
    }

    /// Takes a part's reply; true when it was the last.
    pub fn fill(&mut self, part: u32, reply: &[u8]) -> bool {
        let place = &mut self.parts[part as usize];
        assert!(place.is_none(), "a part answers once");
        *place = Some(ReplyBytes::from_slice(reply));
        self.missing -= 1;
        self.missing == 0
    }

    /// Where the whole reply goes.
    pub fn to(&self) -> ReplyTo {
        self.to
    }

    /// How its replies are written.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Writes the whole reply.
    pub fn finish(&self, out: &mut Vec<u8>) {
        assert_eq!(self.missing, 0, "every part has answered");
        let parts = || self.parts.iter().map(|part| part.as_deref().expect("every part has answered"));
        if let Some(error) = parts().find(|part| part.first() == Some(&b'-')) {
            // MGET shows what it can: Redis answers nil for what is no string, and an unreadable value is reported.
            out.extend_from_slice(error);
            return;
        }
        out.extend_from_slice(&self.head);
        match self.kind {
            Kind::Sum => {
                // Another node may say any number.
                let counts = parts().map(|part| reader::read_integer(part).unwrap_or(0));
                writer::integer(out, counts.fold(0, i64::saturating_add));
            }
            Kind::AllOk => writer::simple(out, "OK"),
            Kind::Positions => {
                writer::array_header(out, self.parts.len());
                parts().for_each(|part| out.extend_from_slice(part));
            }
            Kind::Concat => {
                let items = || parts().filter_map(reader::array_items).flatten();
                writer::array_header(out, items().count());
                items().for_each(|item| out.extend_from_slice(item));
            }
            Kind::AnyKey | Kind::AnyOr(_) => {
                // Not always the first core's: RANDOMKEY would know only that core's keys.
                let order = parts().cycle().skip(self.first).take(self.parts.len());
                match (order.into_iter().find(|part| !is_null(part)), self.kind) {
                    (Some(part), _) => out.extend_from_slice(part),
                    (None, Kind::AnyOr(error)) => writer::error(out, error),
                    (None, _) => writer::null(out, self.protocol),
                }
            }
            Kind::Newest(most) => {
                let mut items: Vec<&[u8]> = parts().filter_map(reader::array_items).flatten().collect();
                items.sort_by_key(|item| std::cmp::Reverse(leading_integer(item)));
                items.truncate(most as usize);
                writer::array_header(out, items.len());
                items.iter().for_each(|item| out.extend_from_slice(item));
            }
            Kind::Text => {
                let mut text = Vec::new();
                parts().for_each(|part| text.extend_from_slice(reader::read_bulk(part).unwrap_or_default()));
                writer::bulk(out, &text);
            }
        }
    }
}

/// The integer at the start of an array.
fn leading_integer(array: &[u8]) -> i64 {
    reader::array_items(array).and_then(|mut items| items.next()).and_then(reader::read_integer).unwrap_or(0)
}

fn is_null(reply: &[u8]) -> bool {
    reply.starts_with(b"_") || reply.starts_with(b"$-1") || reply.starts_with(b"*-1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(kind: Kind, replies: &[&[u8]]) -> String {
        let mut gather = Gather::new(kind, ReplyTo::Nobody, Protocol::Resp2, replies.len(), 1);
        // In any order: the last one first.
        for (part, reply) in replies.iter().enumerate().rev() {
            assert_eq!(gather.fill(u32::try_from(part).unwrap(), reply), part == 0);
        }
        let mut out = Vec::new();
        gather.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parts_become_one_reply() {
        assert_eq!(gathered(Kind::Sum, &[b":2\r\n", b":40\r\n"]), ":42\r\n");
        let most = b":9223372036854775807\r\n";
        assert_eq!(gathered(Kind::Sum, &[most, b":1\r\n", most]).as_bytes(), most);
        assert_eq!(gathered(Kind::AllOk, &[b"+OK\r\n", b"+OK\r\n"]), "+OK\r\n");
        assert_eq!(gathered(Kind::AllOk, &[b"+OK\r\n", b"-OOM no\r\n"]), "-OOM no\r\n");
        assert_eq!(gathered(Kind::Positions, &[b"$1\r\na\r\n", b"$-1\r\n"]), "*2\r\n$1\r\na\r\n$-1\r\n");
        assert_eq!(gathered(Kind::Concat, &[b"*1\r\n$1\r\na\r\n", b"*0\r\n"]), "*1\r\n$1\r\na\r\n");
        assert_eq!(gathered(Kind::Text, &[b"$2\r\nx\n\r\n", b"$2\r\ny\n\r\n"]), "$4\r\nx\ny\n\r\n");
    }

    #[test]
    fn one_of_several_is_chosen() {
        let (null, a, b): (&[u8], &[u8], &[u8]) = (b"$-1\r\n", b"$1\r\na\r\n", b"$1\r\nb\r\n");
        assert_eq!(gathered(Kind::AnyKey, &[a, b]), "$1\r\nb\r\n");
        assert_eq!(gathered(Kind::AnyKey, &[a, null]), "$1\r\na\r\n");
        assert_eq!(gathered(Kind::AnyKey, &[null, null]), "$-1\r\n");
        assert_eq!(gathered(Kind::AnyOr("ERR none"), &[null, null]), "-ERR none\r\n");
    }

    #[test]
    fn a_head_comes_before_what_is_gathered_but_not_before_an_error() {
        let whole = |second: &[u8]| {
            let mut gather = Gather::new(Kind::Positions, ReplyTo::Nobody, Protocol::Resp3, 2, 0);
            gather.put_before(b"%1\r\n+all\r\n");
            assert!(!gather.fill(0, b":1\r\n") && gather.fill(1, second));
            let mut out = Vec::new();
            gather.finish(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(whole(b":2\r\n"), "%1\r\n+all\r\n*2\r\n:1\r\n:2\r\n");
        assert_eq!(whole(b"-ERR no\r\n"), "-ERR no\r\n");
    }

    #[test]
    fn the_newest_of_all_cores_are_kept() {
        let parts: [&[u8]; 2] = [b"*2\r\n*1\r\n:7\r\n*1\r\n:1\r\n", b"*1\r\n*1\r\n:5\r\n"];
        assert_eq!(gathered(Kind::Newest(2), &parts), "*2\r\n*1\r\n:7\r\n*1\r\n:5\r\n");
    }
}
