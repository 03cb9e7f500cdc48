//! What one writer knows of its keys: what was acknowledged last, and what was sent since and never answered.
//!
//! A key may hold what was acknowledged last, or anything sent after that. Anything else is a lost write
//! (older), an invented one (newer than all that was sent), or a torn one (bytes that nobody wrote).
//!
//! Invariant: what a write says, its length and its life follow from its number, so that nothing else is remembered.

use super::random::Random;
use std::collections::VecDeque;
use std::time::Duration;

/// The longest short life: after it every such value is gone.
pub const SHORT_LIFE: Duration = Duration::from_millis(200);
/// A long one: whatever the tests do takes less.
pub const LONG_LIFE: Duration = Duration::from_secs(100_000);

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// nothing
    Absent,
    /// the value that was written with this number
    Written(u64),
}

/// How long a value is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// until it is written over
    Unbounded,
    /// longer than any test
    Long,
    /// at most [`SHORT_LIFE`]
    Short(Duration),
}

/// One key.
#[derive(Clone)]
struct History {
    confirmed: State,
    open: VecDeque<State>,
}

/// The keys of one writer; no other writer touches them.
pub struct Ledger {
    writer: usize,
    keys: Vec<History>,
    next_sequence: u64,
    order: VecDeque<usize>,
}

impl Ledger {
    /// `keys` keys, all absent.
    pub fn new(writer: usize, keys: usize) -> Self {
        let history = History { confirmed: State::Absent, open: VecDeque::new() };
        Ledger { writer, keys: vec![history; keys], next_sequence: 1, order: VecDeque::new() }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The name of key `index`.
    pub fn key(&self, index: usize) -> Vec<u8> {
        format!("writer-{}-key-{index}", self.writer).into_bytes()
    }

    /// What key `index` holds once everything sent so far is done, and nothing has expired.
    pub fn latest(&self, index: usize) -> State {
        *self.keys[index].open.back().unwrap_or(&self.keys[index].confirmed)
    }

    /// Notes a new value as sent, and returns its number.
    pub fn send_value(&mut self, index: usize) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.sent(index, State::Written(sequence));
        sequence
    }

    /// Notes a delete as sent.
    pub fn send_delete(&mut self, index: usize) {
        self.sent(index, State::Absent);
    }

    /// Every key is gone, and that was acknowledged.
    pub fn flush(&mut self) {
        assert!(self.order.is_empty(), "nothing is under way");
        self.keys.iter_mut().for_each(|history| history.confirmed = State::Absent);
    }

    /// The oldest write that was not acknowledged yet now is.
    pub fn acknowledged(&mut self) {
        let index = self.order.pop_front().expect("a reply follows a request");
        let history = &mut self.keys[index];
        history.confirmed = history.open.pop_front().expect("a reply follows a request");
    }

    /// How many writes were sent and not acknowledged.
    pub fn unanswered(&self) -> usize {
        self.order.len()
    }

    /// How long the value with number `sequence` is there.
    pub fn life(&self, sequence: u64) -> Life {
        let mut random = self.chance(sequence);
        match random.below(16) {
            0 => Life::Short(Duration::from_millis(1 + random.below(SHORT_LIFE.as_millis() as u64))),
            1 => Life::Long,
            _ => Life::Unbounded,
        }
    }

    /// The value of key `index` with number `sequence`: it names both, and its length and filling follow from them. Most
    /// are of some kilobytes, so that the log turns over soon; some are alone in their frame, a few fill much of a segment.
    pub fn value(&self, index: usize, sequence: u64) -> Vec<u8> {
        let mut random = self.chance(sequence ^ ((index as u64) << 40));
        let length = match random.below(1000) {
            0..=1 => (1 << 20) + random.below(3 << 20),
            2..=9 => 150_000 + random.below(200_000),
            10..=99 => 32 + random.below(300),
            _ => 4_096 + random.below(12_288),
        };
        let mut value = format!("{sequence}:{}:{index}:", self.writer).into_bytes();
        while value.len() < length as usize {
            value.extend_from_slice(&random.bits().to_le_bytes());
        }
        value
    }

    /// Judges what key `index` held after a restart, when every short life was over; that is what it must hold from then on.
    pub fn observe(&mut self, index: usize, found: Option<&[u8]>) -> Result<State, String> {
        let state = match found {
            None => State::Absent,
            Some(bytes) => State::Written(self.read(index, bytes)?),
        };
        let history = &self.keys[index];
        let mut possible = std::iter::once(&history.confirmed).chain(&history.open);
        if !possible.any(|before| self.outlived(*before) == state) {
            return Err(format!(
                "holds {state:?}; acknowledged last: {:?}; sent since: {:?}",
                history.confirmed, history.open
            ));
        }
        self.keys[index] = History { confirmed: state, open: VecDeque::new() };
        Ok(state)
    }

    /// After the last `observe` of a round: nothing is open any more.
    pub fn settle(&mut self) {
        self.order.clear();
        assert!(self.keys.iter().all(|history| history.open.is_empty()), "every key was observed");
    }

    /// The keys that are present, by name.
    pub fn present(&self) -> impl Iterator<Item = Vec<u8>> {
        (0..self.keys.len()).filter(|&index| self.latest(index) != State::Absent).map(|index| self.key(index))
    }

    /// What is left of a state when every short life is over.
    fn outlived(&self, state: State) -> State {
        match state {
            State::Written(sequence) if matches!(self.life(sequence), Life::Short(_)) => State::Absent,
            state => state,
        }
    }

    fn chance(&self, number: u64) -> Random {
        Random::new(number ^ ((self.writer as u64) << 56))
    }

    fn sent(&mut self, index: usize, state: State) {
        self.keys[index].open.push_back(state);
        self.order.push_back(index);
    }

    fn read(&self, index: usize, bytes: &[u8]) -> Result<u64, String> {
        let digits = bytes.split(|&byte| byte == b':').next().unwrap_or_default();
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u64>().ok());
        match number {
            Some(sequence) if self.value(index, sequence) == bytes => Ok(sequence),
            _ => Err(format!("holds bytes that nobody wrote: {}…", bytes[..bytes.len().min(60)].escape_ascii())),
        }
    }
}
