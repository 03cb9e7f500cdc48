//! The store's own commands on one key, which show what Redis' commands hide: DYN.GET gives all siblings and the context that
//! covers them, DYN.PUT and DYN.DEL replace what a context has seen.
//!
//! They always go through the protocol, on a node alone too. Nothing here touches a store: [`parse`] says what is wanted, the
//! other functions write the answers down.
//!
//! ```text
//!  DYN.GET key ──▶ [context, value, value]          DYN.PUT key merged CONTEXT context ──▶ context
//! ```
//!
//! Invariant: a context that is given out was encoded for its key, and one that is taken belongs to its key.

mod options;

use annulus_cluster::token::Token;
use annulus_net::resp::writer;
use annulus_object::{Context, Dot, ObjectView};
use smallvec::SmallVec;

use super::Args;
use super::data::live_siblings;
use super::expiry;
use super::table::Command;
use crate::consistency::{Bounds, Consistency};
use options::Options;

/// What a command asks of the protocol.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted<'v> {
    /// To be answered by [`write_found`].
    Read,
    /// To be answered by [`write_written`].
    Write {
        /// `None` deletes.
        value: Option<&'v [u8]>,
        /// Unix milliseconds; 0 = never.
        expires_at_ms: u64,
        /// What the client has seen; `None` is a blind write.
        seen: Option<Token>,
        /// More than one owner may carry it out; only of a value with a context.
        is_repeatable: bool,
    },
}

/// A command, read and checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed<'v> {
    /// What to do.
    pub wanted: Wanted<'v>,
    /// What the connection has said, and the command instead of it.
    pub consistency: Consistency,
}

/// When a command is run, and under what.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// The key's keyed hash.
    pub hash: u128,
    /// The wall clock, Unix milliseconds.
    pub now_ms: u64,
    /// What the connection has said.
    pub consistency: Consistency,
    /// What may be asked for.
    pub bounds: Bounds,
}

/// What stands behind a command's key and value.
pub fn options<'v>(command: Command, args: Args<'v>) -> Args<'v> {
    let first = if command == Command::DynPut { 3 } else { 2 };
    args.get(first..).unwrap_or_default()
}

/// Reads DYN.GET, DYN.PUT or DYN.DEL, whose number of arguments has been checked. The error is the reply.
pub fn parse<'v>(command: Command, args: Args<'v>, circumstances: Circumstances) -> Result<Parsed<'v>, String> {
    let Circumstances { hash, now_ms, consistency, bounds } = circumstances;
    let options = Options::parse(command, options(command, args), (consistency, bounds))?;
    let wanted = match command {
        Command::DynGet => Wanted::Read,
        Command::DynPut | Command::DynDel => {
            let expires_at_ms = match options.expiry {
                None => 0,
                Some((argument, unit, from)) => expiry::parse_expiry(argument, unit, from, now_ms, "dyn.put")?,
            };
            let seen = options.context.map(|text| Token::decode(text, hash)).transpose();
            let seen = seen.map_err(|error| format!("ERR {error}: read the key with DYN.GET for another"))?;
            let is_repeatable = options.is_repeatable.unwrap_or(false);
            if is_repeatable && seen.is_none() {
                return Err(
                    "ERR REPEATABLE needs a CONTEXT: without one it would replace what is written meanwhile".into()
                );
            }
            let is_over = (1..=now_ms).contains(&expires_at_ms);
            match args.get(2).filter(|_| command == Command::DynPut && !is_over) {
                Some(value) => Wanted::Write { value: Some(*value), expires_at_ms, seen, is_repeatable },
                // As with SET, a value whose expiry has come is none.
                None => Wanted::Write { value: None, expires_at_ms: 0, seen, is_repeatable },
            }
        }
        other => unreachable!("{other:?} is none of these commands"),
    };
    Ok(Parsed { wanted, consistency: options.consistency })
}

/// Answers DYN.GET: the context, and the values of all siblings that live, the newest first. `object` was checked before; it
/// is empty where nobody has one.
pub fn write_found(out: &mut Vec<u8>, object: &[u8], hash: u128, now_ms: u64) {
    let values: SmallVec<[&[u8]; 4]> = live_siblings(object, now_ms).filter_map(|sibling| sibling.value).collect();
    writer::array_header(out, 1 + values.len());
    write_token(out, &seen_with(object), hash);
    values.iter().for_each(|value| writer::bulk(out, value));
}

/// Answers DYN.PUT and DYN.DEL: the context for the client's next write. `written` is what the protocol says of a write: its
/// dot, whether it stands alone, and the encoded context.
pub fn write_written(out: &mut Vec<u8>, written: (Dot, bool, &[u8]), hash: u128) {
    write_token(out, &token_of_write(written), hash);
}

/// The context as an attribute of a GET's reply, which follows; only RESP3 has attributes.
pub fn write_found_attribute(out: &mut Vec<u8>, object: &[u8], hash: u128) {
    write_attribute(out, &seen_with(object), hash);
}

/// The context as an attribute of a SET's reply, which follows.
pub fn write_written_attribute(out: &mut Vec<u8>, written: (Dot, bool, &[u8]), hash: u128) {
    write_attribute(out, &token_of_write(written), hash);
}

/// Whether the reply to a command carries the context, for who asked for that.
#[inline]
pub fn has_attribute(command: Command, consistency: Consistency) -> bool {
    consistency.attributes && matches!(command, Command::Get | Command::Set)
}

fn seen_with(object: &[u8]) -> Token {
    let seen = |object| ObjectView::checked_before(object).context().to_context();
    Token { context: if object.is_empty() { Context::default() } else { seen(object) }, own: None }
}

fn token_of_write((dot, is_alone, context): (Dot, bool, &[u8])) -> Token {
    let context = Context::decode(context).expect("the protocol has encoded it");
    Token::of_write(dot, is_alone, context)
}

fn write_token(out: &mut Vec<u8>, token: &Token, hash: u128) {
    let mut text = Vec::new();
    token.encode(hash, &mut text);
    writer::bulk(out, &text);
}

fn write_attribute(out: &mut Vec<u8>, token: &Token, hash: u128) {
    writer::attribute_header(out, 1);
    writer::bulk(out, b"context");
    write_token(out, token, hash);
}

#[cfg(test)]
mod tests;
