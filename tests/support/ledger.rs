//! What one writer knows of its keys: what was acknowledged last, and what was sent since and never answered.
//!
//! A key may hold what was acknowledged last, or anything sent after that. Anything else is a lost write
//! (older), an invented one (newer than all that was sent), or a torn one (bytes that nobody wrote).

use super::random::Random;
use std::collections::VecDeque;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// nothing
    Absent,
    /// the value that was written with this number
    Written(u64),
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

    /// What key `index` holds once everything sent so far is done.
    pub fn latest(&self, index: usize) -> State {
        *self.keys[index].open.back().unwrap_or(&self.keys[index].confirmed)
    }

    /// Notes a new value as sent, and returns its bytes.
    pub fn send_value(&mut self, index: usize) -> Vec<u8> {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.sent(index, State::Written(sequence));
        self.value(index, sequence)
    }

    /// Notes a delete as sent.
    pub fn send_delete(&mut self, index: usize) {
        self.sent(index, State::Absent);
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

    /// The value of key `index` with number `sequence`: it names both, and its length and filling follow from them.
    pub fn value(&self, index: usize, sequence: u64) -> Vec<u8> {
        let mut random = Random::new(sequence ^ ((index as u64) << 40) ^ ((self.writer as u64) << 56));
        let length = match random.below(600) {
            0 => 150_000 + random.below(200_000),
            1..=10 => 4_000 + random.below(40_000),
            _ => 32 + random.below(300),
        };
        let mut value = format!("{sequence}:{}:{index}:", self.writer).into_bytes();
        while value.len() < length as usize {
            value.extend_from_slice(&random.bits().to_le_bytes());
        }
        value
    }

    /// Judges what key `index` held after a restart, which from then on is what it must hold.
    pub fn observe(&mut self, index: usize, found: Option<&[u8]>) -> Result<(), String> {
        let state = match found {
            None => State::Absent,
            Some(bytes) => State::Written(self.read(index, bytes)?),
        };
        let history = &mut self.keys[index];
        if state != history.confirmed && !history.open.contains(&state) {
            return Err(format!(
                "holds {state:?}; acknowledged last: {:?}; sent since: {:?}",
                history.confirmed, history.open
            ));
        }
        *history = History { confirmed: state, open: VecDeque::new() };
        Ok(())
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
