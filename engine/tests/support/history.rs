//! What was written and acknowledged when, by points of a recorded disk: what a crash at any point may leave of each key.
//!
//! Invariant: of a key's writes the last that was acknowledged at a point counts, and every later one that had begun by then.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use annulus_engine::disk::memory::{MemoryDisk, Recording};
use annulus_engine::{Commit, Durability};

use super::{Fate, Node, START_MS, State, Write};

#[derive(Clone, Debug)]
struct Noted {
    state: State,
    /// A crash at this point or a later one may leave it.
    from: usize,
    acknowledged: Option<usize>,
}

impl Noted {
    fn is_acknowledged(&self, point: usize) -> bool {
        self.acknowledged.is_some_and(|acknowledged| acknowledged <= point)
    }
}

#[derive(Clone, Debug, Default)]
pub struct History {
    keys: BTreeMap<Vec<u8>, Vec<Noted>>,
    /// Where a write is in `keys`, by its number.
    numbers: Vec<(Vec<u8>, usize)>,
    times: Vec<(usize, u64)>,
    /// Lines, by the number of changes before them.
    story: Vec<(usize, String)>,
}

fn show(state: &State) -> String {
    match state {
        None => "nothing".to_owned(),
        Some((value, 0)) => format!("{} bytes", value.len()),
        Some((value, expires_at_ms)) => format!("{} bytes until {}", value.len(), expires_at_ms - START_MS),
    }
}

impl History {
    /// A write was taken; gives its number.
    pub fn began(&mut self, key: &[u8], state: &State, point: usize, now_ms: u64) -> usize {
        let number = self.note(key, Noted { state: state.clone(), from: point + 1, acknowledged: None });
        self.tell(point, format!("#{number} {} = {}", String::from_utf8_lossy(key), show(state)));
        self.time_is(now_ms, point);
        number
    }

    /// A write's commit is durable.
    pub fn acknowledged(&mut self, number: usize, point: usize) {
        let (key, index) = &self.numbers[number];
        self.keys.get_mut(key).unwrap()[*index].acknowledged = Some(point);
        self.tell(point, format!("#{number} acknowledged"));
    }

    /// After a start a key was found to hold this.
    pub fn observed(&mut self, key: &[u8], state: &State, point: usize, now_ms: u64) -> usize {
        let number = self.note(key, Noted { state: state.clone(), from: point, acknowledged: Some(point) });
        self.tell(point, format!("#{number} {} found: {}", String::from_utf8_lossy(key), show(state)));
        self.time_is(now_ms, point);
        number
    }

    pub fn time_is(&mut self, now_ms: u64, point: usize) {
        self.times.push((point, now_ms));
    }

    pub fn tell(&mut self, point: usize, line: String) {
        self.story.push((point, line));
    }

    fn note(&mut self, key: &[u8], noted: Noted) -> usize {
        let writes = self.keys.entry(key.to_vec()).or_default();
        writes.push(noted);
        self.numbers.push((key.to_vec(), writes.len() - 1));
        self.numbers.len() - 1
    }

    /// The latest time at a point.
    pub fn time_at(&self, point: usize) -> u64 {
        let times = self.times.iter().filter(|(at, _)| *at <= point);
        times.map(|(_, now_ms)| *now_ms).max().unwrap_or(START_MS)
    }

    /// What a key may hold of what had begun at a point, in order; the last write that was acknowledged by another first, if
    /// there is one.
    fn possible(&self, key: &[u8], acknowledged: usize, point: usize) -> impl Iterator<Item = &Noted> {
        let writes = &self.keys[key];
        let first = writes.iter().rposition(|write| write.is_acknowledged(acknowledged)).unwrap_or(0);
        writes[first..].iter().filter(move |write| write.from <= point)
    }

    /// What happened up to a point: the writes between the changes of the disk.
    pub fn story(&self, recording: &Recording, point: usize) -> String {
        let mut out = String::new();
        let mut lines = self.story.iter().filter(|(at, _)| *at <= point).peekable();
        for number in 0..=point {
            while let Some((_, line)) = lines.next_if(|(at, _)| *at <= number) {
                writeln!(out, "      {line}").unwrap();
            }
            if number < point {
                writeln!(out, "{number:4}  {}", recording.describe(number)).unwrap();
            }
        }
        out
    }
}

impl Node {
    /// A node that was not started yet, so much later, on what a crash has left; it knows what may be there.
    pub fn after_crash(image: MemoryDisk, history: &History, point: usize, later_ms: u64) -> Node {
        Node::on_image(image, history, (point, point), later_ms)
    }

    /// As [`Node::after_crash`], where what was acknowledged by the first point is there, and what had begun by the second may be.
    pub fn on_image(
        image: MemoryDisk,
        history: &History,
        (acknowledged_by, point): (usize, usize),
        later_ms: u64,
    ) -> Node {
        let mut node = Node::closed(image, Durability::Sync);
        node.now_ms = history.time_at(point) + later_ms;
        // Its commit never ends any more.
        let open = Fate::Open(0, Commit { instance: u8::MAX, ordinal: 0 });
        let mut noted = History::default();
        noted.time_is(node.now_ms, 0);
        for key in history.keys.keys() {
            for write in history.possible(key, acknowledged_by, point) {
                let acknowledged = write.is_acknowledged(acknowledged_by);
                let copy = Noted { state: write.state.clone(), from: 0, acknowledged: acknowledged.then_some(0) };
                let number = noted.note(key, copy);
                let may = if acknowledged { "holds at least" } else { "may hold" };
                noted.tell(0, format!("#{number} {} {may} {}", String::from_utf8_lossy(key), show(&write.state)));
                let fate = if acknowledged { Fate::Durable } else { open };
                node.model.entry(key.clone()).or_default().push(Write { state: write.state.clone(), fate, number });
            }
        }
        node.history = Some(noted);
        node
    }
}
