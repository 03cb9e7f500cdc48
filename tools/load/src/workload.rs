//! What is asked of the server: the mix of operations, which keys, and how large.
//!
//! The named mixes are those of YCSB where they make sense for a store without scans: a (half updates), b (5 % updates),
//! c (reads), d (reads of what was inserted last), f (half read-then-write).
//!
//! Invariant: with one seed and one thread the sequence of operations and keys is always the same.

use rand::Rng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Zipf};

/// Of the skewed choices; YCSB's.
const ZIPF_EXPONENT: f64 = 0.99;
/// Part of the keys that is hot, and part of the operations that go there.
const HOT_KEYS: f64 = 0.1;
const HOT_OPERATIONS: f64 = 0.9;

/// What one request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// GET.
    Read,
    /// SET of a key that exists.
    Update,
    /// SET of a new key.
    Insert,
    /// GET, then SET of the same key.
    ReadThenWrite,
}

impl Operation {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Read, Self::Update, Self::Insert, Self::ReadThenWrite];

    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Update => "update",
            Self::Insert => "insert",
            Self::ReadThenWrite => "read-then-write",
        }
    }
}

/// A named mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Named {
    /// Writes only.
    Set,
    /// Reads only.
    Get,
    /// YCSB A: half reads, half updates, zipf.
    A,
    /// YCSB B: 95 % reads, zipf.
    B,
    /// YCSB C: reads, zipf.
    C,
    /// YCSB D: 95 % reads of the latest, 5 % inserts.
    D,
    /// YCSB F: half reads, half read-then-write, zipf.
    F,
    /// Reads and updates as `--gets` says.
    Mixed,
}

/// Which keys are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Spread {
    /// Every key alike.
    Uniform,
    /// Few keys often, spread over the key space.
    Zipf,
    /// Those inserted last.
    Latest,
    /// A tenth of the keys gets nine tenths of the operations.
    Hot,
}

/// Sizes, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Least.
    pub least: usize,
    /// Most.
    pub most: usize,
}

impl std::str::FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number of bytes"));
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let sizes = Self { least: number(least)?, most: number(most)? };
        if sizes.least <= sizes.most { Ok(sizes) } else { Err(format!("{text:?} ends before it begins")) }
    }
}

impl Sizes {
    /// One of them, by a number that may be anything.
    pub fn pick(self, number: u64) -> usize {
        let span = (self.most - self.least) as u64 + 1;
        self.least + usize::try_from(number % span).expect("no larger than a size")
    }
}

/// The shares of the operations, in percent, and the choice of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    reads: u32,
    inserts: u32,
    read_then_writes: u32,
    spread: Spread,
}

impl Workload {
    /// A named mix; `gets` is of [`Named::Mixed`], and `spread` overrides the mix' own.
    pub fn new(named: Named, gets: u32, spread: Option<Spread>) -> Self {
        assert!(gets <= 100, "a share is a percentage");
        let (reads, inserts, read_then_writes, own) = match named {
            Named::Set => (0, 0, 0, Spread::Uniform),
            Named::Get => (100, 0, 0, Spread::Uniform),
            Named::A => (50, 0, 0, Spread::Zipf),
            Named::B => (95, 0, 0, Spread::Zipf),
            Named::C => (100, 0, 0, Spread::Zipf),
            Named::D => (95, 5, 0, Spread::Latest),
            Named::F => (50, 0, 50, Spread::Zipf),
            Named::Mixed => (gets, 0, 0, Spread::Uniform),
        };
        Self { reads, inserts, read_then_writes, spread: spread.unwrap_or(own) }
    }

    /// Draws an operation.
    pub fn operation(&self, random: &mut StdRng) -> Operation {
        let draw = random.random_range(0..100);
        if draw < self.reads {
            Operation::Read
        } else if draw < self.reads + self.inserts {
            Operation::Insert
        } else if draw < self.reads + self.inserts + self.read_then_writes {
            Operation::ReadThenWrite
        } else {
            Operation::Update
        }
    }
}

/// Chooses keys, as numbers from 0.
#[derive(Debug)]
pub struct KeyChoice {
    spread: Spread,
    keys: u64,
    zipf: Zipf<f64>,
}

impl KeyChoice {
    /// Among `keys` keys to begin with.
    pub fn new(workload: &Workload, keys: u64) -> Self {
        assert!(keys > 0, "there is a key");
        let zipf = Zipf::new(keys as f64, ZIPF_EXPONENT).expect("at least one key, and a positive exponent");
        Self { spread: workload.spread, keys, zipf }
    }

    /// A key that exists.
    pub fn existing(&self, random: &mut StdRng) -> u64 {
        match self.spread {
            Spread::Uniform => random.random_range(0..self.keys),
            // Spread over all keys, or neighbours in the key space would be hot together.
            Spread::Zipf => mix(self.rank(random)) % self.keys,
            Spread::Latest => self.keys - 1 - self.rank(random).min(self.keys - 1),
            Spread::Hot => {
                let hot = ((self.keys as f64 * HOT_KEYS) as u64).max(1);
                if random.random_bool(HOT_OPERATIONS) {
                    random.random_range(0..hot)
                } else {
                    random.random_range(0..self.keys)
                }
            }
        }
    }

    /// The next new key.
    pub fn insert(&mut self) -> u64 {
        self.keys += 1;
        self.keys - 1
    }

    /// From 0, the most frequent first.
    fn rank(&self, random: &mut StdRng) -> u64 {
        self.zipf.sample(random) as u64 - 1
    }
}

/// A number that looks random, for each number another (SplitMix64).
pub fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn counts(spread: Spread, keys: u64, draws: u64) -> Vec<u64> {
        let choice = KeyChoice::new(&Workload::new(Named::Get, 0, Some(spread)), keys);
        let mut random = StdRng::seed_from_u64(3);
        let mut counts = vec![0; usize::try_from(keys).unwrap()];
        (0..draws).for_each(|_| counts[usize::try_from(choice.existing(&mut random)).unwrap()] += 1);
        counts
    }

    #[test]
    fn every_spread_stays_within_the_keys_and_has_its_shape() {
        for keys in [1, 2, 1000] {
            for spread in [Spread::Uniform, Spread::Zipf, Spread::Latest, Spread::Hot] {
                assert_eq!(counts(spread, keys, 1000).iter().sum::<u64>(), 1000);
            }
        }
        let uniform = counts(Spread::Uniform, 100, 100_000);
        assert!(uniform.iter().all(|count| (800..1200).contains(count)));
        let latest = counts(Spread::Latest, 1000, 100_000);
        assert!(latest[999] > 10 * latest[900] && latest[999] > 10_000);
        let zipf = counts(Spread::Zipf, 1000, 100_000);
        assert!(*zipf.iter().max().unwrap() > 10_000);
        let hot = counts(Spread::Hot, 1000, 100_000);
        assert!((90_000..92_500).contains(&hot[..100].iter().sum::<u64>()));
    }

    #[test]
    fn mixes_have_their_shares() {
        let share = |named, operation| {
            let workload = Workload::new(named, 30, None);
            let mut random = StdRng::seed_from_u64(5);
            (0..10_000).filter(|_| workload.operation(&mut random) == operation).count()
        };
        assert_eq!(share(Named::Set, Operation::Update), 10_000);
        assert_eq!(share(Named::C, Operation::Read), 10_000);
        assert!((4_800..5_200).contains(&share(Named::A, Operation::Update)));
        assert!((400..600).contains(&share(Named::D, Operation::Insert)));
        assert!((4_800..5_200).contains(&share(Named::F, Operation::ReadThenWrite)));
        assert!((2_800..3_200).contains(&share(Named::Mixed, Operation::Read)));
    }

    #[test]
    fn sizes_are_read_and_picked() {
        assert_eq!("100".parse(), Ok(Sizes { least: 100, most: 100 }));
        let sizes: Sizes = "10-12".parse().unwrap();
        assert!((0..100).map(|number| sizes.pick(number)).all(|size| (10..=12).contains(&size)));
        assert!("12-10".parse::<Sizes>().is_err() && "x".parse::<Sizes>().is_err());
    }
}
