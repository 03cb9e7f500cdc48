//! A full disk, a real one: a small ext4 image on a loop device. Writes are refused by name, reads and deletes go on, and
//! what was acknowledged is there after a restart. What is deleted makes room again: drains and compactions go on with what
//! little space there is, until writes are taken.
//!
//! Needs root and a free loop device; without them the test says so loudly and does nothing, except in CI
//! (`ANNULUS_CI` set), where that is a failure.
//!
//! Invariant: the test waits for nothing without a deadline, and for no time alone: only for what a client sees.

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use support::directory::Directory;
use support::figures::Figures;
use support::inspect;
use support::node::{Node, Options};
use support::random::Random;
use support::resp::{Client, Reply, encode};

const IMAGE_BYTES: u64 = 320 << 20;

fn run(program: &str, arguments: &[&str]) -> Result<Output, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// A mounted image; unmounted when dropped, before its directory goes.
struct Mounted {
    point: PathBuf,
    _directory: Directory,
}

impl Mounted {
    fn new() -> Result<Mounted, String> {
        let directory = Directory::new("disk-full");
        let (image, point) = (directory.path().join("image"), directory.path().join("mounted"));
        let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(IMAGE_BYTES).map_err(|error| error.to_string())?;
        std::fs::create_dir(&point).map_err(|error| error.to_string())?;
        let (image, text) = (image.to_string_lossy().into_owned(), point.to_string_lossy().into_owned());
        run("mkfs.ext4", &["-q", "-F", "-m", "0", &image])?;
        run("mount", &["-o", "loop", &image, &text])?;
        Ok(Mounted { point, _directory: directory })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let point = self.point.to_string_lossy().into_owned();
        if let Err(error) = run("umount", &[&point]) {
            eprintln!("{error}; trying lazily");
            let _ = run("umount", &["-l", &point]);
        }
    }
}

/// Requests that leave together: the log's frames are filled.
const BATCH: usize = 16;
/// How long writes must be refused until the disk counts as full: drains free segments for a while, and a compaction that
/// failed is tried again after 5 seconds.
const REFUSED: Duration = Duration::from_secs(12);
/// No test disk takes more.
const KEYS_MAX: usize = 100_000;

fn options(data: &Path) -> Options {
    Options::new(data).cores(1).argument("--hot-log-bytes").argument(&std::env::var("LOG").unwrap_or("32MiB".into()))
}

/// What was acknowledged, and a connection to the node that must have it.
struct Keys {
    client: Client,
    /// the number of each key's newest value
    held: BTreeMap<usize, u64>,
    next: usize,
    version: u64,
}

impl Keys {
    fn new(client: Client) -> Self {
        Keys { client, held: BTreeMap::new(), next: 0, version: 0 }
    }

    /// Of 2 to 40 KB, and as many bytes each time.
    fn value(key: usize, version: u64) -> Vec<u8> {
        let mut random = Random::new(version << 32 | key as u64);
        let text = format!("{key}:{version}:{:016x}:", random.bits());
        text.repeat(1 + (2_000 + random.below(38_000) as usize) / text.len()).into_bytes()
    }

    /// Sends requests together and gives their replies.
    fn ask(&mut self, requests: &[Vec<Vec<u8>>]) -> Vec<Reply> {
        let mut bytes = Vec::new();
        for request in requests {
            encode(&mut bytes, &request.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
        let mut writer = self.client.writer();
        let sending = std::thread::spawn(move || writer.write_all(&bytes));
        let replies = requests.iter().map(|_| self.client.read_reply().expect("the node answers")).collect();
        sending.join().expect("no panic").expect("the node reads");
        replies
    }

    /// Writes keys; gives the first refusal.
    fn write(&mut self, keys: &[usize]) -> Option<String> {
        self.version += 1;
        let version = self.version;
        let set = |key: &usize| vec![b"SET".to_vec(), name(*key), Keys::value(*key, version)];
        let replies = self.ask(&keys.iter().map(set).collect::<Vec<_>>());
        let mut refusal = None;
        for (key, reply) in keys.iter().zip(replies) {
            match reply.error() {
                Some(error) => refusal = refusal.or_else(|| Some(error.to_owned())),
                None => {
                    reply.expect_ok();
                    self.held.insert(*key, version);
                }
            }
        }
        refusal
    }

    /// Writes new keys until a refusal.
    fn fill(&mut self) -> String {
        while self.next < KEYS_MAX {
            let keys: Vec<usize> = (self.next..self.next + BATCH).collect();
            let refusal = self.write(&keys);
            self.next += BATCH;
            if let Some(refusal) = refusal {
                return refusal;
            }
        }
        panic!("{IMAGE_BYTES} bytes never filled up");
    }

    /// Writes new keys until they are refused for a while, however much is compacted meanwhile; gives the last refusal.
    fn fill_for_good(&mut self) -> String {
        let started = Instant::now();
        let mut refusal = self.fill();
        let mut since = Instant::now();
        while since.elapsed() < REFUSED {
            assert!(started.elapsed() < 4 * support::PATIENCE, "the disk never filled up for good");
            std::thread::sleep(Duration::from_millis(50));
            let before = self.held.len();
            refusal = self.fill();
            if self.held.len() > before {
                since = Instant::now();
            }
        }
        refusal
    }

    /// Deletes keys that are held; gives those that were refused.
    fn delete(&mut self, keys: &[usize]) -> Vec<usize> {
        let mut refused = Vec::new();
        for keys in keys.chunks(BATCH) {
            let replies = self.ask(&keys.iter().map(|key| vec![b"DEL".to_vec(), name(*key)]).collect::<Vec<_>>());
            for (key, reply) in keys.iter().zip(replies) {
                match reply.error() {
                    Some(error) => {
                        assert!(error.starts_with("MISCONF "), "a refused DEL is MISCONF, got: {error}");
                        refused.push(*key);
                    }
                    None => {
                        assert_eq!(reply, Reply::Integer(1), "of a DEL of key-{key}");
                        self.held.remove(key);
                    }
                }
            }
        }
        refused
    }

    /// What was acknowledged is there, and nothing else.
    fn expect_all(&mut self) {
        let keys: Vec<usize> = (0..self.next).collect();
        for keys in keys.chunks(BATCH) {
            let replies = self.ask(&keys.iter().map(|key| vec![b"GET".to_vec(), name(*key)]).collect::<Vec<_>>());
            for (key, reply) in keys.iter().zip(replies) {
                match self.held.get(key) {
                    None => assert!(reply.is_null(), "key-{key} was never acknowledged, or deleted, and is there"),
                    Some(version) => {
                        assert!(!reply.is_null(), "key-{key} was acknowledged and is gone");
                        assert!(reply.bytes() == Keys::value(*key, *version), "key-{key} holds other bytes");
                    }
                }
            }
        }
        assert_eq!(self.client.words("DBSIZE").integer(), self.held.len() as i64);
    }
}

fn name(key: usize) -> Vec<u8> {
    format!("key-{key}").into_bytes()
}

fn free_bytes(point: &Path) -> u64 {
    rustix::fs::statvfs(point).map(|space| space.f_bavail * space.f_frsize).expect("it is mounted")
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    let mounted = match Mounted::new() {
        Ok(mounted) => mounted,
        Err(why) => {
            assert!(std::env::var_os("ANNULUS_CI").is_none(), "CI must run this: {why}");
            eprintln!("SKIPPED: no loop-mounted file system here: {why}");
            return;
        }
    };
    let data = mounted.point.join("data");
    let started = Instant::now();
    let say = |what: &str, keys: &mut Keys| {
        let figures = Figures::of(&mut keys.client);
        eprintln!(
            "{:.1} s {what}: {} keys, {} MiB free, {figures:?}",
            started.elapsed().as_secs_f64(),
            keys.held.len(),
            free_bytes(&mounted.point) >> 20
        );
    };
    let mut node = options(&data).start();
    let mut keys = Keys::new(node.client());
    let refusal = keys.fill();
    say("first refusal", &mut keys);
    let refusal = keys.fill_for_good();
    say(&refusal, &mut keys);
    keys.expect_all();
    say("all there", &mut keys);
    let some: Vec<usize> = keys.held.keys().step_by(40).copied().collect();
    let refused = keys.delete(&some);
    eprintln!("{} of {} deletes refused", refused.len(), some.len());
    say("deleted some", &mut keys);
    node.kill();
    let mut node = options(&data).start();
    keys.client = node.client();
    say("restarted", &mut keys);
    keys.expect_all();
    let mut most: Vec<usize> = keys
        .held
        .keys()
        .filter(|key| if std::env::var_os("OLD").is_some() { **key < keys.next * 55 / 100 } else { *key % 2 > 0 })
        .copied()
        .collect();
    eprintln!("deleting {}", most.len());
    while !most.is_empty() {
        most = keys.delete(&most);
        say(&format!("{} deletes refused", most.len()), &mut keys);
        assert!(started.elapsed() < Duration::from_secs(280));
    }
    loop {
        let again: Vec<usize> = (0..BATCH).collect();
        let refusal = keys.write(&again);
        if refusal.is_none() {
            break;
        }
        say(&format!("write: {refusal:?}"), &mut keys);
        assert!(started.elapsed() < Duration::from_secs(280));
        std::thread::sleep(Duration::from_millis(500));
    }
    say("taken again", &mut keys);
    keys.expect_all();
    node.stop();
}
