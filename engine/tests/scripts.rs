//! Golden scripts: stories of one core's store as text, in `src/testscripts/`. A line is a command, the indented lines below
//! it what the store answered. `ANNULUS_BLESS=1` writes what is answered now into the scripts.
//!
//! ```text
//! open                     open [flip FILE OFFSET]: a bit of a file was flipped before
//! put KEY VALUE [MS]       expires in MS; VALUE may be BYTES*x
//! get KEY | del KEY | flush | keys
//! write                    the frame in flight ends; `fail write`: with an error
//! settle                   everything waiting is written, background work done
//! tick MS                  time passes
//! crash | close            and `open` again
//! log                      the segments in use
//! ```

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use std::fmt::Write as _;
use std::path::Path;

use annulus_engine::disk::memory::{MemoryDisk, block_on};
use annulus_engine::{Durability, Engine, Event, Found, Written};
use annulus_object::Actor;
use support::{NODE, Node, START_MS, partition_of};

struct Story {
    disk: MemoryDisk,
    engine: Option<Engine<MemoryDisk>>,
    now_ms: u64,
    now_us: u64,
    incarnation: u16,
    out: String,
}

impl Story {
    fn new() -> Story {
        Story {
            disk: MemoryDisk::new(1),
            engine: None,
            now_ms: START_MS,
            now_us: 0,
            incarnation: 1,
            out: String::new(),
        }
    }

    fn say(&mut self, text: &str) {
        writeln!(self.out, "  {text}").unwrap();
    }

    fn engine(&mut self) -> &mut Engine<MemoryDisk> {
        self.engine.as_mut().expect("the script opens the store first")
    }

    fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["open"] => self.open(),
            ["put", key, value] => self.put(key, value, 0),
            ["put", key, value, ms] => self.put(key, value, self.now_ms + ms.parse::<u64>().unwrap()),
            ["get", key] => self.get(key),
            ["del", key] => self.del(key),
            ["flush"] => {
                let now_ms = self.now_ms;
                let result = self.engine().flush_all(now_ms).map(Some);
                self.say_written(result);
            }
            ["keys"] => {
                let engine = self.engine();
                let keys = engine.keys();
                assert_eq!(engine.keys_among(|_| true), keys);
                let (even, odd) = (engine.keys_among(|of| of % 2 == 0), engine.keys_among(|of| of % 2 == 1));
                assert_eq!(even + odd, keys);
                self.say(&format!("{keys}"));
            }
            ["write"] => self.write(),
            ["fail", "write"] => {
                // Not what the turn itself asks of the disk.
                self.turn();
                self.disk.fail_call(Some(self.disk.calls()), false);
                self.write();
            }
            ["settle"] => {
                for _ in 0..20 {
                    self.write();
                }
            }
            ["tick", ms] => {
                self.now_ms += ms.parse::<u64>().unwrap();
                let now_ms = self.now_ms;
                self.engine().tick(now_ms);
            }
            ["crash"] => {
                self.engine = None;
                self.disk.crash();
                self.incarnation += 1;
            }
            ["close"] => {
                self.engine().begin_close();
                for _ in 0..20 {
                    self.write();
                }
                assert!(self.engine().is_closed());
                self.engine = None;
            }
            ["flip", file, offset] => {
                self.disk.flip_bit(&format!("log-0001/core-00/{file}"), offset.parse().unwrap(), 3);
            }
            ["log"] => {
                let statistics = self.engine().statistics();
                let counts = &statistics.counts;
                let line = format!(
                    "segments {} created {} recycled {} tombstones {}",
                    statistics.log_segments, counts.segments_created, counts.segments_recycled, statistics.tombstones
                );
                self.say(&line);
            }
            _ => panic!("unknown command: {line}"),
        }
    }

    fn open(&mut self) {
        let mut node = Node::closed(self.disk.clone(), Durability::Sync);
        (node.now_ms, node.incarnation) = (self.now_ms, self.incarnation);
        node.cache_bytes = 0;
        match block_on(Engine::open(self.disk.clone(), node.config(0, 1, None))) {
            Err(error) => self.say(&format!("refused: {error}")),
            Ok(engine) => {
                let report = engine.recovery().clone();
                self.say(&format!("keys {} records {} frames {}", engine.keys(), report.records, report.frames));
                if report.torn_tails + report.disregarded_frames > 0 {
                    self.say(&format!("torn {} left out {}", report.torn_tails, report.disregarded_frames));
                }
                report.corruption.iter().for_each(|corruption| self.say(&format!("damaged: {corruption}")));
                self.engine = Some(engine);
            }
        }
    }

    fn put(&mut self, key: &str, value: &str, expires_at_ms: u64) {
        let value = match value.split_once('*') {
            Some((bytes, fill)) => fill.repeat(bytes.parse().unwrap()),
            None => value.to_owned(),
        };
        let (now_ms, partition) = (self.now_ms, partition_of(key.as_bytes()));
        let engine = self.engine();
        let known = engine.key(key.as_bytes(), partition);
        let result = engine.put(&known, value.as_bytes(), expires_at_ms, now_ms).map(Some);
        self.say_written(result);
    }

    fn del(&mut self, key: &str) {
        let (now_ms, partition) = (self.now_ms, partition_of(key.as_bytes()));
        let engine = self.engine();
        let known = engine.key(key.as_bytes(), partition);
        let result = engine.delete(&known, now_ms);
        self.say_written(result);
    }

    fn say_written(&mut self, result: Result<Option<Written>, annulus_engine::Refusal>) {
        match result {
            Err(refusal) => self.say(&format!("refused: {refusal}")),
            Ok(None) => self.say("absent"),
            Ok(Some(written)) => {
                let after = written
                    .after
                    .map_or("nothing".to_owned(), |commit| format!("{}.{}", commit.instance, commit.ordinal));
                self.say(&format!(
                    "by incarnation {}, existed {}, after {after}",
                    written.dot.actor.incarnation(),
                    written.existed
                ));
            }
        }
    }

    fn get(&mut self, key: &str) {
        let (now_ms, partition) = (self.now_ms, partition_of(key.as_bytes()));
        let engine = self.engine();
        let known = engine.key(key.as_bytes(), partition);
        let show = |value: &[u8]| match value.len() {
            0..=40 => String::from_utf8_lossy(value).into_owned(),
            bytes => format!("{bytes} bytes of {}", char::from(value[0])),
        };
        let plan = match engine.find(&known, now_ms) {
            Found::Absent { after } => {
                let waits =
                    after.map_or(String::new(), |commit| format!(", after {}.{}", commit.instance, commit.ordinal));
                return self.say(&format!("absent{waits}"));
            }
            Found::Here { record, after } => {
                let waits =
                    after.map_or(String::new(), |commit| format!(", after {}.{}", commit.instance, commit.ordinal));
                let line = format!("{}{waits}", show(record.value(now_ms)));
                return self.say(&line);
            }
            Found::OnDisk(plan) => plan,
        };
        assert!(self.engine().start_read(&plan, 0));
        while let Some(completion) = self.disk.poll() {
            let now_ms = self.now_ms;
            self.engine().on_completion(completion, now_ms);
        }
        while let Some(event) = self.engine().next_event() {
            match event {
                Event::Read { result: Ok(record), .. } => {
                    self.say(&format!("{}, from disk", show(record.value(now_ms))))
                }
                Event::Read { result: Err(error), .. } => self.say(&format!("unreadable: {error}")),
                event => self.say_event(&event),
            }
        }
    }

    fn turn(&mut self) {
        self.now_us += 1000;
        let (now_us, now_ms) = (self.now_us, self.now_ms);
        self.engine().end_turn(now_us);
        while let Some(work) = self.engine().next_work() {
            let done = block_on(work.run());
            self.engine().on_work_done(done, now_ms);
        }
        self.engine().end_turn(now_us);
    }

    fn write(&mut self) {
        self.turn();
        let now_ms = self.now_ms;
        if let Some(completion) = self.disk.poll() {
            self.engine().on_completion(completion, now_ms);
        }
        while let Some(event) = self.engine().next_event() {
            self.say_event(&event);
        }
    }

    fn say_event(&mut self, event: &Event) {
        match event {
            Event::Durable(commit) => self.say(&format!("durable {}.{}", commit.instance, commit.ordinal)),
            Event::Failed(commit) => self.say(&format!("failed {}.{}", commit.instance, commit.ordinal)),
            Event::NeedIncarnation => {
                self.incarnation += 1;
                let actor = Actor::new(NODE, self.incarnation);
                self.engine().adopt_incarnation(actor);
                self.say(&format!("incarnation {} from now on", actor.incarnation()));
            }
            Event::ReadOnly => self.say("read-only"),
            Event::Read { .. } => self.say("a read ended"),
            Event::Snapshot(_) => unreachable!("no story takes a snapshot"),
        }
    }
}

#[test]
fn scripts() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testscripts");
    let mut count = 0;
    let mut wrong = Vec::new();
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut story = Story::new();
        for line in text.lines().filter(|line| !line.starts_with("  ")) {
            writeln!(story.out, "{line}").unwrap();
            if !line.is_empty() && !line.starts_with('#') {
                story.run(line);
            }
        }
        count += 1;
        if std::env::var_os("ANNULUS_BLESS").is_some() {
            std::fs::write(&path, &story.out).unwrap();
        } else if story.out != text {
            wrong.push(format!("{} now says:\n{}", path.display(), story.out));
        }
    }
    assert!(count >= 6, "there are scripts");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
