//! The options of DYN.GET, DYN.PUT and DYN.DEL: every one is a name and one argument.
//!
//! Invariant: no option is taken twice, and counts are within their bounds.

use crate::commands::expiry::{From, Unit};
use crate::commands::table::Command;
use crate::commands::{Args, yes_or_no};
use crate::consistency::{Bounds, Consistency, Count};

pub(super) struct Options<'v> {
    /// The text of a context.
    pub(super) context: Option<&'v [u8]>,
    /// Whether more than one owner may carry the write out.
    pub(super) is_repeatable: Option<bool>,
    /// An expiry that is not read yet.
    pub(super) expiry: Option<(&'v [u8], Unit, From)>,
    /// What the connection has said, and the command instead of it.
    pub(super) consistency: Consistency,
}

impl<'v> Options<'v> {
    /// Reads the options of a command. The error is the reply.
    pub(super) fn parse(
        command: Command,
        arguments: Args<'v>,
        (consistency, bounds): (Consistency, Bounds),
    ) -> Result<Self, String> {
        let mut options = Self { context: None, is_repeatable: None, expiry: None, consistency };
        let mut counted = [false; Count::ALL.len()];
        let (pairs, rest) = arguments.as_chunks::<2>();
        for &[name, argument] in pairs {
            let is_new = match Count::named(name).filter(|count| counts_of(command).contains(count)) {
                Some(count) => {
                    options.consistency.set(count, bounds.read(count, argument)?);
                    !std::mem::replace(&mut counted[count as usize], true)
                }
                None if is_named(name, "CONTEXT") && command != Command::DynGet => {
                    options.context.replace(argument).is_none()
                }
                None if is_named(name, "REPEATABLE") && command == Command::DynPut => {
                    options.is_repeatable.replace(yes_or_no("REPEATABLE", argument)?).is_none()
                }
                None => match expiry(name).filter(|_| command == Command::DynPut) {
                    Some((unit, from)) => options.expiry.replace((argument, unit, from)).is_none(),
                    None => return Err(unknown(command, name)),
                },
            };
            if !is_new {
                return Err("ERR syntax error".to_owned());
            }
        }
        match rest {
            [] => Ok(options),
            _ => Err("ERR syntax error".to_owned()),
        }
    }
}

/// The counts that a command may be given. A DYN.DEL without context reads before it deletes.
fn counts_of(command: Command) -> &'static [Count] {
    match command {
        Command::DynGet => &[Count::R, Count::Pr],
        Command::DynPut => &[Count::W, Count::Pw, Count::Dw],
        _ => &Count::ALL,
    }
}

fn is_named(name: &[u8], option: &str) -> bool {
    name.eq_ignore_ascii_case(option.as_bytes())
}

fn expiry(name: &[u8]) -> Option<(Unit, From)> {
    let all = [
        ("EX", Unit::Seconds, From::Now),
        ("PX", Unit::Milliseconds, From::Now),
        ("EXAT", Unit::Seconds, From::Epoch),
        ("PXAT", Unit::Milliseconds, From::Epoch),
    ];
    all.into_iter().find(|(option, ..)| is_named(name, option)).map(|(_, unit, from)| (unit, from))
}

fn unknown(command: Command, name: &[u8]) -> String {
    let (title, options) = match command {
        Command::DynGet => ("DYN.GET", "R and PR"),
        Command::DynPut => ("DYN.PUT", "CONTEXT, REPEATABLE, W, PW, DW, EX, PX, EXAT and PXAT"),
        _ => ("DYN.DEL", "CONTEXT, R, W, PR, PW and DW"),
    };
    let name = String::from_utf8_lossy(&name[..name.len().min(32)]);
    format!("ERR {title} has no option '{name}'; it has {options}")
}
