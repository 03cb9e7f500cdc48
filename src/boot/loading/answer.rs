//! The reply to one command while the node loads.
//!
//! Invariant: every command gets exactly one reply, in RESP2, because HELLO is not served yet.

use annulus_net::resp::{Arguments, writer};

use super::estimate::Loaded;

/// What becomes of the client behind the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Its next command.
    GoOn,
    /// It is closed.
    Close,
}

/// Answers a command. Nobody is asked for a password: what INFO tells here, `/health/ready` tells as well.
pub(super) fn answer(out: &mut Vec<u8>, args: Arguments<'_>, loaded: &Loaded) -> Then {
    let is = |name: &str| args[0].eq_ignore_ascii_case(name.as_bytes());
    if is("quit") {
        out.extend_from_slice(writer::OK);
        return Then::Close;
    }
    if is("info") {
        writer::bulk(out, info(loaded).as_bytes());
    } else {
        refuse(out, loaded);
    }
    Then::GoOn
}

/// The reply to what is not looked at.
pub(super) fn refuse(out: &mut Vec<u8>, loaded: &Loaded) {
    let percent = loaded.percent().floor();
    writer::error(out, &format!("LOADING Annulus is loading the dataset: {percent} % done"));
}

/// Whatever sections are asked for: there is nothing to tell in the others.
fn info(loaded: &Loaded) -> String {
    let (percent, eta) = (loaded.percent(), loaded.eta_seconds());
    format!("# Persistence\r\nloading:1\r\nloading_loaded_perc:{percent:.2}\r\nloading_eta_seconds:{eta}\r\n")
}
