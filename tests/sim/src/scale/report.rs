//! What was measured, as text: a table, and every figure drawn over the size of the cluster.
//!
//! Invariant: the text says everything that the picture shows.

use std::fmt;
use std::path::Path;

use super::Options;
use super::drawing::{self, DrawingError};
use super::measure::{Death, Wall};
use super::world::{DATAGRAM_HEAD_BYTES, MESSAGE_HEAD_BYTES, Sent};

const SECOND: f64 = 1e6;
/// Of the longest bar.
const BAR_WIDTH: f64 = 48.0;

/// One size of cluster. Bytes are those of one node, heads of the network included.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Nodes.
    pub size: usize,
    /// From nothing until all hear all and all maps agree.
    pub start_agree_us: u64,
    /// Bytes from nothing until gossip about the start is over.
    pub start_bytes: Sent,
    /// Bytes a second while nothing happens, on average.
    pub quiet: Sent,
    /// The same of the node that sends most.
    pub quiet_most: Sent,
    /// From a change of an entry until all maps agree.
    pub changes_us: Vec<u64>,
    /// Bytes because of each change, beyond what is sent while nothing happens.
    pub change_bytes: Vec<Sent>,
    /// When others noticed each death.
    pub deaths_us: Vec<Death>,
    /// From the first word of a new node until all maps agree and all hear all.
    pub joins_us: Vec<u64>,
    /// Bytes because of each join, beyond what is sent while nothing happens.
    pub join_bytes: Vec<Sent>,
    /// From the end of a split into halves until all hear all and all maps agree.
    pub heal_us: u64,
    /// Bytes because of that.
    pub heal_bytes: Sent,
    /// How often a node took another one for dead that ran.
    pub false_deaths: u64,
    /// How often a node had to come back because it was taken for dead; of those that ran in the end.
    pub renewals: u64,
    /// Waits that did not end.
    pub gave_up: u64,
    /// Nothing that is a mistake of ours was seen.
    pub is_faultless: bool,
    /// Events that were simulated.
    pub events: u64,
    /// Virtual time that passed.
    pub virtual_us: u64,
    /// Real time that passed.
    pub wall: Wall,
}

/// All sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What was asked for.
    pub options: Options,
    /// Ascending by size.
    pub rows: Vec<Row>,
}

/// One figure over the sizes.
#[derive(Debug, Clone)]
pub struct Curve {
    /// What it is.
    pub name: &'static str,
    /// Size and value.
    pub points: Vec<(f64, f64)>,
}

/// Curves that belong together.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What they are about, with the unit.
    pub title: &'static str,
    /// In the order of their names.
    pub curves: Vec<Curve>,
}

fn mean(values: impl IntoIterator<Item = u64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0.0), |(sum, count), value| (sum + value as f64, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

fn seconds(values: impl IntoIterator<Item = u64>) -> f64 {
    mean(values) / SECOND
}

impl Row {
    fn total(sent: &[Sent]) -> f64 {
        mean(sent.iter().map(|sent| sent.datagram_bytes + sent.message_bytes))
    }
}

impl Report {
    /// Nobody was taken for dead who ran, every wait ended, and nothing was a mistake of ours.
    #[must_use]
    pub fn is_stable(&self) -> bool {
        self.rows.iter().all(|row| row.false_deaths == 0 && row.gave_up == 0 && row.is_faultless)
    }

    /// Draws the charts into a file.
    ///
    /// # Errors
    ///
    /// [`DrawingError`] where the file cannot be written.
    pub fn draw(&self, path: &Path) -> Result<(), DrawingError> {
        drawing::draw(&self.charts(), path)
    }

    fn curve(&self, name: &'static str, value: impl Fn(&Row) -> f64) -> Curve {
        Curve { name, points: self.rows.iter().map(|row| (row.size as f64, value(row))).collect() }
    }

    /// Everything that is drawn.
    #[must_use]
    pub fn charts(&self) -> Vec<Chart> {
        vec![
            Chart {
                title: "Gossip while nothing happens: bytes per node and second",
                curves: vec![
                    self.curve("datagrams", |row| row.quiet.datagram_bytes as f64),
                    self.curve("reliable", |row| row.quiet.message_bytes as f64),
                    self.curve("the node that sends most", |row| {
                        (row.quiet_most.datagram_bytes + row.quiet_most.message_bytes) as f64
                    }),
                ],
            },
            Chart {
                title: "Because of an event, beyond what is sent all the time: bytes per node",
                curves: vec![
                    self.curve("an entry changes", |row| Row::total(&row.change_bytes)),
                    self.curve("a node joins", |row| Row::total(&row.join_bytes)),
                ],
            },
            Chart {
                title: "From a death until it is noticed: seconds",
                curves: vec![
                    self.curve("by the first", |row| seconds(row.deaths_us.iter().map(|death| death.first_us))),
                    self.curve("by half", |row| seconds(row.deaths_us.iter().map(|death| death.median_us))),
                    self.curve("by all", |row| seconds(row.deaths_us.iter().map(|death| death.all_us))),
                ],
            },
            Chart {
                title: "Until all maps agree: seconds",
                curves: vec![
                    self.curve("after an entry changed", |row| seconds(row.changes_us.iter().copied())),
                    self.curve("after a node joined", |row| seconds(row.joins_us.iter().copied())),
                ],
            },
            Chart {
                title: "Storms, until all hear all and all maps agree: seconds",
                curves: vec![
                    self.curve("all begin within a second", |row| row.start_agree_us as f64 / SECOND),
                    self.curve("two halves meet again", |row| row.heal_us as f64 / SECOND),
                ],
            },
            Chart {
                title: "Storms: kilobytes per node",
                curves: vec![
                    self.curve("all begin within a second", |row| Row::total(&[row.start_bytes]) / 1e3),
                    self.curve("two halves meet again", |row| Row::total(&[row.heal_bytes]) / 1e3),
                ],
            },
        ]
    }
}

/// Three digits that count.
pub(super) fn short(value: f64) -> String {
    match value {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

impl fmt::Display for Chart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.title)?;
        let most = self.curves.iter().flat_map(|curve| &curve.points).map(|point| point.1).fold(0.0, f64::max);
        for curve in &self.curves {
            let growth = match (curve.points.first(), curve.points.last()) {
                (Some(first), Some(last)) if last.0 > first.0 && first.1 > 0.0 && last.1 > 0.0 => {
                    let tenfolds = (last.0 / first.0).log10();
                    format!(", ×{:.2} for ten times the nodes", (last.1 / first.1).powf(1.0 / tenfolds))
                }
                _ => String::new(),
            };
            writeln!(formatter, "  {}{growth}", curve.name)?;
            for (size, value) in &curve.points {
                let length = if most > 0.0 { (value / most * BAR_WIDTH).round() as usize } else { 0 };
                writeln!(formatter, "  {size:>6} {:>9} {}", short(*value), "▇".repeat(length))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seed, loss_per_million, rounds, .. } = self.options;
        writeln!(
            formatter,
            "seed {seed}; {loss_per_million} of a million datagrams lost; bytes with {DATAGRAM_HEAD_BYTES} for each \
             datagram's and {MESSAGE_HEAD_BYTES} for each message's head; means of {rounds}\n"
        )?;
        for chart in self.charts() {
            writeln!(formatter, "{chart}")?;
        }
        writeln!(formatter, "Renewals: each node once because of the split. False deaths: none is counted then.")?;
        writeln!(formatter, "nodes  false deaths  renewals  waits given up    events  virtual s  wall s")?;
        for row in &self.rows {
            writeln!(
                formatter,
                "{:>5}  {:>12}  {:>8}  {:>14}  {:>8}  {:>9.0}  {:>6.1}",
                row.size,
                row.false_deaths,
                row.renewals,
                row.gave_up,
                row.events,
                row.virtual_us as f64 / SECOND,
                row.wall.0.as_secs_f64()
            )?;
        }
        Ok(())
    }
}
