//! The set test: five clients add elements to one set, each by reading it, adding one and writing it with the context that it
//! was given, while the network splits again and again. Every element whose addition was acknowledged has to be there in the end.
//!
//! It is held twice with the same splits: with readers that take all siblings together, which loses nothing, and with readers
//! that keep the newest and drop the others, as last-writer-wins does, which shows what that costs.
//!
//! Invariant: both runs are functions of the seed, and only acknowledged additions are counted.

use std::fmt::Write as _;

use crate::faults::{Kind, Kinds};
use crate::report::Report;
use crate::shape::{Resolution, Work};
use crate::{Options, run};

/// Splits alone: they are what makes siblings.
pub const SPLITS: Kinds = Kinds(1 << Kind::Split as u32);

/// One way to read siblings, and what came of it.
#[derive(Debug)]
pub struct Row {
    /// How siblings were read.
    pub resolution: Resolution,
    /// Of every seed.
    pub reports: Vec<Report>,
}

impl Row {
    fn sum(&self, of: impl Fn(&Report) -> u64) -> u64 {
        self.reports.iter().map(of).sum()
    }

    fn text(&self) -> String {
        let name = match self.resolution {
            Resolution::Union => "siblings, taken together",
            Resolution::Newest => "the newest sibling wins",
        };
        let (added, lost) = (self.sum(|report| report.tally.set_added), self.sum(|report| report.tally.set_lost));
        format!(
            "| {name} | {} | {} | {added} | {} | {lost} | {:.1} % |",
            self.reports.len(),
            self.sum(|report| report.injected.of(Kind::Split)),
            self.sum(|report| report.tally.conflicts),
            100.0 * lost as f64 / added.max(1) as f64,
        )
    }
}

/// Runs both for so many seeds from `first` on, with so many additions each.
#[must_use]
pub fn compare(first: u64, count: u64, adds: u32, kinds: Kinds) -> [Row; 2] {
    [Resolution::Union, Resolution::Newest].map(|resolution| {
        let options = Options { kinds, work: Work::Set { adds, resolution }, ..Options::default() };
        Row { resolution, reports: (first..first + count).map(|seed| run(seed, &options)).collect() }
    })
}

/// Both as a table.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| readers keep | seeds | splits | added | reads that found siblings | lost | |\n|---|---|---|---|---|---|---|\n",
    );
    rows.iter().for_each(|row| writeln!(out, "{}", row.text()).expect("a string takes everything"));
    out
}
