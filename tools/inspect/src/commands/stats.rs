//! `stats`: how large keys and values are, how old, and how much of the files is live.

use std::io::Write;
use std::path::Path;

use annulus_engine::record::{RECORD_HEADER_BYTES, RecordHeader};
use serde_json::{Value, json};

use super::{Verdict, tell};
use crate::failure::Failure;
use crate::state::Partition;
use crate::store::Store;
use crate::text;
use crate::version::Version;

/// Characters of the longest bar.
const BAR: u64 = 40;
/// Ages: at most so many milliseconds, and what that is called.
const AGES: [(u64, &str); 8] = [
    (60_000, "a minute"),
    (3_600_000, "an hour"),
    (6 * 3_600_000, "6 hours"),
    (86_400_000, "a day"),
    (7 * 86_400_000, "a week"),
    (30 * 86_400_000, "30 days"),
    (365 * 86_400_000, "a year"),
    (u64::MAX, "more"),
];

/// Counts by power of two: 0, 1, 2 to 3, 4 to 7, and so on.
#[derive(Default)]
struct Sizes([u64; 32]);

impl Sizes {
    fn add(&mut self, bytes: u32) {
        // No length that a writer writes comes near the last class.
        let class = bytes.checked_ilog2().map_or(0, |power| power as usize + 1);
        self.0[class.min(self.0.len() - 1)] += 1;
    }

    /// The name and count of every class from the first to the last that has any.
    fn classes(&self) -> Vec<(String, u64)> {
        let name = |class: usize| match class {
            0 => "0".to_owned(),
            class => format!("below {}", text::bytes(1 << class)),
        };
        let used = |class: &usize| self.0[*class] > 0;
        let (first, last) = ((0..32).find(used), (0..32).rfind(used));
        let range = first.zip(last).map_or(0..0, |(first, last)| first..last + 1);
        range.map(|class| (name(class), self.0[class])).collect()
    }
}

#[derive(Default)]
struct Stats {
    keys: Sizes,
    values: Sizes,
    ages: [u64; AGES.len()],
    records: u64,
    tombstones: u64,
    live: u64,
    dead: u64,
}

/// Prints the statistics of what counts.
pub fn run(path: &Path, json: bool, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let mut store = Store::open(path)?;
    let mut stats = Stats::default();
    let mut findings = store.findings.clone();
    let now_ms = text::now_unix_ms();
    for number in store.partitions() {
        let partition = store.partition(number, false)?;
        let totals = partition.totals();
        stats.live += totals.live_in_files;
        stats.dead += totals.dead;
        for version in &partition.current {
            stats.add(&store, &partition, version, now_ms)?;
        }
        findings.extend(partition.findings);
    }
    if json {
        writeln!(out, "{}", stats.to_json())?
    } else {
        stats.write(out)?
    }
    Ok(tell(&findings))
}

impl Stats {
    fn add(&mut self, store: &Store, partition: &Partition, version: &Version, now_ms: u64) -> Result<(), Failure> {
        // Lengths are all that is wanted; `verify` is for checksums.
        let head = Version { bytes: RECORD_HEADER_BYTES as u32, ..version.clone() };
        let bytes = store.bytes_of(partition, &head)?;
        let Some(bytes) = bytes.first_chunk::<RECORD_HEADER_BYTES>() else { return Ok(()) };
        let header: RecordHeader = bytemuck::pod_read_unaligned(bytes);
        self.records += 1;
        self.keys.add(header.key_bytes.into());
        if version.is_tombstone() {
            self.tombstones += 1;
        } else {
            self.values.add(header.value_bytes);
        }
        let age_ms = now_ms.saturating_sub(version.dot.clock.unix_ms());
        let class = AGES.iter().position(|(most, _)| age_ms <= *most).expect("the last class takes all");
        self.ages[class] += 1;
        Ok(())
    }

    fn ages(&self) -> Vec<(String, u64)> {
        let name = |at: usize| match at {
            at if at + 1 == AGES.len() => AGES[at].1.to_owned(),
            at => format!("up to {}", AGES[at].1),
        };
        self.ages.iter().enumerate().map(|(at, count)| (name(at), *count)).collect()
    }

    #[allow(clippy::cast_precision_loss, reason = "a figure to read")]
    fn live_share(&self) -> Option<f64> {
        let all = self.live + self.dead;
        (all > 0).then(|| self.live as f64 / all as f64)
    }

    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{} records count, {} of them tombstones", self.records, self.tombstones)?;
        if let Some(share) = self.live_share() {
            let (live, dead) = (text::bytes(self.live), text::bytes(self.dead));
            writeln!(out, "partition files: {live} live, {dead} dead, {:.1} % live", share * 100.0)?;
        }
        for (title, classes) in
            [("key sizes", self.keys.classes()), ("value sizes", self.values.classes()), ("ages", self.ages())]
        {
            writeln!(out, "\n{title}")?;
            let most = classes.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
            for (name, count) in classes {
                let bar = "#".repeat(usize::try_from((count * BAR).div_ceil(most)).expect("a bar is short"));
                writeln!(out, "{}", format!("{name:>16} {count:>10} {bar}").trim_end())?;
            }
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        let object = |classes: Vec<(String, u64)>| -> Value {
            classes.into_iter().map(|(class, count)| json!({ "class": class, "count": count })).collect()
        };
        json!({
            "records": self.records,
            "tombstones": self.tombstones,
            "live_bytes": self.live,
            "dead_bytes": self.dead,
            "live_share": self.live_share(),
            "key_sizes": object(self.keys.classes()),
            "value_sizes": object(self.values.classes()),
            "ages": object(self.ages()),
        })
    }
}
