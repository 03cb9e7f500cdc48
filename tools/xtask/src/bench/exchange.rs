//! The exchange suite: what it costs owners to find and mend so many differences among the keys that they keep copies of.
//!
//! Three nodes keep the same keys. One is stopped and its directory copied; some keys are written anew, which reaches all
//! three; then that node's directory is replaced by the copy. Nobody keeps hints of what it lacks now, and nobody writes or
//! reads: only comparing can find it. Bytes are those that all nodes send over their links, from just before the start of
//! that node until nothing more is mended.
//!
//! Of those bytes three parts are not the price of finding differences. Comparing what is equal goes on all the time; a node
//! that returns compares all its pairs at once, so this part goes by comparisons and not by time. Connections to a node that
//! returns cost the same whether it lacks something or not. And each object that is lacking has to travel once.
//!
//! Invariant: a run counts only if all roots of that node became those of the others, by objects that exchanges brought.

use super::copies;
use super::figures;
use super::load;
use super::node::{ANSWER, Node};
use super::results::{Metric, Results, Run, Table, Values};
use super::runner::{Context, contestant, remove};
use super::scrape::Page;
use super::server::{METRICS_OFFSET, Product, START, Server, Setup};
use super::suite::{Options, Part};
use super::verdict::at_most;
use crate::shell;
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
/// The one that returns with an older directory.
const RETURNING: usize = 2;
/// Between two looks at whether it has everything.
const LOOK: Duration = Duration::from_millis(50);
/// Between two looks at whether anything is still mended, and those that must agree.
const QUIET_LOOK: Duration = Duration::from_secs(1);
const QUIET_LOOKS: u32 = 3;

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
    let rest = Rest::measure(&mut server, plan.rest, &older)?;
    let note = format!(
        "Exchanged: sent over all links, without the next two columns: comparing what is equal ({:.0} bytes each, by their \
         number) with the node's connections ({:.1} KB), and once the bytes of each object that was lacking. Objects that were \
         sent twice are in what was exchanged. Time: from the start of the process to the roots of all its trees being those of \
         the others.",
        rest.comparison_bytes,
        rest.return_bytes / 1000.0
    );
    println!("  {note}");
    table.notes.push(note);
    for round in 1..=plan.rounds {
        for differences in DIFFERENCES {
            let mended = mend(context, &mut server, differences, &older)?;
            let case = Exchange::case(plan.keys, differences);
            let values = mended.values(&rest);
            let shown = table.columns.iter().filter_map(|metric| {
                let value = super::table::absolute(*values.get(metric)?);
                Some(format!("{} {value} {}", metric.title(), metric.unit()))
            });
            println!("  {case} · round {round}: {}", shown.collect::<Vec<_>>().join(", "));
            let contestant = table.contestants[0].name.clone();
            table.runs.push(Run { case, contestant, round, values, remarks: Vec::new() });
        }
    }
    server.stop()
}

/// What nodes have counted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Counts {
    link_bytes: u64,
    equal: u64,
    differing: u64,
    keys: u64,
    objects_sent: u64,
    objects_received: u64,
}

impl Counts {
    /// Of all that run, together: one that starts counts from zero.
    fn of(server: &Server) -> Result<Counts, String> {
        let mut sum = Counts::default();
        for node in server.nodes().iter().filter(|node| node.is_running()) {
            let page = Page::of(node.port() + METRICS_OFFSET, ANSWER)?;
            sum.link_bytes += page.count("link_sent_bytes")?;
            sum.equal += page.count("exchanges_equal")?;
            sum.differing += page.count("exchanges_differing")?;
            sum.keys += page.count("exchange_keys")?;
            sum.objects_sent += page.count("exchange_objects_sent")?;
            sum.objects_received += page.count("exchange_objects_received")?;
        }
        Ok(sum)
    }

    fn since(&self, earlier: &Counts) -> Counts {
        let grown = |of: fn(&Counts) -> u64| of(self).saturating_sub(of(earlier));
        Counts {
            link_bytes: grown(|counts| counts.link_bytes),
            equal: grown(|counts| counts.equal),
            differing: grown(|counts| counts.differing),
            keys: grown(|counts| counts.keys),
            objects_sent: grown(|counts| counts.objects_sent),
            objects_received: grown(|counts| counts.objects_received),
        }
    }

    /// Everything but what goes on all the time.
    fn mended(&self) -> (u64, u64, u64) {
        (self.differing, self.keys, self.objects_sent)
    }
}

/// What links cost while nothing differs.
#[derive(Debug, Clone, Copy)]
struct Rest {
    /// of one comparison that finds nothing
    comparison_bytes: f64,
    /// of a node that returns
    return_bytes: f64,
}

impl Rest {
    /// Watches the nodes at rest, and then one that goes and returns with all it had; leaves a copy of what it had.
    fn measure(server: &mut Server, length: Duration, older: &Older) -> Result<Rest, String> {
        let before = Counts::of(server)?;
        std::thread::sleep(length);
        let quiet = Counts::of(server)?.since(&before);
        server.node(RETURNING).stop()?;
        older.keep(server.node(RETURNING).data())?;
        let before = Counts::of(server)?;
        start(server)?;
        let back = quiet_since(server, &before)?;
        Rest::of(&quiet, &back)
    }

    fn of(quiet: &Counts, back: &Counts) -> Result<Rest, String> {
        for (what, counts) in [("at rest", quiet), ("after a return with nothing lacking", back)] {
            if counts.mended() != (0, 0, 0) {
                return Err(format!("exchanges found something {what}: {counts:?}"));
            }
        }
        if quiet.equal == 0 {
            return Err("nothing was compared at rest".into());
        }
        let comparison_bytes = quiet.link_bytes as f64 / quiet.equal as f64;
        let return_bytes = (back.link_bytes as f64 - back.equal as f64 * comparison_bytes).max(0.0);
        Ok(Rest { comparison_bytes, return_bytes })
    }
}

/// The directory of a node as it was before keys were written anew.
struct Older {
    directory: PathBuf,
}

impl Older {
    fn keep(&self, data: &Path) -> Result<(), String> {
        copy(data, &self.directory)
    }

    /// Puts it in the place of what the node has.
    fn replace(&self, data: &Path) -> Result<(), String> {
        std::fs::remove_dir_all(data).map_err(|error| format!("{}: {error}", data.display()))?;
        copy(&self.directory, data)
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let (from, to) = (from.to_string_lossy(), to.to_string_lossy());
    shell::output(&mut shell::command("cp", &["-a", &from, &to])).map(|_| ())
}

/// What it took to bring a node with an older directory up to date.
#[derive(Debug, Clone, Copy)]
struct Mended {
    counts: Counts,
    took: Duration,
    /// of the objects that were lacking, each once
    object_bytes: f64,
}

impl Mended {
    fn values(&self, rest: &Rest) -> Values {
        let (all, kb) = (self.counts.link_bytes as f64, 1000.0);
        let equal = self.counts.equal as f64 * rest.comparison_bytes + rest.return_bytes;
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
    let has_all = |node: &Node| copies::roots(node).is_ok_and(|roots| roots == wanted);
    while !has_all(&server.nodes()[RETURNING]) {
        server.check_alive()?;
        if started.elapsed() > copies::SETTLE {
            let counts = Counts::of(server)?.since(&before);
            return Err(format!("the node still lacks something {:?} after its return: {counts:?}", copies::SETTLE));
        }
        std::thread::sleep(LOOK);
    }
    let took = started.elapsed();
    let counts = quiet_since(server, &before)?;
    let pairs = copies::pairs(context.programs, &server.nodes()[RETURNING])?;
    let received: u64 = pairs.iter().map(|pair| pair.objects_received).sum();
    let bytes: u64 = pairs.iter().map(|pair| pair.bytes_received).sum();
    if received < differences {
        return Err(format!("{received} objects came by exchanges, and {differences} were lacking: {counts:?}"));
    }
    Ok(Mended { counts, took, object_bytes: bytes as f64 / received as f64 * differences as f64 })
}

/// Starts the one that returns, and waits until it serves.
fn start(server: &mut Server) -> Result<(), String> {
    let node = server.node(RETURNING);
    node.start()?;
    node.wait_until(START, |node| node.ask(&["EXISTS", "bench"], ANSWER).is_ok_and(|reply| reply == "0"))?;
    Ok(())
}

/// Waits until nothing more is mended; what was counted until then.
fn quiet_since(server: &mut Server, before: &Counts) -> Result<Counts, String> {
    let (mut last, mut agreed) = (Counts::of(server)?.since(before), 0);
    while agreed < QUIET_LOOKS {
        std::thread::sleep(QUIET_LOOK);
        server.check_alive()?;
        let now = Counts::of(server)?.since(before);
        agreed = if now.mended() == last.mended() { agreed + 1 } else { 0 };
        last = now;
    }
    Ok(last)
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

    const QUIET: Counts =
        Counts { link_bytes: 30_000, equal: 200, differing: 0, keys: 0, objects_sent: 0, objects_received: 0 };

    #[test]
    fn what_is_equal_counts_by_comparisons_and_objects_once() {
        let back = Counts { link_bytes: 5_000, equal: 20, ..QUIET };
        let rest = Rest::of(&QUIET, &back).unwrap();
        assert_eq!((rest.comparison_bytes, rest.return_bytes), (150.0, 2_000.0));
        let counts =
            Counts { link_bytes: 20_000, equal: 40, differing: 9, keys: 144, objects_sent: 13, objects_received: 13 };
        // Ten were lacking, of 178 bytes each, and three of them came twice.
        let mended = Mended { counts, took: Duration::from_millis(2_500), object_bytes: 1_780.0 };
        let values = mended.values(&rest);
        assert_eq!((values[&Metric::LinkKb], values[&Metric::RestKb], values[&Metric::ObjectsKb]), (20.0, 8.0, 1.78));
        assert!((values[&Metric::ExchangedKb] - 10.22).abs() < 1e-9, "{values:?}");
        assert_eq!((values[&Metric::ObjectsSent], values[&Metric::EqualS]), (13.0, 2.5));
    }

    #[test]
    fn rest_is_none_while_something_is_mended_or_nothing_compared() {
        let mending = Counts { keys: 1, ..QUIET };
        assert!(Rest::of(&mending, &QUIET).unwrap_err().contains("at rest"));
        assert!(Rest::of(&QUIET, &mending).unwrap_err().contains("return"));
        assert!(Rest::of(&Counts { equal: 0, ..QUIET }, &QUIET).is_err());
        let less = Counts { link_bytes: 10, equal: 20, ..QUIET };
        assert_eq!(Rest::of(&QUIET, &less).unwrap().return_bytes, 0.0);
    }

    #[test]
    fn counts_grow_by_themselves() {
        let now =
            Counts { link_bytes: 31_000, equal: 205, differing: 1, keys: 16, objects_sent: 2, objects_received: 3 };
        let grown = now.since(&QUIET);
        assert_eq!((grown.link_bytes, grown.equal, grown.objects_received), (1_000, 5, 3));
        assert_eq!(grown.mended(), (1, 16, 2));
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
