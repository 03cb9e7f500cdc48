//! Every kind of damage is found, and said: which file, where, and which keys.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use annulus_engine::sealed_run::{RUN_BLOCK_BYTES, TRAILER_BYTES, Trailer};
use serde_json::Value;
use support::*;
use tempfile::TempDir;

fn directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    standard(directory.path());
    directory
}

fn part(directory: &Path, name: &str) -> PathBuf {
    directory.join("partitions").join(name)
}

fn log(directory: &Path, core: u16, name: &str) -> PathBuf {
    directory.join(format!("log-0003/core-{core:02}")).join(name)
}

/// The trailers of a file, in its order.
fn trailers(path: &Path) -> Vec<Trailer> {
    let bytes = fs::read(path).unwrap();
    let blocks = bytes.chunks_exact(RUN_BLOCK_BYTES).enumerate();
    blocks.filter_map(|(n, block)| Trailer::decode(block, (n * RUN_BLOCK_BYTES) as u64).ok()).collect()
}

/// All damage that `verify` finds.
fn damage(directory: &Path) -> Vec<Value> {
    let answer = inspect(&["verify", "--json", text(directory)]).expect(2);
    let found = answer.json()["findings"].as_array().unwrap().clone();
    let found: Vec<Value> = found.into_iter().filter(|finding| finding["damage"] == true).collect();
    assert!(!found.is_empty());
    found
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_partition_file_is_found() {
    let directory = directory();
    let path = part(directory.path(), "p00001-00000002.part");
    let whole = fs::read(&path).unwrap();
    let trailers = trailers(&path);
    let ranges = trailers.iter().flat_map(|trailer| {
        let records = trailer.run_start..trailer.run_start + trailer.records_bytes;
        let footer = trailer.footer_start()..trailer.footer_start() + trailer.footer_bytes();
        records.chain(footer).chain(trailer.end() - TRAILER_BYTES as u64..trailer.end())
    });
    let header = (0..200).chain(4000..4096);
    // A stride that is coprime to the structures' sizes keeps the test short and meets every field.
    for at in header.chain(ranges).step_by(7) {
        flip(&path, usize_of(at));
        let found = damage(directory.path());
        let is_here = found.iter().any(|finding| finding["path"] == text(&path) && finding["partition"] == 1);
        assert!(is_here, "byte {at}: {found:?}");
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn a_damaged_record_is_named_by_its_hash_and_the_rest_is_read() {
    let directory = directory();
    let path = part(directory.path(), "p00000-00000001.part");
    let before = inspect(&["merkle", text(directory.path())]).expect(0).text;
    // The value of the second record of the first run.
    let first = record(&key(0, 0), 10, &Says::Value(value(0).as_bytes())).len();
    flip(&path, 4096 + first + 64 + key(0, 1).len() + 1);
    let found = damage(directory.path());
    assert_eq!((found.len(), &found[0]["offset"]), (1, &(4096 + first).into()));
    let hash = found[0]["first_hash"].as_str().unwrap();
    assert_eq!(hash[..18], format!("{:032x}", hash_of(&key(0, 1)))[..18]);
    // The second run deletes the key.
    assert!(found[0]["what"].as_str().unwrap().contains("nothing is lost"));
    assert_eq!(inspect(&["merkle", text(directory.path())]).expect(0).text, before);
}

#[test]
fn a_damaged_footer_is_made_good_by_the_records() {
    let directory = directory();
    let path = part(directory.path(), "p00000-00000001.part");
    let before = inspect(&["merkle", text(directory.path())]).expect(0).text;
    let trailer = trailers(&path)[0];
    flip(&path, usize_of(trailer.footer_start() + 30));
    let found = damage(directory.path());
    assert_eq!((found.len(), &found[0]["offset"]), (1, &trailer.footer_start().into()));
    let mut hashes: Vec<u128> = (0..20).map(|n| hash_of(&key(0, n))).collect();
    hashes.sort_unstable();
    assert_eq!(found[0]["first_hash"], format!("{:032x}", hashes[0]));
    assert_eq!(found[0]["last_hash"], format!("{:032x}", hashes[19]));
    let after = inspect(&["merkle", text(directory.path())]).expect(2).expect_error(&["damage: ", "footer"]);
    assert_eq!(after.text, before);
}

#[test]
fn a_damaged_trailer_is_made_good_by_the_records() {
    for (name, run) in [("p00000-00000001.part", 0), ("p00000-00000001.part", 1), ("p00001-00000002.part", 1)] {
        let directory = directory();
        let path = part(directory.path(), name);
        let before = inspect(&["merkle", text(directory.path())]).expect(0).text;
        let trailer = trailers(&path)[run];
        flip(&path, usize_of(trailer.end() - 60));
        let found = damage(directory.path());
        assert_eq!(
            (found.len(), &found[0]["offset"]),
            (1, &(trailer.end() - TRAILER_BYTES as u64).into()),
            "{found:?}"
        );
        assert_eq!(inspect(&["merkle", text(directory.path())]).expect(2).text, before, "{name}, run {run}");
    }
}

#[test]
fn two_damaged_trailers_and_a_record_between_them() {
    let directory = TempDir::new().unwrap();
    found(directory.path());
    let mut file = PartFile::new(2, 1);
    for run in 0..4 {
        let records: Vec<_> = (0..5).map(|n| record(&key(2, 5 * run + n), 10, &Says::Value(&[7; 700]))).collect();
        file.run(run as u64 + 1, 0, None, &records);
    }
    let path = file.write(directory.path());
    let trailers = trailers(&path);
    flip(&path, usize_of(trailers[0].end() - 151));
    flip(&path, usize_of(trailers[1].end() - 30));
    flip(&path, usize_of(trailers[1].run_start + 200));
    let found = damage(directory.path());
    let lost = format!("{:032x}", hash_of(&key(2, 5)));
    assert!(found.iter().any(|finding| finding["first_hash"] == lost && finding["last_hash"] == lost), "{found:?}");
    let keys = inspect(&["ls", "--json", text(directory.path())]).expect(2).json()["totals"]["keys"].clone();
    assert_eq!(keys, 19);
}

#[test]
fn a_header_is_made_good_by_the_trailers() {
    let directory = directory();
    let path = part(directory.path(), "p00001-00000002.part");
    let before = inspect(&["merkle", text(directory.path())]).expect(0).text;
    for at in [3, 10, 33] {
        let whole = fs::read(&path).unwrap();
        flip(&path, at);
        let found = damage(directory.path());
        assert_eq!((found.len(), &found[0]["offset"], &found[0]["partition"]), (1, &0.into(), &1.into()));
        assert_eq!(inspect(&["merkle", text(directory.path())]).expect(2).text, before);
        inspect(&["verify", text(&path)]).expect(2).expect_text(&["its header is damaged"]);
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_missing_run_is_noticed_when_a_later_one_is_there() {
    // A file cut before its last run, in front of another file that goes on.
    let directory = TempDir::new().unwrap();
    found(directory.path());
    let of = |n: usize| [record(&key(3, n), 10, &Says::Value(b"value"))];
    let mut first = PartFile::new(3, 1);
    first.run(1, 0, None, &of(0));
    let end = first.bytes.len();
    first.run(2, 0, None, &of(1));
    let path = first.write(directory.path());
    let mut second = PartFile::new(3, 2);
    second.run(3, 0, None, &of(2));
    second.write(directory.path());
    inspect(&["verify", text(directory.path())]).expect(0);
    for cut in [end, end + 100, first.bytes.len() - 1] {
        fs::write(&path, &first.bytes[..cut]).unwrap();
        let found = damage(directory.path());
        assert!(found[0]["what"].as_str().unwrap().contains("run 2 of the partition is missing"), "{found:?}");
        assert_eq!(found[0]["partition"], 3);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(damage(directory.path()).len(), 2, "runs 1 and 2 are missing");
    let mut third = PartFile::new(3, 3);
    third.run(4, 3, None, &of(3));
    third.write(directory.path());
    inspect(&["verify", text(directory.path())]).expect(0);
    fs::remove_file(part(directory.path(), "p00003-00000002.part")).unwrap();
    assert!(damage(directory.path())[0]["what"].as_str().unwrap().contains("run 3"));
}

#[test]
fn a_run_that_is_there_twice_is_noticed() {
    let directory = directory();
    let copy = part(directory.path(), "p00000-00000007.part");
    fs::copy(part(directory.path(), "p00000-00000001.part"), copy).unwrap();
    let found = damage(directory.path());
    assert!(found.iter().any(|finding| finding["what"].as_str().unwrap().contains("file 1 of partition 0")));
}

#[test]
fn files_of_others_are_refused_or_left_out() {
    let directory = directory();
    let scratch = TempDir::new().unwrap();
    let foreign = scratch.path().join("letter.txt");
    fs::write(&foreign, "Dear reader, ".repeat(1000)).unwrap();
    inspect(&["verify", text(&foreign)]).expect(1).expect_error(&[
        "letter.txt",
        "no partition file",
        "give a data directory",
    ]);
    let tiny = scratch.path().join("tiny.part");
    fs::write(&tiny, "x").unwrap();
    inspect(&["dump", text(&tiny)]).expect(1).expect_error(&["1 bytes", "4096", "replica"]);
    inspect(&["ls", text(scratch.path())]).expect(1).expect_error(&["no data directory"]);
    inspect(&["ls", text(&scratch.path().join("nowhere"))]).expect(1).expect_error(&["does not exist"]);
    inspect(&["ls", text(&directory.path().join("node.meta"))]).expect(1).expect_error(&["name the directory"]);
    // In a directory, such a file is damage to its partition, and the others are read.
    fs::copy(&foreign, part(directory.path(), "p00004-00000001.part")).unwrap();
    let found = damage(directory.path());
    assert_eq!((found.len(), &found[0]["partition"]), (1, &4.into()));
    fs::write(part(directory.path(), "p00004-00000001.part"), "").unwrap();
    fs::write(part(directory.path(), "p4.part"), "").unwrap();
    inspect(&["verify", text(directory.path())]).expect(0).expect_text(&["never begun", "not a partition file's name"]);
    // Another cluster's file.
    let mut file = PartFile::new(4, 1);
    file.header.cluster_id = *b"another cluster!";
    let mut block = vec![0; RUN_BLOCK_BYTES];
    file.header.encode(&mut block);
    file.bytes = block;
    file.run(1, 0, None, &[record(&key(4, 0), 10, &Says::Value(b"theirs"))]);
    file.write(directory.path());
    assert!(damage(directory.path())[0]["what"].as_str().unwrap().contains("another cluster"));
}

#[test]
fn newer_formats_are_named() {
    let newer = |path: &Path, at: usize, bytes_of_it: usize| {
        let mut bytes = fs::read(path).unwrap();
        bytes[at + 12] = 9;
        let crc = crc32fast::hash(&bytes[at + 12..at + bytes_of_it]);
        bytes[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
        fs::write(path, bytes).unwrap();
    };
    let trailer = usize_of(trailers(&part(directory().path(), "p00000-00000001.part"))[0].end()) - TRAILER_BYTES;
    let files: [(&str, usize, usize, &str); 3] = [
        ("partitions/p00000-00000001.part", 0, 4096, "reads up to 3"),
        ("partitions/p00000-00000001.part", trailer, TRAILER_BYTES, "reads up to 3"),
        ("log-0003/core-00/small-00002.log", 0, 4096, "reads up to 1"),
    ];
    for (name, at, bytes_of_it, newest) in files {
        let directory = directory();
        let path = directory.path().join(name);
        newer(&path, at, bytes_of_it);
        for given in [directory.path(), &path] {
            let answer = inspect(&["verify", text(given)]).expect(1);
            answer.expect_error(&[name, "format 9", newest, "of the version that wrote it"]);
        }
    }
    let directory = directory();
    for copy in 0..4 {
        newer(&directory.path().join("node.meta"), copy * 4096, 4096);
    }
    inspect(&["ls", text(directory.path())]).expect(1).expect_error(&["node.meta", "format 9"]);
}

#[test]
fn damage_to_the_log_is_told_from_a_torn_end() {
    let directory = directory();
    let path = log(directory.path(), 0, "small-00002.log");
    let whole = fs::read(&path).unwrap();
    // The first of two frames: both records are sound, as the bit is in the frame's own header.
    flip(&path, 4096 + 40);
    let found = damage(directory.path());
    assert_eq!((&found[0]["path"], &found[0]["offset"]), (&text(&path).into(), &4096.into()));
    let hash = format!("{:032x}", hash_of(&key(1, 3)));
    assert_eq!(found[0]["first_hash"], hash);
    fs::write(&path, &whole).unwrap();
    // The last frame, to which the next segment chains.
    flip(&path, 8192 + 70);
    let found = damage(directory.path());
    assert!(found[0]["what"].as_str().unwrap().contains("frames are missing"), "{found:?}");
    fs::write(&path, &whole).unwrap();
    // The header: the frames tell which use it is.
    flip(&path, 20);
    let found = damage(directory.path());
    assert!(found[0]["what"].as_str().unwrap().contains("header is damaged; its frames were read"), "{found:?}");
    fs::write(&path, &whole[..20_480]).unwrap();
    assert!(damage(directory.path())[0]["what"].as_str().unwrap().contains("shorter than it was made"));
    fs::remove_file(&path).unwrap();
    assert!(damage(directory.path())[0]["what"].as_str().unwrap().contains("sequence 5, is missing"));
    fs::write(&path, &whole).unwrap();
    // The very last frame of the instance may be torn.
    let newest = log(directory.path(), 0, "small-00003.log");
    flip(&newest, 4096 + 70);
    let listing = inspect(&["ls", text(directory.path())]).expect(0);
    listing.expect_text(&["ends in a torn write"]);
}

#[test]
fn frames_of_a_failed_write_are_left_out() {
    let directory = TempDir::new().unwrap();
    found(directory.path());
    let mut log = LogFile::new(0, 0, 1);
    let of = |n: usize, second| [record(&key(0, n), second, &Says::Value(b"value"))];
    log.frame(&of(0, 10));
    let mut failed = LogFile::new(0, 0, 1);
    failed.frame(&of(0, 10));
    failed.frame(&of(1, 11));
    failed.write(directory.path(), 1);
    // The log went on from the first frame.
    log.next_segment(2);
    log.frame(&of(2, 12));
    log.write(directory.path(), 2);
    inspect(&["verify", text(directory.path())]).expect(0).expect_text(&["2 frames, 2 records"]);
    let keys = inspect(&["dump", "--json", text(directory.path())]).expect(0).lines();
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().all(|found| found["key"].as_str().unwrap().as_bytes() != key(0, 1)));
}

#[test]
fn a_segment_of_another_core_is_refused() {
    let directory = directory();
    let from = log(directory.path(), 1, "small-00001.log");
    fs::copy(from, log(directory.path(), 0, "small-00009.log")).unwrap();
    let found = damage(directory.path());
    assert!(found[0]["what"].as_str().unwrap().contains("a segment of core 1"), "{found:?}");
}

#[test]
fn a_footer_that_tells_another_story_is_found() {
    // Both the footer and the record are sound by their checksums.
    let directory = TempDir::new().unwrap();
    found(directory.path());
    let mut file = PartFile::new(2, 1);
    file.run(1, 0, None, &[record(&key(2, 0), 10, &Says::Value(b"as the footer says"))]);
    let other = record(&key(2, 0), 11, &Says::Value(b"as the record says"));
    file.bytes[4096..4096 + other.len()].copy_from_slice(&other);
    file.write(directory.path());
    let found = damage(directory.path());
    assert!(found[0]["what"].as_str().unwrap().contains("another dot"), "{found:?}");
}
