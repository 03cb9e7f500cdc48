//! The commands: what each one does, one file per family, and the table that says how each is routed.
//!
//! Data commands ([`run`]) work on one key, on the core that owns it; those of [`dynamo`] do so by the protocol only. Session commands ([`session::run`]) are answered by
//! the client's own core, or by every core through a gather.

pub mod acknowledged;
pub mod admin;
pub mod client;
pub mod cluster;
pub mod connection;
pub mod data;
pub mod describe;
pub mod dynamo;
pub mod expiry;
pub mod failures;
pub mod info;
pub mod keys;
pub mod latency;
pub mod scan_options;
pub mod server;
pub mod session;
pub mod slowlog;
pub mod strings;
pub mod table;

use annulus_engine::Key;

use data::{Data, Keys, Outcome};
use table::Command;

/// A command's arguments, its name first.
pub type Args<'a> = &'a [&'a [u8]];

/// The argument of an option that is on or off. The error is the reply.
fn yes_or_no(option: &str, argument: &[u8]) -> Result<bool, String> {
    match argument.to_ascii_lowercase().as_slice() {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err(format!("ERR {option} must be yes or no")),
    }
}

/// Runs a data command on the core that owns its key.
#[inline]
pub fn run<'v, K: Keys<'v>>(command: Command, data: &mut Data<'_, K>, key: &Key<'_>, args: Args<'v>) -> Outcome {
    let outcome = run_to_end(command, data, key, args);
    data.keys.end(outcome)
}

fn run_to_end<'v, K: Keys<'v>>(command: Command, data: &mut Data<'_, K>, key: &Key<'_>, args: Args<'v>) -> Outcome {
    match command {
        Command::Get => strings::get(data, key),
        Command::Set => strings::set(data, key, args),
        Command::SetEx => strings::setex(data, key, args, expiry::Unit::Seconds),
        Command::PSetEx => strings::setex(data, key, args, expiry::Unit::Milliseconds),
        Command::GetSet => strings::getset(data, key, args),
        Command::GetDel => strings::getdel(data, key),
        Command::GetEx => strings::getex(data, key, args),
        Command::StrLen => strings::strlen(data, key),
        Command::GetRange | Command::Substr => strings::getrange(data, key, args),
        Command::Del | Command::Unlink => keys::del(data, key),
        Command::Exists | Command::Touch => keys::exists(data, key),
        Command::Type => keys::kind(data, key),
        Command::Expire => expiry::expire(data, key, args, expiry::Unit::Seconds, expiry::From::Now),
        Command::PExpire => expiry::expire(data, key, args, expiry::Unit::Milliseconds, expiry::From::Now),
        Command::ExpireAt => expiry::expire(data, key, args, expiry::Unit::Seconds, expiry::From::Epoch),
        Command::PExpireAt => expiry::expire(data, key, args, expiry::Unit::Milliseconds, expiry::From::Epoch),
        Command::Ttl => expiry::ttl(data, key, expiry::Unit::Seconds, expiry::From::Now),
        Command::PTtl => expiry::ttl(data, key, expiry::Unit::Milliseconds, expiry::From::Now),
        Command::ExpireTime => expiry::ttl(data, key, expiry::Unit::Seconds, expiry::From::Epoch),
        Command::PExpireTime => expiry::ttl(data, key, expiry::Unit::Milliseconds, expiry::From::Epoch),
        Command::Persist => expiry::persist(data, key),
        Command::MemoryUsage => keys::memory_usage(data, key, args),
        other => unreachable!("{other:?} is no data command"),
    }
}
