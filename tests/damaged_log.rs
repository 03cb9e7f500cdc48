//! Truncated and bit-flipped files under a real node: it starts with what is whole, or names what is rotten.
//!
//! Exhaustive damage (every byte, every disk call) is the engine's own test on its faulty disk. Here it is shown
//! that the whole process neither panics nor serves bytes that nobody wrote, and that it says what it found.

mod support;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use support::directory::{Directory, files_below};
use support::node::Options;
use support::random::Random;

const KEYS: usize = 400;

fn options(data: &Path) -> Options {
    Options::new(data).cores(1).argument("--hot-log-bytes").argument("32MiB")
}

fn value(number: usize) -> Vec<u8> {
    format!("value-{number}-").repeat(1 + number % 40).into_bytes()
}

/// A directory in which a node was killed after `KEYS` acknowledged writes.
fn written() -> Directory {
    let directory = Directory::new("rot-origin");
    let mut node = options(directory.path()).start();
    let mut client = node.client();
    for number in 0..KEYS {
        client.command(&[b"SET", format!("key-{number}").as_bytes(), &value(number)]).expect_ok();
    }
    node.kill();
    directory
}

fn logs(directory: &Path) -> Vec<PathBuf> {
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let files: Vec<PathBuf> = files_below(directory).into_iter().filter(is_log).collect();
    assert!(!files.is_empty(), "no log files below {}", directory.display());
    files
}

/// The file with most written bytes, and where they end (a multiple of 4 KiB).
fn busiest(directory: &Path) -> (PathBuf, u64) {
    let end = |path: &Path| {
        let bytes = std::fs::read(path).expect("a log can be read");
        bytes.chunks(4096).rposition(|block| block.iter().any(|&byte| byte != 0)).map_or(0, |at| (at as u64 + 1) * 4096)
    };
    let all = logs(directory).into_iter().map(|path| (end(&path), path));
    let (end, path) = all.max().expect("there are logs");
    assert!(end > 64 * 1024, "{} holds only {end} bytes", path.display());
    (path, end)
}

/// What became of one damaged directory.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// it named the damage and did not start
    Refused,
    /// it serves; how many of the keys are gone
    Serves { missing: usize, reported: bool },
}

fn open_damaged(directory: &Directory, what: &str) -> Outcome {
    let mut node = options(directory.path()).spawn();
    let started = std::time::Instant::now();
    let ready = loop {
        let said = node.said();
        if said.lines().any(|line| line.starts_with("ready ")) {
            break true;
        }
        if node.has_ended() {
            break false;
        }
        assert!(started.elapsed() < support::PATIENCE, "{what}: neither ready nor ended:\n{said}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    if !ready {
        let status = node.wait_exit();
        let said = node.said();
        assert!(status.code().is_some_and(|code| code != 0), "{what}: {status}\n{said}");
        assert!(!said.contains("panicked"), "{what}: a panic:\n{said}");
        assert!(names_damage(&said), "{what}: refused without naming the damage:\n{said}");
        return Outcome::Refused;
    }
    let mut client = node.client();
    let mut missing = 0;
    for number in 0..KEYS {
        let reply = client.command(&[b"GET", format!("key-{number}").as_bytes()]);
        if reply.is_null() || reply.error().is_some() {
            missing += 1;
        } else {
            assert!(reply.bytes() == value(number), "{what}: key-{number} holds {reply}");
        }
    }
    client.words("SET after damage").expect_ok();
    node.expect_alive();
    let reported = names_damage(&node.said());
    node.kill();
    // What it serves now it must still serve after the next start.
    let node = options(directory.path()).start();
    assert_eq!(node.client().words("GET after").bytes(), b"damage", "{what}: written after the damage and lost");
    Outcome::Serves { missing, reported }
}

fn names_damage(said: &str) -> bool {
    let said = said.to_lowercase();
    ["corrupt", "damage", "torn", "checksum", "truncated", "bad frame", "suspect", "node.meta has"]
        .iter()
        .any(|word| said.contains(word))
}

/// A flipped bit inside acknowledged frames is noticed and named, wherever it is.
#[test]
fn flipped_bits_are_named() {
    let seed = Random::seed_from_environment();
    eprintln!("ANNULUS_SEED={seed}");
    let mut random = Random::new(seed);
    let origin = written();
    let (path, end) = busiest(origin.path());
    let relative = path.strip_prefix(origin.path()).expect("below it").to_path_buf();
    let mut noticed = 0;
    for round in 0..12 {
        let copy = origin.duplicate("rot-flip");
        let file = OpenOptions::new().read(true).write(true).open(copy.path().join(&relative)).expect("the copy");
        // Not the last frames: a bad last one is a torn tail, which is no corruption.
        // Not padding either, which is zero and which nothing covers.
        let mut byte = [0];
        let mut offset = 0;
        while byte[0] == 0 {
            offset = random.below(end - 16 * 4096);
            file.read_exact_at(&mut byte, offset).expect("inside the file");
        }
        byte[0] ^= 1 << random.below(8);
        file.write_all_at(&byte, offset).expect("inside the file");
        let outcome = open_damaged(&copy, &format!("round {round}, bit at {offset} of {}", relative.display()));
        eprintln!("bit at {offset}: {outcome:?}");
        match outcome {
            Outcome::Serves { missing, reported } => {
                assert!(
                    reported || missing == 0,
                    "bit at {offset}: {missing} keys are gone and nothing was said (seed {seed})"
                );
                noticed += usize::from(reported);
            }
            Outcome::Refused => noticed += 1,
        }
    }
    assert!(noticed > 0, "no flipped bit was noticed");
}

/// A segment cut anywhere: a prefix of the writes, or named damage; never a panic, never foreign bytes.
#[test]
fn truncated_segments_give_a_prefix() {
    let seed = Random::seed_from_environment();
    eprintln!("ANNULUS_SEED={seed}");
    let mut random = Random::new(seed);
    let origin = written();
    let (path, end) = busiest(origin.path());
    let relative = path.strip_prefix(origin.path()).expect("below it").to_path_buf();
    for round in 0..8 {
        let copy = origin.duplicate("rot-cut");
        let length = match round {
            0 => 0,
            1 => 4096,
            2 => end,
            _ => random.below(end),
        };
        let file = OpenOptions::new().write(true).open(copy.path().join(&relative)).expect("the copy");
        file.set_len(length).expect("a file can be cut");
        let outcome = open_damaged(&copy, &format!("round {round}, cut at {length} of {}", relative.display()));
        eprintln!("cut at {length}: {outcome:?}");
        if let Outcome::Serves { missing, reported } = outcome {
            assert!(length < end || missing == 0, "nothing was cut off, and {missing} keys are gone");
            assert!(reported || missing == 0 || length < end, "{missing} keys are gone and nothing was said");
        }
    }
}

/// Every other file of the directory, damaged in turn: refused by name or served whole.
#[test]
fn damaged_metadata_is_named() {
    let origin = written();
    let metadata: Vec<PathBuf> = files_below(origin.path())
        .into_iter()
        .filter(|path| path.extension().is_none_or(|extension| extension != "log"))
        .collect();
    let mut checked = 0;
    for path in metadata {
        let relative = path.strip_prefix(origin.path()).expect("below it").to_path_buf();
        let length = std::fs::metadata(&path).expect("a file").len();
        if length == 0 {
            continue;
        }
        for damage in ["flip", "cut", "empty"] {
            let copy = origin.duplicate("rot-meta");
            let file = OpenOptions::new().read(true).write(true).open(copy.path().join(&relative)).expect("the copy");
            match damage {
                "flip" => {
                    let mut byte = [0];
                    file.read_exact_at(&mut byte, length / 3).expect("inside the file");
                    file.write_all_at(&[byte[0] ^ 0x10], length / 3).expect("inside the file");
                }
                "cut" => file.set_len(length / 2).expect("a file can be cut"),
                _ => file.set_len(0).expect("a file can be cut"),
            }
            let what = format!("{damage} {}", relative.display());
            let outcome = open_damaged(&copy, &what);
            eprintln!("{what}: {outcome:?}");
            assert!(matches!(outcome, Outcome::Refused | Outcome::Serves { missing: 0, .. }), "{what}: {outcome:?}");
            checked += 1;
        }
    }
    assert!(checked > 0, "the directory holds nothing but logs");
}
