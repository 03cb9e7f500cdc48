//! The exchange suite: what it costs owners to find and mend so many differences among the keys that they keep copies of.
//!
//! Three nodes keep the same keys. One is stopped and its directory copied; some keys are written anew, which reaches all
//! three; then that node's directory is replaced by the copy. Nobody keeps hints of what it lacks now, and nobody writes or
//! reads: only comparing can find it. What that costs is told from what goes on all the time in `price`; and each object that is
//! lacking has to travel once, so its bytes are no part of the price either.
//!
//! Invariant: a run counts only if all roots of that node became those of the others, by objects that exchanges brought.

mod price;

use super::copies;
use super::figures;
use super::load;
use super::node::{ANSWER, Node};
use super::results::{Metric, Results, Run, Table, Values};
use super::runner::{Context, contestant, remove};
use super::server::{Product, START, Server, Setup};
use super::suite::{Options, Part};
use super::table::line;
use super::verdict::at_most;
use crate::shell;
use price::{Counts, Look, Rest, Span};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const KEYS: u64 = 1_000_000;
const KEYS_QUICK: u64 = 100_000;
const VALUE_BYTES: u64 = 100;
/// Of so many keys the returned node has an older version.
const DIFFERENCES: [u64; 3] = [1, 100, 10_000];
/// Bytes of the design's table, for `KEYS` and each of `DIFFERENCES`, and how many times as much is allowed.
const DESIGN_BYTES: [f64; 3] = [2.5 * 1024.0, 118.0 * 1024.0, 3_700_000.0];
const TIMES_MAX: f64 = 2.0;
/// Every pair of owners is compared once in so many seconds.
const ROUND_S: f64 = 60.0;
/// How long comparing what is equal is watched; it is spread evenly over a round.
const REST: Duration = Duration::from_secs(60);
const REST_QUICK: Duration = Duration::from_secs(15);
/// How long a node that returned with all it had is watched: its first round begins after 16 s and is a short one.
const RETURN: Duration = Duration::from_secs(30);
/// The one that returns with an older directory.
const RETURNING: usize = 2;
/// Between two looks at what nodes have counted.
const LOOK: Duration = Duration::from_millis(20);
/// So many of them for one at whether the returned node has everything, which costs more.
const LOOKS_OF_ROOTS: usize = 5;
/// Nothing is mended any more when nothing was for so long.
const QUIET: Duration = Duration::from_secs(3);

/// One comparison.
pub struct Exchange {
    pub setup: Setup,
    pub keys: u64,
    /// of comparing what is equal
    pub rest: Duration,
    pub rounds: u32,
}

impl Exchange {
    fn case(keys: u64, differences: u64) -> String {
        format!("{differences} of {keys} keys differ")
    }
}

/// What the suite is made of.
pub fn parts(options: &Options) -> Vec<Part> {
    let setup = Setup::new("annulus ×3", Product::Annulus, &["--durability", "sync"]).replicated().with_metrics();
    let (keys, rest) = if options.quick { (KEYS_QUICK, REST_QUICK) } else { (KEYS, REST) };
    vec![Part::Exchange(Exchange { setup, keys, rest, rounds: options.rounds })]
}

/// Runs it.
pub fn run(context: &Context, plan: &Exchange) -> (Table, Result<(), String>) {
    let mut table = Table {
        title: format!("{} keys of {VALUE_BYTES} bytes on three nodes, {} rounds", plan.keys, plan.rounds),
        contestants: vec![contestant(&plan.setup)],
        pairs: Vec::new(),
        columns: vec![
            Metric::ExchangedKb,
            Metric::EqualS,
            Metric::ObjectsSent,
            Metric::KeysCompared,
            Metric::LinkKb,
            Metric::RestKb,
            Metric::ObjectsKb,
        ],
        runs: Vec::new(),
        notes: Vec::new(),
    };
    println!("\n{}", table.title);
    let result = measure(context, plan, &mut table);
    let removed = remove(context.scratch);
    (table, result.and(removed))
}

fn measure(context: &Context, plan: &Exchange, table: &mut Table) -> Result<(), String> {
    let mut server = Server::start(context.programs, &plan.setup, &context.scratch.join("exchange"))?;
    load::preload(context.programs, &mut server, plan.keys, VALUE_BYTES, context.scratch)?;
    figures::rest(&mut server)?;
    copies::wait_equal(&mut server)?;
    let older = Older { directory: context.scratch.join("older") };
    let rest = rest(&mut server, plan.rest, &older)?;
    let note = format!(
        "Exchanged: what all nodes sent over their links in the time near which something was mended, without what comparing \
         equal copies costs at rest ({:.0} bytes a comparison and {:.0} a second) and without the bytes of each object that was \
         lacking, once; what was sent twice is a part of it. Time: from the start of the process to the roots of all its trees \
         being those of the others.",
        rest.comparison_bytes, rest.second_bytes
    );
    println!("  {note}");
    table.notes.push(note);
    for round in 1..=plan.rounds {
        if round > 1 {
            // What the round before wrote anew must not be lacking again.
            older.renew(&mut server)?;
            copies::wait_equal(&mut server)?;
        }
        for differences in DIFFERENCES {
            let mended = mend(context, &mut server, differences, &older)?;
            let case = Exchange::case(plan.keys, differences);
            let values = mended.values(&rest);
            println!("  {case} · round {round}: {}", line(&table.columns, &values));
            let contestant = table.contestants[0].name.clone();
            table.runs.push(Run { case, contestant, round, values, remarks: Vec::new() });
        }
    }
    server.stop()
}

/// Watches the nodes at rest, and then one that goes and returns with all it had; leaves a copy of what it had.
fn rest(server: &mut Server, length: Duration, older: &Older) -> Result<Rest, String> {
    let usual = watch_rest(server, length)?;
    println!("  at rest: {:.1} comparisons a second", usual.rate());
    older.renew(server)?;
    let returned = watch_rest(server, RETURN)?;
    Rest::of(&usual, &returned)
}

fn watch_rest(server: &Server, length: Duration) -> Result<Span, String> {
    let started = Instant::now();
    let before = Look { at: started.elapsed(), counts: Counts::of(server)? };
    std::thread::sleep(length);
    let after = Look { at: started.elapsed(), counts: Counts::of(server)? };
    let grown = after.counts.since(&before.counts);
    if grown.has_mended() {
        return Err(format!("exchanges found something although all copies were equal: {grown:?}"));
    }
    Ok(Span::between(&before, &after))
}

/// The directory of a node as it was before keys were written anew.
struct Older {
    directory: PathBuf,
}

impl Older {
    /// Copies what the node has now; it is away meanwhile.
    fn renew(&self, server: &mut Server) -> Result<(), String> {
        if self.directory.exists() {
            remove_directory(&self.directory)?;
        }
        server.node(RETURNING).stop()?;
        copy(server.node(RETURNING).data(), &self.directory)?;
        start(server)
    }

    /// Puts it in the place of what the node has.
    fn replace(&self, data: &Path) -> Result<(), String> {
        remove_directory(data)?;
        copy(&self.directory, data)
    }
}

fn remove_directory(path: &Path) -> Result<(), String> {
    std::fs::remove_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let (from, to) = (from.to_string_lossy(), to.to_string_lossy());
    shell::output(&mut shell::command("cp", &["-a", &from, &to])).map(|_| ())
}

/// What it took to bring a node with an older directory up to date.
#[derive(Debug, Clone, Copy)]
struct Mended {
    counts: Counts,
    span: Span,
    took: Duration,
    /// of the objects that were lacking, each once
    object_bytes: f64,
}

impl Mended {
    fn values(&self, rest: &Rest) -> Values {
        let (all, equal, kb) = (self.span.bytes as f64, rest.bytes(&self.span), 1000.0);
        Values::from([
            (Metric::ExchangedKb, (all - equal - self.object_bytes) / kb),
            (Metric::EqualS, self.took.as_secs_f64()),
            (Metric::ObjectsSent, self.counts.objects_sent as f64),
            (Metric::KeysCompared, self.counts.keys as f64),
            (Metric::LinkKb, all / kb),
            (Metric::RestKb, equal / kb),
            (Metric::ObjectsKb, self.object_bytes / kb),
        ])
    }
}

/// Writes keys anew, lets a node forget that, and watches it being told.
fn mend(context: &Context, server: &mut Server, differences: u64, older: &Older) -> Result<Mended, String> {
    load::preload(context.programs, server, differences, VALUE_BYTES, context.scratch)?;
    copies::wait_equal(server)?;
    server.node(RETURNING).stop()?;
    older.replace(server.node(RETURNING).data())?;
    // Nobody writes any more, so this is what the returning one shall come to.
    let (wanted, before) = (copies::roots(&server.nodes()[0])?, Counts::of(server)?);
    let started = Instant::now();
    start(server)?;
    if copies::hints(server)? > 0 {
        return Err("hints were kept for a node that had acknowledged everything".into());
    }
    let (looks, took) = watch_mending(server, started, before, &wanted)?;
    let counts = looks.last().map_or(before, |look| look.counts).since(&before);
    let pairs = copies::pairs(context.programs, &server.nodes()[RETURNING])?;
    let received: u64 = pairs.iter().map(|pair| pair.objects_received).sum();
    let bytes: u64 = pairs.iter().map(|pair| pair.bytes_received).sum();
    // Either of the other owners may have sent each of them.
    if !(differences..=2 * differences).contains(&received) {
        return Err(format!("{received} objects came by exchanges, and {differences} were lacking: {counts:?}"));
    }
    let object_bytes = bytes as f64 / received as f64 * differences as f64;
    Ok(Mended { counts, span: Span::of_mending(&looks), took, object_bytes })
}

/// Looks at the counters until the returned node has everything and nothing is mended any more; the looks, and when it had.
fn watch_mending(
    server: &mut Server,
    started: Instant,
    before: Counts,
    wanted: &[String],
) -> Result<(Vec<Look>, Duration), String> {
    let mut looks = vec![Look { at: Duration::ZERO, counts: before }];
    let (mut had, mut mended) = (None, Duration::ZERO);
    loop {
        let look = Look { at: started.elapsed(), counts: Counts::of(server)? };
        if looks.last().is_some_and(|last| look.counts.since(&last.counts).has_mended()) {
            mended = look.at;
        }
        looks.push(look);
        let has_all = |node: &Node| copies::roots(node).is_ok_and(|roots| roots == wanted);
        if had.is_none() && looks.len().is_multiple_of(LOOKS_OF_ROOTS) && has_all(&server.nodes()[RETURNING]) {
            had = Some(started.elapsed());
        }
        if let Some(had) = had
            && look.at > had.max(mended) + QUIET
        {
            return Ok((looks, had));
        }
        if look.at > copies::SETTLE {
            let counts = look.counts.since(&before);
            return Err(format!("the node still lacks something {:?} after its return: {counts:?}", copies::SETTLE));
        }
        server.check_alive()?;
        std::thread::sleep(LOOK);
    }
}

/// Starts the one that returns, and waits until it serves.
fn start(server: &mut Server) -> Result<(), String> {
    let node = server.node(RETURNING);
    node.start()?;
    node.wait_until(START, |node| node.ask(&["EXISTS", "bench"], ANSWER).is_ok_and(|reply| reply == "0"))?;
    Ok(())
}

/// What was promised for so many keys as the design's table is about.
pub fn verdict(results: &Results) -> Vec<String> {
    results.tables.first().map_or_else(|| vec!["nothing was measured".into()], judged)
}

fn judged(table: &Table) -> Vec<String> {
    let mut lines = Vec::new();
    for (differences, bytes) in DIFFERENCES.into_iter().zip(DESIGN_BYTES) {
        let case = Exchange::case(KEYS, differences);
        let worst = |metric| {
            let values = table.contestants.iter().flat_map(|one| table.values(&case, &one.name, metric));
            values.map(|(_, value)| value).max_by(f64::total_cmp)
        };
        let most = TIMES_MAX * bytes / 1000.0;
        lines.push(at_most(&format!("{case}: KB exchanged, worst round"), worst(Metric::ExchangedKb), most));
        lines.push(at_most(&format!("{case}: seconds, worst round"), worst(Metric::EqualS), TIMES_MAX * ROUND_S));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::Contestant;

    #[test]
    fn rest_and_each_object_once_are_no_part_of_what_was_exchanged() {
        let rest = Rest { comparison_bytes: 100.0, second_bytes: 2_500.0 };
        let counts = Counts { keys: 144, objects_sent: 13, objects_received: 13, ..Counts::default() };
        let span = Span { bytes: 20_000, equal: 30, seconds: 2.0 };
        // Ten were lacking, of 178 bytes each, and three of them came twice.
        let values = Mended { counts, span, took: Duration::from_millis(2_500), object_bytes: 1_780.0 }.values(&rest);
        assert_eq!((values[&Metric::LinkKb], values[&Metric::RestKb], values[&Metric::ObjectsKb]), (20.0, 8.0, 1.78));
        assert!((values[&Metric::ExchangedKb] - 10.22).abs() < 1e-9, "{values:?}");
        assert_eq!((values[&Metric::ObjectsSent], values[&Metric::EqualS]), (13.0, 2.5));
    }

    #[test]
    fn bounds_are_for_a_million_keys_and_the_worst_round() {
        let one = |keys, differences, round, kb, seconds| Run {
            case: Exchange::case(keys, differences),
            contestant: "annulus ×3".into(),
            round,
            values: Values::from([(Metric::ExchangedKb, kb), (Metric::EqualS, seconds)]),
            remarks: Vec::new(),
        };
        let contestants = vec![Contestant { name: "annulus ×3".into(), command: String::new() }];
        let runs = vec![
            one(KEYS, 1, 1, 5.0, 10.0),
            one(KEYS, 1, 2, 5.2, 121.0),
            one(KEYS, 100, 1, 241.0, 60.0),
            one(KEYS_QUICK, 10_000, 1, 1.0, 1.0),
        ];
        let table = Table {
            title: String::new(),
            contestants,
            pairs: Vec::new(),
            columns: Vec::new(),
            runs,
            notes: Vec::new(),
        };
        let lines = judged(&table);
        let ends: Vec<&str> = lines.iter().map(|line| line.rsplit(' ').next().unwrap_or_default()).collect();
        assert_eq!(ends, ["MISSED", "MISSED", "kept", "kept", "7400.00", "120.00"], "{lines:?}");
        assert!(lines[4].contains("NOT MEASURED"));
    }
}
