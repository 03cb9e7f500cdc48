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
}

impl Gather {
    /// A gather of `parts` parts, none of which has answered.
    pub fn new(kind: Kind, to: ReplyTo, protocol: Protocol, parts: usize) -> Self {
        assert!(parts > 0, "a command has a part");
        Self { kind, to, protocol, parts: vec![None; parts], missing: parts }
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
        match self.kind {
            Kind::Sum => writer::integer(out, parts().map(|part| reader::read_integer(part).unwrap_or(0)).sum()),
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
            Kind::AnyKey => match parts().find(|part| !is_null(part)) {
                Some(part) => out.extend_from_slice(part),
                None => writer::null(out, self.protocol),
            },
            Kind::Text => {
                let mut text = Vec::new();
                parts().for_each(|part| text.extend_from_slice(reader::read_bulk(part).unwrap_or_default()));
                writer::bulk(out, &text);
            }
        }
    }
}

fn is_null(reply: &[u8]) -> bool {
    reply.starts_with(b"_") || reply.starts_with(b"$-1") || reply.starts_with(b"*-1")
}
