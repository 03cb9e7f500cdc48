//! SLOWLOG: the newest commands of each core that took too long to run, and the commands on them.
//!
//! Only the run itself is measured, not what a command waited for. Ids carry the time, so that the entries of all cores
//! can be put in order.
//!
//! Invariant: a bounded number of entries with a bounded number of bytes each; passwords are not kept.

use std::collections::VecDeque;

use annulus_engine::Disk;
use annulus_net::resp::writer;

use super::Args;
use super::data::parse_integer;
use super::session::{Answer, CorePart, SessionCommand};
use super::table::Gather;

/// Arguments kept of a command, the last of which may tell how many more there were.
const ARGUMENTS_MAX: usize = 32;
/// Bytes kept of an argument.
const ARGUMENT_BYTES_MAX: usize = 128;
/// Entries kept unless configured otherwise, as in Redis.
const ENTRIES_MAX_DEFAULT: usize = 128;
/// Entries that SLOWLOG GET gives unless told otherwise.
const GET_COUNT_DEFAULT: i64 = 10;
const REDACTED: &[u8] = b"(redacted)";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    id: i64,
    unix_s: u64,
    micros: u64,
    args: Vec<Vec<u8>>,
}

/// The slow commands of one core.
#[derive(Debug)]
pub struct SlowLog {
    core: i64,
    cores: i64,
    last_id: i64,
    entries_max: usize,
    /// The newest first.
    entries: VecDeque<Entry>,
}

impl SlowLog {
    /// An empty log of one core among `cores`.
    pub fn new(core: u16, cores: u16) -> Self {
        assert!(core < cores);
        let entries_max = ENTRIES_MAX_DEFAULT;
        Self { core: core.into(), cores: cores.into(), last_id: -1, entries_max, entries: VecDeque::new() }
    }

    /// Keeps so many entries from now on.
    pub fn set_entries_max(&mut self, entries_max: usize) {
        self.entries_max = entries_max;
        self.entries.truncate(entries_max);
    }

    /// Adds a command that was slow.
    #[cold]
    pub fn push(&mut self, now_ms: u64, micros: u64, args: Args<'_>) {
        if self.entries_max == 0 {
            return;
        }
        let Some(args) = shorten(args) else { return };
        self.entries.truncate(self.entries_max - 1);
        let id = self.next_id(now_ms);
        self.entries.push_front(Entry { id, unix_s: now_ms / 1000, micros, args });
    }

    /// Entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets all entries; ids go on.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Above the core's last one, roughly in the order of time across cores, and the core's own modulo their number.
    fn next_id(&mut self, now_ms: u64) -> i64 {
        let by_time = i64::try_from(now_ms).unwrap_or(0).saturating_mul(self.cores);
        let least = by_time.max(self.last_id + 1);
        self.last_id = least + (self.core - least).rem_euclid(self.cores);
        self.last_id
    }

    /// The newest entries as an array.
    fn write(&self, out: &mut Vec<u8>, count: usize) {
        let count = count.min(self.entries.len());
        writer::array_header(out, count);
        for entry in self.entries.iter().take(count) {
            let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            writer::array_header(out, 6);
            writer::integer(out, entry.id);
            writer::integer(out, number(entry.unix_s));
            writer::integer(out, number(entry.micros));
            writer::array_header(out, entry.args.len());
            entry.args.iter().for_each(|arg| writer::bulk(out, arg));
            // A command may run on another core than its client's: neither address nor name is known here.
            writer::bulk(out, b"");
            writer::bulk(out, b"");
        }
    }
}

/// What is kept of the arguments; `None` for commands that carry passwords.
fn shorten(args: Args<'_>) -> Option<Vec<Vec<u8>>> {
    let is = |at: usize, name: &[u8]| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(name));
    if is(0, b"auth") || is(0, b"hello") {
        return None;
    }
    let is_config_set = is(0, b"config") && is(1, b"set");
    let kept = if args.len() > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { args.len() };
    let shown = |(at, arg): (usize, &&[u8])| {
        if is_config_set && at > 2 && is(at - 1, b"requirepass") {
            return REDACTED.to_vec();
        }
        let Some((start, rest)) = arg.split_at_checked(ARGUMENT_BYTES_MAX).filter(|(_, rest)| !rest.is_empty()) else {
            return arg.to_vec();
        };
        [start, format!("... ({} more bytes)", rest.len()).as_bytes()].concat()
    };
    let mut short: Vec<Vec<u8>> = args[..kept].iter().enumerate().map(shown).collect();
    if kept < args.len() {
        short.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    Some(short)
}

/// How many entries SLOWLOG GET is to give; the error is the reply.
fn parse_count(args: Args<'_>) -> Result<i64, &'static str> {
    match args {
        [_, _] => Ok(GET_COUNT_DEFAULT),
        [_, _, count] => {
            parse_integer(count).filter(|count| *count >= -1).ok_or("ERR count should be greater than or equal to -1")
        }
        _ => Err("ERR syntax error"),
    }
}

/// SLOWLOG GET.
pub fn get(context: &mut SessionCommand<'_>, args: Args<'_>) -> Answer {
    match parse_count(args) {
        Ok(count) => Answer::EveryCore(Gather::Newest(u32::try_from(count).unwrap_or(u32::MAX))),
        Err(text) => {
            writer::error(context.out, text);
            Answer::Done
        }
    }
}

/// SLOWLOG GET on one core.
pub fn get_part<D: Disk>(part: &mut CorePart<'_, D>, args: Args<'_>) {
    let count = parse_count(args).expect("checked before it was sent to the cores");
    // −1 means all.
    part.slowlog.write(part.out, usize::try_from(count).unwrap_or(usize::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<&[u8]> {
        text.split_ascii_whitespace().map(str::as_bytes).collect()
    }

    #[test]
    fn ids_are_unique_over_cores_and_follow_time() {
        let mut logs: Vec<SlowLog> = (0..3).map(|core| SlowLog::new(core, 3)).collect();
        let mut ids = Vec::new();
        for now_ms in [0, 1000, 1000, 1000, 999, 2000] {
            for log in &mut logs {
                log.push(now_ms, 1, &args("GET x"));
                ids.push(log.last_id);
            }
        }
        let newest = &ids[ids.len() - 3..];
        assert!(ids[..ids.len() - 3].iter().all(|id| newest.iter().all(|new| id < new)), "{ids:?}");
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn it_is_bounded_and_gives_the_newest_first() {
        let mut log = SlowLog::new(0, 1);
        log.set_entries_max(2);
        for micros in 1..=3 {
            log.push(5000, micros, &args("GET x"));
        }
        let mut out = Vec::new();
        log.write(&mut out, 10);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("*2\r\n*6\r\n:5002\r\n:5\r\n:3\r\n*2\r\n$3\r\nGET\r\n$1\r\nx\r\n$0\r\n\r\n$0\r\n\r\n"),
            "{text}"
        );
        log.set_entries_max(0);
        log.push(5000, 9, &args("GET x"));
        assert!(log.is_empty());
    }

    #[test]
    fn arguments_are_shortened_as_in_redis() {
        let long = [b'v'; 200];
        let many: Vec<&[u8]> = std::iter::once(&long[..]).chain(std::iter::repeat_n(&b"k"[..], 39)).collect();
        let short = shorten(&many).unwrap();
        assert_eq!(short.len(), 32);
        assert_eq!(short[0], [&[b'v'; 128][..], b"... (72 more bytes)"].concat());
        assert_eq!(short[31], b"... (9 more arguments)");
        let fits = [&b"k"[..]; 32];
        assert_eq!(shorten(&fits).unwrap(), vec![b"k".to_vec(); 32]);
    }

    #[test]
    fn passwords_are_not_kept() {
        assert_eq!(shorten(&args("AUTH secret")), None);
        assert_eq!(shorten(&args("hello 3 AUTH default secret")), None);
        let kept = shorten(&args("CONFIG SET timeout 5 RequirePass secret")).unwrap();
        assert_eq!(kept[5], REDACTED);
        assert_eq!(kept[3], b"5");
    }

    #[test]
    fn counts() {
        assert_eq!(parse_count(&args("SLOWLOG GET")), Ok(10));
        assert_eq!(parse_count(&args("SLOWLOG GET -1")), Ok(-1));
        for bad in ["SLOWLOG GET -2", "SLOWLOG GET x", "SLOWLOG GET 1 2"] {
            assert!(parse_count(&args(bad)).is_err(), "{bad}");
        }
    }
}
