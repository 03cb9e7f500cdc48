//! What is sound is copied, into files that verify clean; and two sides are compared.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use std::fs;

use annulus_engine::sealed_run::{RUN_BLOCK_BYTES, Trailer};
use annulus_object::{Actor, Dot};
use support::*;
use tempfile::TempDir;

fn directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    standard(directory.path());
    directory
}

#[test]
fn a_sound_directory_is_copied_whole() {
    let (directory, scratch) = (directory(), TempDir::new().unwrap());
    let before = contents(directory.path());
    let copy = scratch.path().join("copy");
    inspect(&["salvage", text(directory.path()), text(&copy)])
        .expect(0)
        .expect_text(&["copied 26 keys and 2 tombstones"]);
    assert_eq!(contents(directory.path()), before);
    inspect(&["verify", text(&copy)]).expect(0).expect_text(&["sound; 6 partitions, 6 files, 6 runs, 28 records"]);
    inspect(&["diff", "--values", text(directory.path()), text(&copy)])
        .expect(0)
        .expect_text(&["28 same, 0 only in a"]);
    let roots = |path: &str| inspect(&["merkle", path]).expect(0).text;
    assert_eq!(roots(text(directory.path())), roots(text(&copy)));
    assert!(copy.join("node.meta").exists() && !copy.join("log-0003").exists());
}

#[test]
fn the_destination_is_new_and_outside() {
    let (directory, scratch) = (directory(), TempDir::new().unwrap());
    let salvage = |to: &str| inspect(&["salvage", text(directory.path()), to]).expect(1);
    salvage(text(scratch.path())).expect_error(&["exists"]);
    salvage(text(&directory.path().join("copy"))).expect_error(&["lies in the source"]);
    assert!(!directory.path().join("copy").exists());
}

#[test]
fn what_is_sound_of_a_damaged_directory_is_copied() {
    let (directory, scratch) = (directory(), TempDir::new().unwrap());
    let part = directory.path().join("partitions/p00000-00000001.part");
    let bytes = fs::read(&part).unwrap();
    let trailer = |n: &usize| Trailer::decode(&bytes[*n..*n + RUN_BLOCK_BYTES], *n as u64).is_ok();
    let trailers: Vec<usize> = (0..bytes.len()).step_by(RUN_BLOCK_BYTES).filter(trailer).collect();
    // The first run's trailer, and a record in the second run that had overwritten one of the first.
    flip(&part, trailers[0] + RUN_BLOCK_BYTES - 50);
    flip(&part, trailers[0] + RUN_BLOCK_BYTES + 70);
    // A frame of the log, but none of its records.
    flip(&directory.path().join("log-0003/core-00/small-00002.log"), 4096 + 40);
    let copy = scratch.path().join("copy");
    let answer = inspect(&["salvage", text(directory.path()), text(&copy)]).expect(2);
    answer.expect_text(&[
        "a trailer is damaged",
        "not in the copy",
        "damaged frame",
        "copied 25 keys",
        "known to be lost: 1 key;",
    ]);
    inspect(&["verify", text(&copy)]).expect(0);
    let lost = String::from_utf8(key(0, 0)).unwrap();
    inspect(&["get", text(&copy), &lost]).expect(1);
    let rescued = String::from_utf8(key(1, 3)).unwrap();
    assert_eq!(inspect(&["get", "--raw", text(&copy), &rescued]).expect(0).text, "in the log, too");
}

#[test]
fn single_files_are_salvaged_into_a_directory() {
    let (directory, scratch) = (directory(), TempDir::new().unwrap());
    let part = directory.path().join("partitions/p00001-00000002.part");
    flip(&part, 4096 + 70);
    let copy = scratch.path().join("of-a-part");
    inspect(&["salvage", text(&part), text(&copy)]).expect(2).expect_text(&["copied 2 keys"]);
    inspect(&["verify", text(&copy)]).expect(0);
    let segment = directory.path().join("log-0003/core-00/small-00002.log");
    let copy = scratch.path().join("of-a-segment");
    inspect(&["salvage", text(&segment), text(&copy)]).expect(0).expect_text(&["copied 3 keys and 0 tombstones of 3"]);
    inspect(&["verify", text(&copy)]).expect(0);
}

#[test]
fn differences_are_named() {
    let (a, b) = (directory(), TempDir::new().unwrap());
    found(b.path());
    let mut file = PartFile::new(0, 1);
    let mut records: Vec<_> =
        (4..20).map(|n| record(&key(0, n), 10 + n as u64, &Says::Value(value(n).as_bytes()))).collect();
    // 0 is missing here, 1 older, 2 newer, 3 from someone who had not seen the other; 4 is older than in the log of the other
    // side, 19 the same version with another value, 20 only here.
    records.push(record(&key(0, 1), 11, &Says::Value(value(1).as_bytes())));
    records.push(record(&key(0, 2), 80, &Says::Tombstone));
    let other = Dot::new(at(81), Actor::new(NODE + 7, 1));
    records.push(record_with(&key(0, 3), other, at(1), &[], &Says::Value(b"concurrent")));
    records[15] = record(&key(0, 19), 29, &Says::Value(b"another value"));
    records.push(record(&key(0, 20), 82, &Says::Value(b"new")));
    file.run(1, 0, None, &records);
    let path = file.write(b.path());
    let part = a.path().join("partitions/p00000-00000001.part");
    let answer = inspect(&["diff", "--json", "--values", text(&part), text(&path)]).expect(2).json();
    let counts = serde_json::json!({
        "same": 15, "only_in_a": 1, "only_in_b": 1, "older_in_a": 1, "older_in_b": 1, "different": 2
    });
    assert_eq!(answer["counts"], counts);
    let keys = answer["keys"].as_array().unwrap();
    let relation = |n: usize| {
        let name = String::from_utf8(key(0, n)).unwrap();
        keys.iter().find(|line| line["key"] == name).map(|line| line["relation"].as_str().unwrap())
    };
    let relations = [0, 1, 2, 3, 4, 19, 20].map(relation);
    let expected = ["only in a", "older in b", "older in a", "different", "", "different", "only in b"];
    assert_eq!(relations.map(Option::unwrap_or_default), expected);
    // Without the values the two versions of one dot are the same; with the log, one more is older.
    inspect(&["diff", text(&part), text(&path)]).expect(2).expect_text(&["16 same", "1 different"]);
    let whole = inspect(&["diff", "--max", "3", text(a.path()), text(b.path())]).expect(2);
    let whole = whole.expect_text(&["2 older in b", "1 only in b", "15 same"]);
    assert_eq!(whole.text.lines().filter(|line| line.contains(", partition ")).count(), 3);
}

#[test]
fn clusters_are_not_compared() {
    let (a, b) = (directory(), TempDir::new().unwrap());
    found_with(b.path(), *b"another key, too");
    standard(b.path());
    inspect(&["diff", text(a.path()), text(b.path())]).expect(1).expect_error(&["different clusters"]);
}
