//! Writers that send until the node dies: each on a connection of its own, over the keys of its ledger.
//!
//! What they know is in their ledgers; what the node must hold afterwards is judged elsewhere.
//!
//! Invariant: a write is noted as sent before its first byte leaves, and as acknowledged only when its reply was right.

use super::ledger::{LONG_LIFE, Ledger, Life, State};
use super::random::Random;
use super::resp::{Client, Reply, encode};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Requests that leave together.
const BATCH_MAX: u64 = 24;
/// A writer touches this part of its keys for so many batches, then another one. What rests meanwhile gets into partition
/// files, and what is deleted, expired or written over by then must stay so while the log and the files turn over.
const TOUCHED_PART: usize = 5;
const BATCHES_PER_PART: u64 = 20;
/// Of that many parts one is deleted, all of it.
const PARTS_PER_DELETION: u64 = 2;

/// Writers under way.
pub struct Writers {
    done: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Ledger>>,
}

impl Writers {
    /// Starts one for each ledger.
    pub fn start(port: u16, ledgers: Vec<Ledger>, random: &mut Random) -> Self {
        let done = Arc::new(AtomicU64::new(0));
        let threads = ledgers.into_iter().map(|ledger| {
            let (done, seed) = (done.clone(), random.bits());
            std::thread::spawn(move || write_until_killed(port, ledger, &done, seed))
        });
        let threads = threads.collect();
        Writers { done, threads }
    }

    /// How many writes were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Whether one of them has ended, which none does while the node lives.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Their ledgers, once the node is dead.
    pub fn join(self) -> Vec<Ledger> {
        self.threads.into_iter().map(|writer| writer.join().expect("a writer's checks hold")).collect()
    }
}

/// What a reply must be, in the order of the requests.
enum Expected {
    Set,
    /// whether the key was there; `None` if that depends on when
    Delete(Option<bool>),
    Value {
        value: Option<Vec<u8>>,
        /// it may have expired meanwhile
        may_be_gone: bool,
    },
}

/// What leaves together, and what must come back.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    expected: Vec<Expected>,
}

fn write_until_killed(port: u16, mut ledger: Ledger, done: &AtomicU64, seed: u64) -> Ledger {
    let mut random = Random::new(seed);
    let mut client = Client::connect(port);
    let mut writer = client.writer();
    let touched = ledger.len().div_ceil(TOUCHED_PART);
    let mut first = 0;
    for number in 0.. {
        let mut batch = Batch::default();
        if number % BATCHES_PER_PART == 0 {
            if random.one_in(PARTS_PER_DELETION) {
                (first..first + touched).for_each(|at| batch.delete(&mut ledger, at));
            }
            first = random.below(ledger.len() as u64) as usize;
        }
        for _ in 0..1 + random.below(BATCH_MAX) {
            batch.request(&mut ledger, first + random.below(touched as u64) as usize, &mut random);
        }
        if writer.write_all(&batch.bytes).is_err()
            || read_batch(&mut client, &mut ledger, done, batch.expected).is_err()
        {
            break;
        }
    }
    ledger
}

impl Batch {
    /// Adds some request of a key; those behind the last one are the first ones again.
    fn request(&mut self, ledger: &mut Ledger, at: usize, random: &mut Random) {
        match random.below(10) {
            0..=1 => self.delete(ledger, at),
            2 => self.get(ledger, at),
            _ => self.set(ledger, at),
        }
    }

    fn delete(&mut self, ledger: &mut Ledger, at: usize) {
        let index = at % ledger.len();
        let before = ledger.latest(index);
        ledger.send_delete(index);
        encode(&mut self.bytes, &[b"DEL", &ledger.key(index)]);
        self.expected.push(Expected::Delete((!is_short(ledger, before)).then_some(before != State::Absent)));
    }

    fn get(&mut self, ledger: &Ledger, at: usize) {
        let index = at % ledger.len();
        let before = ledger.latest(index);
        encode(&mut self.bytes, &[b"GET", &ledger.key(index)]);
        let value = match before {
            State::Absent => None,
            State::Written(number) => Some(ledger.value(index, number)),
        };
        self.expected.push(Expected::Value { value, may_be_gone: is_short(ledger, before) });
    }

    fn set(&mut self, ledger: &mut Ledger, at: usize) {
        let index = at % ledger.len();
        let number = ledger.send_value(index);
        let (key, value) = (ledger.key(index), ledger.value(index, number));
        let life = |unit: &[u8], time: u128, bytes: &mut Vec<u8>| {
            encode(bytes, &[b"SET", &key, &value, unit, time.to_string().as_bytes()]);
        };
        match ledger.life(number) {
            Life::Unbounded => encode(&mut self.bytes, &[b"SET", &key, &value]),
            Life::Long => life(b"EX", LONG_LIFE.as_secs().into(), &mut self.bytes),
            Life::Short(time) => life(b"PX", time.as_millis(), &mut self.bytes),
        }
        self.expected.push(Expected::Set);
    }
}

/// Whether a state ends by itself before long.
fn is_short(ledger: &Ledger, state: State) -> bool {
    matches!(state, State::Written(number) if matches!(ledger.life(number), Life::Short(_)))
}

fn read_batch(
    client: &mut Client,
    ledger: &mut Ledger,
    done: &AtomicU64,
    expected: Vec<Expected>,
) -> std::io::Result<()> {
    for expected in &expected {
        let reply = client.read_reply()?;
        match expected {
            Expected::Set => reply.expect_ok(),
            Expected::Delete(Some(existed)) => assert_eq!(reply, Reply::Integer((*existed).into()), "of a DEL"),
            Expected::Delete(None) => assert!((0..=1).contains(&reply.integer()), "of a DEL: {reply}"),
            Expected::Value { may_be_gone: true, .. } if reply.is_null() => {}
            Expected::Value { value: None, .. } => assert!(reply.is_null(), "a GET after its own DEL found {reply}"),
            Expected::Value { value: Some(value), .. } => {
                assert!(!reply.is_null(), "a pipelined GET does not see its own SET");
                assert!(reply.bytes() == value.as_slice(), "a pipelined GET sees another value than its own SET's");
            }
        }
        if !matches!(expected, Expected::Value { .. }) {
            ledger.acknowledged();
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}
