//! What a crash at any point of a [`Recording`] may leave on the disk.
//!
//! A change is *outstanding* from when it was made until something makes it durable. A crash keeps everything durable; of the
//! outstanding it keeps any, and of a write any sectors. Of all these images those are built that differ from a simple one in
//! one thing: [`ImageKind`] lists them.
//!
//! What it is not: it does not know which images a store has to survive with what; a test does.
//!
//! Invariant: an image keeps what was durable at its point, in the order in which it was changed, whatever it drops.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use super::recording::{Change, Holding, Recording};
use super::{MemoryDisk, SECTOR_BYTES};
use crate::buffer::ALIGNMENT;

const BLOCK_SECTORS: usize = ALIGNMENT / SECTOR_BYTES;

/// In what an image differs from the others of its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageKind {
    /// All that is outstanding is kept.
    Everything,
    /// Nothing of it is.
    OnlyDurable,
    /// Of one write the first sectors are kept.
    FirstSectors,
    /// Of one write the last sectors are kept.
    LastSectors,
    /// One change is lost, the others are kept.
    LostAlone,
    /// One change is kept, the others are lost.
    KeptAlone,
    /// Any are kept, where the kinds above do not cover all that can be.
    Mixed,
}

impl ImageKind {
    /// All of them.
    pub const ALL: [ImageKind; 7] = [
        ImageKind::Everything,
        ImageKind::OnlyDurable,
        ImageKind::FirstSectors,
        ImageKind::LastSectors,
        ImageKind::LostAlone,
        ImageKind::KeptAlone,
        ImageKind::Mixed,
    ];
}

/// How to build one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Its kind.
    pub kind: ImageKind,
    /// The number of the change that is treated apart, if the kind has one.
    pub subject: usize,
    /// Sectors that are kept of a torn write.
    pub sectors: usize,
    /// Whether (not 0) the other outstanding changes are kept beside a torn write; for [`ImageKind::Mixed`] a bit for each.
    pub others: u64,
    /// A write that is lost has made its file longer all the same; there are zeros.
    pub keeps_length: bool,
}

impl fmt::Display for Recipe {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.kind)?;
        let Recipe { kind, subject, sectors, others, keeps_length } = self;
        match kind {
            ImageKind::FirstSectors | ImageKind::LastSectors => {
                let with = if *others == 0 { "lost" } else { "kept" };
                write!(out, ", {sectors} sectors of change {subject}, others {with}")?;
            }
            ImageKind::LostAlone | ImageKind::KeptAlone => write!(out, ", change {subject}")?,
            ImageKind::Mixed => write!(out, ", mask {others:b}")?,
            ImageKind::Everything | ImageKind::OnlyDurable => {}
        }
        if *keeps_length { write!(out, ", lengths kept") } else { Ok(()) }
    }
}

/// An image.
pub struct Image {
    /// As after the crash, all of it durable.
    pub disk: MemoryDisk,
    /// Sectors that a torn write did not reach hold what was there before, and that is not all zeros.
    pub shows_old_bytes: bool,
}

#[derive(Debug)]
struct Open {
    change: usize,
    is_durable: bool,
    in_flight: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    First(usize),
    Last(usize),
    Nothing,
}

/// Goes through a recording, change by change.
pub struct Replay<'a> {
    recording: &'a Recording,
    /// How many changes were made.
    point: usize,
    /// With the durable changes that nothing outstanding comes before.
    durable: Holding,
    /// The others, in order.
    open: Vec<Open>,
}

impl<'a> Replay<'a> {
    /// Before the first change.
    #[must_use]
    pub fn new(recording: &'a Recording) -> Replay<'a> {
        Replay { recording, point: 0, durable: recording.before.clone(), open: Vec::new() }
    }

    /// How many changes were made.
    #[must_use]
    pub fn point(&self) -> usize {
        self.point
    }

    /// Makes all changes.
    #[must_use]
    pub fn to_end(mut self) -> Replay<'a> {
        while self.advance() {}
        self
    }

    /// Makes the next change; false when there is none.
    pub fn advance(&mut self) -> bool {
        let Some(change) = self.recording.changes().get(self.point) else {
            return false;
        };
        let begin = |in_flight| Open { change: self.point, is_durable: false, in_flight };
        match change {
            Change::Write { durable_at_end, .. } => self.open.push(begin(*durable_at_end)),
            Change::Cut { .. } | Change::Named { .. } | Change::Removed { .. } => self.open.push(begin(false)),
            Change::Ended { write } => self.settle(|open, _| open.change == *write),
            Change::Synced { file } => self.settle(|open, change| !open.in_flight && change.file() == Some(*file)),
            Change::SyncedDirectory { path } => {
                self.settle(|_, change| change.path().is_some_and(|name| directory_of(name) == path));
            }
            Change::Stopped => self.open.iter_mut().for_each(|open| open.in_flight = false),
        }
        self.point += 1;
        self.fold();
        true
    }

    fn settle(&mut self, covers: impl Fn(&Open, &Change) -> bool) {
        for open in &mut self.open {
            open.is_durable |= covers(open, &self.recording.changes()[open.change]);
        }
    }

    /// Takes what is durable out of the list, unless something earlier of the same file or name is still open: a crash that
    /// keeps that must not put it on top.
    fn fold(&mut self) {
        let mut blocked = BTreeSet::new();
        let Replay { recording, durable, open, .. } = self;
        open.retain(|open| {
            let change = &recording.changes()[open.change];
            let target = (change.file(), change.path());
            if !open.is_durable || blocked.contains(&target) {
                blocked.insert(target);
                return true;
            }
            durable.apply(change, Part::All, false);
            false
        });
    }

    fn outstanding(&self) -> Vec<usize> {
        self.open.iter().filter(|open| !open.is_durable).map(|open| open.change).collect()
    }

    /// How to build the images of this point: everything and only what is durable, and of the other kinds so many that there
    /// are no more than `most`, chosen by `below`, which gives a number below its argument.
    pub fn recipes(&self, most: usize, below: &mut dyn FnMut(u64) -> u64) -> Vec<Recipe> {
        let outstanding = self.outstanding();
        let mut recipe = |kind, subject, sectors| {
            let others = if kind == ImageKind::Mixed { below(1 << outstanding.len().min(63)) } else { below(2) };
            Recipe { kind, subject, sectors, others, keeps_length: below(2) == 0 }
        };
        let mut chosen = vec![recipe(ImageKind::Everything, 0, 0)];
        if outstanding.is_empty() {
            return chosen;
        }
        chosen.push(recipe(ImageKind::OnlyDurable, 0, 0));
        let mut rest = Vec::new();
        for change in &outstanding {
            if outstanding.len() > 1 {
                rest.push(recipe(ImageKind::LostAlone, *change, 0));
                rest.push(recipe(ImageKind::KeptAlone, *change, 0));
            }
            if outstanding.len() > 3 {
                rest.push(recipe(ImageKind::Mixed, 0, 0));
            }
            let Change::Write { bytes, .. } = &self.recording.changes()[*change] else { continue };
            let all = bytes.len() / SECTOR_BYTES;
            let counts = [1, BLOCK_SECTORS, all / 2, all.saturating_sub(BLOCK_SECTORS), all.saturating_sub(1)];
            let counts: BTreeSet<usize> = counts.into_iter().filter(|count| (1..all).contains(count)).collect();
            for sectors in counts {
                rest.push(recipe(ImageKind::FirstSectors, *change, sectors));
                rest.push(recipe(ImageKind::LastSectors, *change, sectors));
            }
        }
        while chosen.len() < most && !rest.is_empty() {
            let index = usize::try_from(below(rest.len() as u64)).expect("an index");
            chosen.push(rest.swap_remove(index));
        }
        chosen
    }

    /// Builds an image of this point; `seed` is its disk's.
    #[must_use]
    pub fn build(&self, recipe: &Recipe, seed: u64) -> Image {
        let mut holding = self.durable.clone();
        let mut shows_old_bytes = false;
        let mut number = 0;
        for open in &self.open {
            let part = if open.is_durable { Part::All } else { recipe.part(open.change, number) };
            number += u32::from(!open.is_durable);
            shows_old_bytes |= holding.apply(&self.recording.changes()[open.change], part, recipe.keeps_length);
        }
        Image { disk: MemoryDisk::with(&holding, seed), shows_old_bytes }
    }
}

impl Recipe {
    /// What is kept of an outstanding change, the `number`-th of them.
    fn part(&self, change: usize, number: u32) -> Part {
        let is_subject = change == self.subject;
        let all_if = |keeps| if keeps { Part::All } else { Part::Nothing };
        match self.kind {
            ImageKind::Everything => Part::All,
            ImageKind::OnlyDurable => Part::Nothing,
            ImageKind::FirstSectors if is_subject => Part::First(self.sectors),
            ImageKind::LastSectors if is_subject => Part::Last(self.sectors),
            ImageKind::FirstSectors | ImageKind::LastSectors => all_if(self.others != 0),
            ImageKind::LostAlone => all_if(!is_subject),
            ImageKind::KeptAlone => all_if(is_subject),
            ImageKind::Mixed => all_if(self.others.checked_shr(number).is_some_and(|bits| bits & 1 == 1)),
        }
    }
}

impl Holding {
    /// Makes a part of a change; true when a torn write leaves old bytes.
    fn apply(&mut self, change: &Change, part: Part, keeps_length: bool) -> bool {
        match change {
            Change::Write { file, offset, bytes, .. } => {
                let contents = self.files.entry(*file).or_default();
                return write(contents, *offset, bytes, part, keeps_length);
            }
            _ if part == Part::Nothing => {}
            Change::Cut { file, bytes } => self.files.entry(*file).or_default().resize(*bytes, 0),
            Change::Named { path, file } => drop(self.names.insert(path.clone(), *file)),
            Change::Removed { path } => drop(self.names.remove(path)),
            Change::Ended { .. } | Change::Synced { .. } | Change::SyncedDirectory { .. } | Change::Stopped => {}
        }
        false
    }
}

fn write(contents: &mut Vec<u8>, offset: usize, bytes: &Rc<[u8]>, part: Part, keeps_length: bool) -> bool {
    let kept = match part {
        Part::All => 0..bytes.len(),
        Part::First(sectors) => 0..sectors * SECTOR_BYTES,
        Part::Last(sectors) => bytes.len() - sectors * SECTOR_BYTES..bytes.len(),
        Part::Nothing => 0..0,
    };
    let old = contents.get(offset..contents.len().min(offset + bytes.len())).unwrap_or_default();
    let is_old = |at: usize, byte: &u8| !kept.contains(&at) && *byte != 0;
    let is_torn = matches!(part, Part::First(_) | Part::Last(_));
    let shows_old_bytes = is_torn && old.iter().enumerate().any(|(at, byte)| is_old(at, byte));
    let end = offset + if keeps_length { bytes.len() } else { kept.end };
    if end > contents.len() && (keeps_length || !kept.is_empty()) {
        contents.resize(end, 0);
    }
    if !kept.is_empty() {
        contents[offset + kept.start..offset + kept.end].copy_from_slice(&bytes[kept]);
    }
    shows_old_bytes
}

fn directory_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

#[cfg(test)]
mod tests;
