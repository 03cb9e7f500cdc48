//! What is read from a sound directory, by every command.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use std::fs;
use std::path::Path;

use annulus_engine::index::IndexHash;
use annulus_engine::merkle::MerkleTree;
use annulus_engine::sealed_run::Replayed;
use annulus_object::{Actor, Dot};
use serde_json::Value;
use support::*;
use tempfile::TempDir;

fn directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    standard(directory.path());
    directory
}

fn of<'a>(values: &'a Value, field: &str, wanted: impl Into<Value>) -> &'a Value {
    let wanted = wanted.into();
    values.as_array().unwrap().iter().find(|value| value[field] == wanted).unwrap()
}

#[test]
fn a_sound_directory_is_sound_and_stays_as_it_is() {
    let directory = directory();
    let path = text(directory.path());
    let before = contents(directory.path());
    for arguments in [
        vec!["verify", path],
        vec!["ls", path],
        vec!["dump", "--all", path],
        vec!["merkle", path],
        vec!["stats", path],
        vec!["diff", path, path],
    ] {
        let answer = inspect(&arguments).expect(0);
        assert_eq!(answer.error, "", "{arguments:?}");
    }
    assert_eq!(contents(directory.path()), before);
}

#[test]
fn ls_counts_what_counts() {
    let directory = directory();
    let listing = inspect(&["ls", "--json", text(directory.path())]).expect(0).json();
    let first = of(&listing["partitions"], "partition", 0);
    assert_eq!((&first["keys"], &first["tombstones"]), (&19.into(), &1.into()));
    assert_eq!((&first["files"], &first["runs"], &first["counting_runs"]), (&1.into(), &2.into(), &2.into()));
    let second = of(&listing["partitions"], "partition", 1);
    assert_eq!((&second["keys"], &second["runs"], &second["counting_runs"]), (&3.into(), &4.into(), &2.into()));
    let fifth = of(&listing["partitions"], "partition", 5);
    assert_eq!((&fifth["keys"], &fifth["oldest_ms"]), (&1.into(), &(START_MS + 41_000).into()));
    assert_eq!(of(&listing["partitions"], "partition", 6)["keys"], 1);
    assert_eq!(listing["totals"]["keys"], 19 + 3 + 1 + 1 + 1 + 1);
    assert_eq!(listing["totals"]["tombstones"], 2);
    let segments = listing["segments"].as_array().unwrap();
    let spare = segments.iter().filter(|segment| segment["standing"] == "spare");
    assert_eq!(spare.map(|segment| &segment["sequence"]).collect::<Vec<_>>(), [4]);
    assert_eq!(of(&listing["cores"], "core", 0)["tails"], serde_json::json!([5, 7]));
    assert_eq!(of(&listing["cores"], "core", 1)["mark_ms"], START_MS + 40_000);
    inspect(&["ls", text(directory.path())]).expect(0).expect_text(&["node 00c0ffee0001.1", "2/4", "spare"]);
}

#[test]
fn get_finds_the_version_that_counts() {
    let directory = directory();
    let path = text(directory.path());
    let get = |key: &[u8]| inspect(&["get", path, std::str::from_utf8(key).unwrap()]);
    let raw = |key: &[u8]| inspect(&["get", "--raw", path, std::str::from_utf8(key).unwrap()]).expect(0).text;
    assert_eq!(raw(&key(0, 0)), "overwritten");
    assert_eq!(raw(&key(0, 4)), "from the log");
    assert_eq!(raw(&key(0, 5)), value(5));
    assert_eq!(raw(&key(1, 2)), "drained");
    get(&key(0, 0)).expect(0).expect_text(&["p00000-00000001.part", "2024-01-01T00:00:50.000Z+0 by 00c0ffee0001.1"]);
    get(&key(0, 1)).expect(1).expect_text(&["deleted 2024-01-01T00:00:51"]);
    get(&key(0, 2)).expect(0).expect_text(&["expires 2100-01-01T00:00:00.000Z"]);
    get(&key(0, 3)).expect(0).expect_text(&["value \"one\"", "value \"two\""]);
    get(&key(1, 3)).expect(0).expect_text(&["small-00002.log"]);
    for gone in [key(1, 0), key(5, 0), key(6, 0), b"never-there".to_vec()] {
        get(&gone).expect(1).expect_error(&["there is no record of"]);
    }
    inspect(&["get", "--raw", path, std::str::from_utf8(&key(0, 3)).unwrap()])
        .expect(1)
        .expect_error(&["several values"]);
}

#[test]
fn without_its_identity_a_directory_can_be_read() {
    let directory = directory();
    fs::remove_file(directory.path().join("node.meta")).unwrap();
    let path = text(directory.path());
    let name = String::from_utf8(key(0, 4)).unwrap();
    let answer = inspect(&["get", "--raw", path, &name]).expect(0).expect_error(&["no node.meta is here"]);
    assert_eq!(answer.text, "from the log");
    inspect(&["verify", path]).expect(0).expect_text(&["sound"]);
}

#[test]
fn dump_filters() {
    let directory = directory();
    let path = text(directory.path());
    let dump = |arguments: &[&str]| {
        let arguments: Vec<&str> = [&["dump", "--json", path], arguments].concat();
        inspect(&arguments).expect(0).lines()
    };
    let all = dump(&[]);
    assert_eq!(all.len(), 19 + 1 + 3 + 1 + 1 + 1 + 1 + 1);
    assert!(all.iter().all(|record| record["fate"] == "current"));
    let everything = dump(&["--all"]);
    let fates = |fate: &str| everything.iter().filter(|record| record["fate"] == fate).count();
    assert_eq!(fates("current"), all.len());
    assert_eq!((fates("older"), fates("flushed")), (5, 2));
    assert_eq!((fates("replaced run"), fates("run still in the log")), (1, 1));
    let name = String::from_utf8(key(1, 1)).unwrap();
    let one = dump(&["--key", &name]);
    assert_eq!((one.len(), &one[0]["value"]), (1, &"compacted".into()));
    assert_eq!(dump(&["--prefix", "key-"]).len(), all.len());
    assert_eq!(dump(&["--prefix", "kex-"]).len(), 0);
    assert_eq!(dump(&["--partition", "2"]).len(), 2);
    let half = dump(&["--to", "7"]).len();
    assert_eq!(half + dump(&["--from", "8"]).len(), all.len());
    assert!(half > 0);
    let hash = format!("{:032x}", hash_of(&key(1, 1)));
    assert_eq!(dump(&["--from", &hash, "--to", &hash]).len(), 1);
    let hashes: Vec<_> = dump(&["--partition", "0"]).iter().map(|record| record["hash"].clone()).collect();
    assert!(hashes.is_sorted_by_key(|hash| hash.as_str().unwrap().to_owned()));
}

#[test]
fn binary_keys_are_escaped_both_ways() {
    let directory = TempDir::new().unwrap();
    found(directory.path());
    let key = b"\x00\xff{tag}\\ \"\n".to_vec();
    let mut file = PartFile::new(partition_of(&key), 1);
    file.run(1, 0, None, &[record(&key, 5, &Says::Value(b"\x01\x02"))]);
    file.write(directory.path());
    let path = text(directory.path());
    let dumped = inspect(&["dump", "--json", path]).expect(0).lines();
    assert_eq!(dumped[0]["key"], "\\x00\\xff{tag}\\\\ \\\"\\n");
    let escaped = dumped[0]["key"].as_str().unwrap();
    inspect(&["get", path, escaped]).expect(0).expect_text(&["value \"\\x01\\x02\""]);
}

#[test]
fn the_roots_are_those_of_the_versions_that_count() {
    let directory = directory();
    let path = text(directory.path());
    let roots = inspect(&["merkle", "--json", path]).expect(0).json();
    let items = [(key(1, 1), 20), (key(1, 2), 30), (key(1, 3), 60)];
    let tree = MerkleTree::build(64, items.map(|(key, second)| (IndexHash::of(hash_of(&key)), dot(second))));
    assert_eq!(of(&roots["partitions"], "partition", 1)["root"], format!("{:032x}", tree.root()));
    let leaves = inspect(&["merkle", "--json", "--leaves", "1", path]).expect(0).json();
    let sums: Vec<String> = tree.leaves().iter().map(|sum| format!("{sum:016x}")).collect();
    assert_eq!(leaves["partitions"][0]["leaves"], serde_json::json!(sums));
    inspect(&["merkle", "--leaves", "1", path]).expect(0).expect_text(&["leaf", "sum"]);
}

#[test]
fn stats_add_up() {
    let directory = directory();
    let stats = inspect(&["stats", "--json", text(directory.path())]).expect(0).json();
    let sum = |field: &str| {
        stats[field].as_array().unwrap().iter().map(|class| class["count"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((sum("key_sizes"), sum("value_sizes"), sum("ages")), (28, 26, 28));
    let share = stats["live_share"].as_f64().unwrap();
    assert!(share > 0.5 && share < 1.0, "{share}");
    inspect(&["stats", text(directory.path())]).expect(0).expect_text(&["28 records count", "value sizes", "####"]);
}

#[test]
fn single_files_are_read_under_any_name() {
    let directory = directory();
    let copies = TempDir::new().unwrap();
    let (part, log) = (copies.path().join("some copy"), copies.path().join("another.bin"));
    fs::copy(directory.path().join("partitions/p00000-00000001.part"), &part).unwrap();
    fs::copy(directory.path().join("log-0003/core-00/small-00002.log"), &log).unwrap();
    inspect(&["verify", text(&part), text(&log)]).expect(0).expect_text(&["2 runs, 24 records", "2 frames, 3 records"]);
    assert_eq!(inspect(&["dump", "--json", text(&part)]).expect(0).lines().len(), 20);
    assert_eq!(inspect(&["dump", "--json", text(&log)]).expect(0).lines().len(), 3);
    inspect(&["ls", text(&log)]).expect(0).expect_text(&["log begins with sequence 5"]);
}

#[test]
fn an_append_that_was_cut_off_is_no_damage() {
    let directory = directory();
    let path = directory.path().join("partitions/p00000-00000001.part");
    let whole = fs::read(&path).unwrap();
    let before = inspect(&["merkle", text(directory.path())]).expect(0).text;
    for behind in [1, 4096, 5000, 300_000, 3 << 20] {
        let junk = record(&key(0, 19), 99, &Says::Value(&[b'j'; 1000]));
        let bytes: Vec<u8> = whole.iter().copied().chain(junk.iter().copied().cycle().take(behind)).collect();
        fs::write(&path, bytes).unwrap();
        inspect(&["verify", text(directory.path())]).expect(0).expect_text(&[&format!("notice: {}", text(&path))]);
        assert_eq!(inspect(&["merkle", text(directory.path())]).expect(0).text, before);
    }
}

#[test]
fn of_one_dot_the_tombstone_counts() {
    let directory = TempDir::new().unwrap();
    found(directory.path());
    let mut file = PartFile::new(4, 1);
    file.run(1, 0, None, &[record(&key(4, 0), 9, &Says::Tombstone)]);
    file.write(directory.path());
    let mut log = LogFile::new(core_of(4), 0, 1);
    log.frame(&[record(&key(4, 0), 9, &Says::Expires(b"expired since", START_MS))]);
    log.write(directory.path(), 1);
    let dumped = inspect(&["dump", "--json", text(directory.path())]).expect(0).lines();
    assert_eq!((dumped.len(), &dumped[0]["kind"]), (1, &"tombstone".into()));
}

#[test]
fn drained_runs_count_when_no_crash_would_replay_their_log() {
    let drained = |layout, core, instance, through| Some(Replayed { layout, core, instance, through });
    // The log of core 0: sequences 3 and 4, the first of which it begins with; no frame in its large one, sequence 9. A
    // segment that is not there is not replayed.
    let cases = [
        (drained(LAYOUT, 0, 0, 2), true),
        (drained(LAYOUT, 0, 0, 3), false),
        (drained(LAYOUT, 0, 0, 4), false),
        (drained(LAYOUT, 0, 0, 5), true),
        (drained(LAYOUT - 1, 0, 0, 7), true),
        (drained(LAYOUT, 1, 0, 7), true),
        (drained(LAYOUT, 0, 1, 8), true),
        (drained(LAYOUT, 0, 1, 9), false),
        (None, true),
    ];
    for (drained, counts) in cases {
        let directory = TempDir::new().unwrap();
        found(directory.path());
        let mut file = PartFile::new(2, 1);
        file.run(1, 0, drained, &[record(&key(2, 0), 10, &Says::Value(b"drained"))]);
        file.write(directory.path());
        let mut log = LogFile::new(0, 0, 3);
        log.frame(&[record(&key(0, 0), 10, &Says::Value(b"in the log"))]);
        log.write(directory.path(), 1);
        log.next_segment(4);
        log.frame(&[]);
        log.write(directory.path(), 2);
        LogFile::new(0, 1, 9).write(directory.path(), 3);
        let keys = inspect(&["dump", "--json", text(directory.path())]).expect(0).lines().len();
        assert_eq!(keys, 1 + usize::from(counts), "{drained:?}");
    }
}

#[test]
fn only_the_last_runs_may_be_unfinished_drains() {
    let directory = TempDir::new().unwrap();
    found(directory.path());
    let drained = |through| Some(Replayed { layout: LAYOUT, core: 0, instance: 0, through });
    let mut file = PartFile::new(2, 1);
    for (n, through) in [3, 2, 3, 3].into_iter().enumerate() {
        let value = [record(&key(2, n), 10, &Says::Value(b"drained"))];
        file.run(n as u64 + 1, 0, drained(through), &value);
    }
    file.write(directory.path());
    let mut log = LogFile::new(0, 0, 3);
    log.frame(&[]);
    log.write(directory.path(), 1);
    let found = inspect(&["dump", "--json", "--all", text(directory.path())]).expect(0).lines();
    let fates = |fate: &str| found.iter().filter(|record| record["fate"] == fate).count();
    assert_eq!((fates("current"), fates("run still in the log")), (2, 2));
}

#[test]
fn two_that_did_not_see_each_other_count_both() {
    let directory = TempDir::new().unwrap();
    found(directory.path());
    let mut file = PartFile::new(2, 1);
    let other = Dot::new(at(11), Actor::new(NODE + 1, 1));
    file.run(1, 0, None, &[record(&key(2, 0), 10, &Says::Value(b"one"))]);
    file.run(2, 0, None, &[record_with(&key(2, 0), other, at(1), &[], &Says::Value(b"other"))]);
    file.write(directory.path());
    let name = String::from_utf8(key(2, 0)).unwrap();
    let answer = inspect(&["get", "--raw", text(directory.path()), &name]).expect(0);
    assert_eq!(answer.expect_error(&["2 records say parts of the key's state"]).text, "other");
    let dump = inspect(&["dump", "--json", text(directory.path())]).expect(0).lines();
    assert_eq!(dump.iter().map(|record| record["value"].as_str().unwrap()).collect::<Vec<_>>(), ["other", "one"]);
    // A copy has them in one record.
    let copy = directory.path().with_extension("copy");
    inspect(&["salvage", text(directory.path()), text(&copy)]).expect(0).expect_text(&["copied 1 keys"]);
    let siblings = &inspect(&["dump", "--json", text(&copy)]).expect(0).lines()[0]["siblings"];
    let values: Vec<_> =
        siblings.as_array().unwrap().iter().map(|sibling| sibling["value"].as_str().unwrap()).collect();
    assert_eq!(values, ["one", "other"]);
    inspect(&["verify", text(&copy)]).expect(0);
    let root =
        |path: &Path| inspect(&["merkle", "--json", text(path)]).expect(0).json()["partitions"][0]["root"].clone();
    assert_eq!(root(directory.path()), root(&copy), "the tree has an item for each sibling");
    inspect(&["diff", text(directory.path()), text(&copy)]).expect(0).expect_text(&["1 same"]);
    std::fs::remove_dir_all(copy).unwrap();
}
