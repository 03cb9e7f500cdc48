//! What a client is told when the protocol could not do what it asked: what has happened, and what to do about it.

use annulus_cluster::effect::Failure;
use annulus_net::resp::writer;

/// Appends the error of a command that failed so.
#[cold]
pub fn write(out: &mut Vec<u8>, failure: Failure) {
    writer::error(out, text(failure));
}

fn text(failure: Failure) -> &'static str {
    match failure {
        Failure::NoReplicas => {
            "NOREPLICAS too few nodes answer for this command; nothing was sent to any: send it again later, or ask for \
             fewer with DYN.CONSISTENCY"
        }
        Failure::InDoubt => {
            "INDOUBT too few nodes have confirmed the write in time; it was not acknowledged and may or may not survive: \
             read before retrying"
        }
        Failure::ReadTimeout => {
            "TRYAGAIN too few nodes answered the read in time; nothing was changed: send it again, or ask for fewer with \
             DYN.CONSISTENCY"
        }
        Failure::TooManySiblings => {
            "TOOMANYSIBLINGS the key has as many siblings as it may have; nothing was written: read it with DYN.GET and \
             write with the context that comes with it, or DEL it"
        }
        Failure::TooLarge => {
            "ERR the value is too long to be stored, or it and the siblings that would stay beside it are; nothing was \
             written: with the context of DYN.GET a write replaces the siblings"
        }
        Failure::Busy => "BUSY this core has as much under way as it may; nothing was changed: send it again later",
        Failure::NotCoordinating => {
            "TRYAGAIN this node coordinates no writes now: it waits for a new incarnation, or its disk takes no writes; \
             nothing was changed: send it again, or to another node"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_happened_and_what_to_do() {
        let cases = [
            (Failure::NoReplicas, "-NOREPLICAS "),
            (Failure::InDoubt, "-INDOUBT "),
            (Failure::ReadTimeout, "-TRYAGAIN "),
            (Failure::TooManySiblings, "-TOOMANYSIBLINGS "),
            (Failure::TooLarge, "-ERR the value is too long "),
            (Failure::Busy, "-BUSY "),
            (Failure::NotCoordinating, "-TRYAGAIN "),
        ];
        for (failure, code) in cases {
            let mut out = Vec::new();
            write(&mut out, failure);
            let reply = String::from_utf8(out).unwrap();
            assert!(reply.starts_with(code) && reply.contains(": ") && reply.ends_with("\r\n"), "{reply}");
            // Only a write that may have happened may not be sent again without a look.
            assert_eq!(reply.contains("read before retrying"), failure == Failure::InDoubt, "{reply}");
            assert_eq!(reply.lines().count(), 1);
        }
    }
}
