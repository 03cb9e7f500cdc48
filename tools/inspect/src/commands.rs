//! What the tool does: one file a command, each a function of paths to text.
//!
//! Invariant: what is wrong with the files is said by every command, on the error output where the output is for programs.

pub mod diff;
pub mod dump;
pub mod get;
pub mod ls;
pub mod merkle;
pub mod salvage;
pub mod stats;
pub mod verify;

use std::io::Write;

use annulus_object::Dot;

use crate::finding::Findings;
use crate::text;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was found that should not be.
    Fine,
    /// There is no such key.
    Absent,
    /// Damage or differences were.
    Found,
}

/// Tells people what was found, and what the exit code is to be.
pub fn tell(findings: &Findings) -> Verdict {
    let mut error = std::io::stderr().lock();
    for finding in findings.iter() {
        // Nobody may be reading.
        let _ = writeln!(error, "annulus-inspect: {finding}");
    }
    if findings.damaged() > 0 { Verdict::Found } else { Verdict::Fine }
}

/// A dot as people read it: time and counter of the clock, node and incarnation of the actor.
pub fn dot_text(dot: Dot) -> String {
    format!(
        "{}+{} by {:012x}.{}",
        text::time(dot.clock.unix_ms()),
        dot.clock.logical(),
        dot.actor.node(),
        dot.actor.incarnation()
    )
}

/// A dot for programs: both numbers as they are stored, in hexadecimal digits.
pub fn dot_json(dot: Dot) -> String {
    format!("{:014x}.{:016x}", dot.clock.raw(), dot.actor.raw())
}

/// Columns of text, numbers to the right.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One with a head.
    pub fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes it, every column as wide as its widest cell.
    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}
