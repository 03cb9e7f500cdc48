//! Commands on the server: configuration, time, the whole database, the end.

use annulus_engine::Disk;
use annulus_net::resp::writer;

use super::Args;
use super::data::{self, Outcome};
use super::session::{Answer, CorePart, SessionCommand, ok, syntax_error};
use super::table::{self, Gather};
use crate::config::runtime::parameters;
use crate::glob;

/// CONFIG GET.
pub fn config_get(context: &mut SessionCommand<'_>, args: Args<'_>) {
    let patterns = &args[2..];
    let matches = |name: &str| patterns.iter().any(|pattern| glob::matches_ignoring_case(pattern, name.as_bytes()));
    let found = parameters::get(&context.node.config, context.runtime, matches);
    writer::map_header(context.out, context.session.protocol, found.len());
    for (name, value) in found {
        writer::bulk(context.out, name.as_bytes());
        writer::bulk(context.out, value.as_bytes());
    }
}

/// The parameters and values of CONFIG SET; `None` when one has no value.
fn pairs<'a>(args: Args<'a>) -> Option<Vec<(&'a [u8], &'a [u8])>> {
    let (pairs, rest) = args[2..].as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[name, value]| (*name, *value)).collect())
}

/// CONFIG SET: checked here, then applied on every core.
pub fn config_set(context: &mut SessionCommand<'_>, args: Args<'_>) -> Answer {
    let Some(pairs) = pairs(args) else {
        let row = table::resolve_full_name(b"config|set").expect("it has a row");
        table::wrong_arity(context.out, row);
        return Answer::Done;
    };
    match parameters::set(&context.node.config, context.runtime, &pairs) {
        Ok(_) => Answer::EveryCore(Gather::AllOk),
        Err(text) => {
            writer::error(context.out, &text);
            Answer::Done
        }
    }
}

/// CONFIG SET on one core.
pub fn config_set_part<D: Disk>(part: &mut CorePart<'_, D>, args: Args<'_>) {
    let pairs = pairs(args).expect("checked before it was sent to the cores");
    match parameters::set(&part.node.config, part.runtime, &pairs) {
        Ok(changed) => {
            *part.runtime = changed;
            part.slowlog.set_entries_max(part.runtime.slowlog_entries_max as usize);
            ok(part.out);
        }
        Err(text) => writer::error(part.out, &text),
    }
}

/// CONFIG RESETSTAT on one core: the commands' figures. Counters that are exported never go back.
pub fn reset_statistics_part<D: Disk>(part: &mut CorePart<'_, D>) {
    part.latency.reset();
    ok(part.out);
}

/// TIME.
pub fn time(context: &mut SessionCommand<'_>) {
    let (seconds, micros) = (context.now_ms / 1000, context.now_ms % 1000 * 1000);
    writer::array_header(context.out, 2);
    for number in [seconds, micros] {
        writer::bulk(context.out, number.to_string().as_bytes());
    }
}

/// DBSIZE on one core: of the keys that it answers for.
pub fn count_keys_part<D: Disk>(part: &mut CorePart<'_, D>) {
    let keys = match part.coverage {
        None => part.engine.keys(),
        Some(coverage) => part.engine.keys_among(|partition| coverage.covers(partition)),
    };
    writer::integer(part.out, i64::try_from(keys).unwrap_or(i64::MAX));
}

/// Why FLUSHALL is refused in a cluster, and what to do instead.
pub const NO_FLUSH: &str = "ERR FLUSHALL is not served in a cluster of several nodes: a node that does not hear of it would bring all keys back, \
     unless each left a tombstone; delete the keys with SCAN and UNLINK, or start all nodes on empty directories";

/// FLUSHALL and FLUSHDB on one core. It takes no longer than a write, so ASYNC and SYNC are the same.
pub fn flush_part<D: Disk>(part: &mut CorePart<'_, D>, args: Args<'_>) -> Outcome {
    match args[1..] {
        [] => {}
        [how] if how.eq_ignore_ascii_case(b"ASYNC") || how.eq_ignore_ascii_case(b"SYNC") => {}
        _ => {
            syntax_error(part.out);
            return Outcome::Done(None);
        }
    }
    if part.coverage.is_some() {
        writer::error(part.out, NO_FLUSH);
        return Outcome::Done(None);
    }
    match part.engine.flush_all(part.now_ms) {
        Ok(written) => {
            ok(part.out);
            Outcome::Done(written.after)
        }
        Err(refusal) => data::refused(part.out, &refusal),
    }
}

/// What SHUTDOWN is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shutdown {
    Stop,
    Abort,
}

/// The options of SHUTDOWN. Whatever is asked, what was acknowledged is durable before the end, so most change nothing.
fn parse_shutdown(options: Args<'_>) -> Option<Shutdown> {
    let is = |option: &&[u8], name: &str| option.eq_ignore_ascii_case(name.as_bytes());
    let has = |name: &str| options.iter().any(|option| is(option, name));
    let known = ["SAVE", "NOSAVE", "NOW", "FORCE", "ABORT"];
    if !options.iter().all(|option| known.iter().any(|name| is(option, name))) || (has("SAVE") && has("NOSAVE")) {
        return None;
    }
    match (has("ABORT"), options.len()) {
        (false, _) => Some(Shutdown::Stop),
        (true, 1) => Some(Shutdown::Abort),
        (true, _) => None,
    }
}

/// SHUTDOWN.
pub fn shutdown(context: &mut SessionCommand<'_>, args: Args<'_>) -> Answer {
    match parse_shutdown(&args[1..]) {
        Some(Shutdown::Stop) => return Answer::Shutdown,
        Some(Shutdown::Abort) => writer::error(context.out, "ERR No shutdown in progress."),
        None => syntax_error(context.out),
    }
    Answer::Done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_shutdown() {
        let parse = |text: &str| {
            let args: Vec<&[u8]> = text.split_ascii_whitespace().map(str::as_bytes).collect();
            parse_shutdown(&args)
        };
        for good in ["", "nosave", "SAVE NOW FORCE", "NOW"] {
            assert_eq!(parse(good), Some(Shutdown::Stop), "{good}");
        }
        assert_eq!(parse("abort"), Some(Shutdown::Abort));
        for bad in ["SAVE NOSAVE", "ABORT NOW", "LATER"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn pairs_of_config_set() {
        let args: [&[u8]; 4] = [b"CONFIG", b"SET", b"timeout", b"5"];
        assert_eq!(pairs(&args), Some(vec![(&b"timeout"[..], &b"5"[..])]));
        assert_eq!(pairs(&args[..3]), None);
    }
}
