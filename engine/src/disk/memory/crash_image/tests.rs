//! Each rule of durability on a recording of a few changes.

use super::super::block_on;
use super::*;
use crate::buffer::AlignedBuffer;
use crate::disk::{Disk, File, OpenMode, OperationId};

fn block(fill: u8) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::default();
    buffer.resize_zeroed(ALIGNMENT);
    buffer.as_mut_slice().fill(fill);
    buffer
}

fn image(replay: &Replay<'_>, kind: ImageKind, subject: usize, sectors: usize) -> MemoryDisk {
    replay.build(&Recipe { kind, subject, sectors, others: 0, keeps_length: false }, 1).disk
}

fn everything(replay: &Replay<'_>) -> MemoryDisk {
    image(replay, ImageKind::Everything, 0, 0)
}

fn durable(replay: &Replay<'_>) -> MemoryDisk {
    image(replay, ImageKind::OnlyDurable, 0, 0)
}

/// A file of one block of `fill`, durable.
fn prepared(disk: &MemoryDisk, path: &str, fill: u8) {
    let file = block_on(disk.open(path, OpenMode::Prepare)).unwrap();
    block_on(file.write_at(0, block(fill), 0)).unwrap();
    block_on(file.sync()).unwrap();
    block_on(disk.sync_directory(directory_of(path))).unwrap();
}

#[test]
fn a_log_write_is_durable_when_it_has_ended() {
    let disk = MemoryDisk::new(1);
    prepared(&disk, "d/log", 1);
    disk.record();
    let file = block_on(disk.open("d/log", OpenMode::Log)).unwrap();
    file.start_write(OperationId(0), 0, block(2), 0);
    assert!(disk.poll().is_some());
    let recording = disk.take_recording();
    let mut replay = Replay::new(&recording);
    assert_eq!(everything(&replay).contents("d/log")[0], 1);
    assert!(replay.advance());
    assert_eq!((durable(&replay).contents("d/log")[0], everything(&replay).contents("d/log")[0]), (1, 2));
    assert!(replay.advance());
    assert_eq!(durable(&replay).contents("d/log")[0], 2);
    assert!(!replay.advance());
}

#[test]
fn sectors_that_a_torn_write_did_not_reach_hold_what_was_there() {
    let disk = MemoryDisk::new(1);
    prepared(&disk, "d/log", 1);
    disk.record();
    block_on(disk.open("d/log", OpenMode::Log)).unwrap().start_write(OperationId(0), 0, block(2), 0);
    let recording = disk.take_recording();
    let replay = Replay::new(&recording).to_end();
    let first = image(&replay, ImageKind::FirstSectors, 0, 3).contents("d/log");
    let last = image(&replay, ImageKind::LastSectors, 0, 3).contents("d/log");
    assert_eq!((first[3 * 512 - 1], first[3 * 512]), (2, 1));
    assert_eq!((last[5 * 512 - 1], last[5 * 512]), (1, 2));
    let mut number = 0;
    let recipes = replay.recipes(100, &mut |below| {
        number += 1;
        number % below
    });
    let torn = recipes.iter().filter(|recipe| recipe.sectors > 0);
    assert!(torn.clone().all(|recipe| replay.build(recipe, 1).shows_old_bytes));
    assert_eq!((recipes.len(), torn.count()), (8, 6), "one, four and seven of eight sectors, from either end");
}

#[test]
fn names_and_contents_are_lost_and_kept_apart() {
    let disk = MemoryDisk::new(1);
    prepared(&disk, "d/old", 1);
    disk.record();
    let file = block_on(disk.open("d/new", OpenMode::Prepare)).unwrap();
    block_on(file.fill_zeros(8192)).unwrap();
    block_on(disk.remove("d/old")).unwrap();
    let recording = disk.take_recording();
    let replay = Replay::new(&recording).to_end();
    assert_eq!(durable(&replay).paths(), ["d/old"]);
    assert_eq!(everything(&replay).paths(), ["d/new"]);
    // Changes 0 to 2: the name, the zeros, the removal.
    let name_alone = image(&replay, ImageKind::KeptAlone, 0, 0);
    assert_eq!((name_alone.paths(), name_alone.contents("d/new").len()), (vec!["d/new".into(), "d/old".into()], 0));
    assert_eq!(image(&replay, ImageKind::LostAlone, 2, 0).paths(), ["d/new", "d/old"]);
    let lengths = Recipe { kind: ImageKind::LostAlone, subject: 1, sectors: 0, others: 0, keeps_length: true };
    assert_eq!(replay.build(&lengths, 1).disk.contents("d/new"), [0; 8192]);
    let torn = Recipe { kind: ImageKind::FirstSectors, subject: 1, sectors: 2, others: 1, keeps_length: false };
    assert_eq!(replay.build(&torn, 1).disk.contents("d/new").len(), 1024);
    assert_eq!(image(&replay, ImageKind::FirstSectors, 1, 2).paths(), ["d/old"], "the others are lost");
}

#[test]
fn syncs_make_durable_what_they_cover() {
    let disk = MemoryDisk::new(1);
    disk.record();
    let file = block_on(disk.open("d/file", OpenMode::Prepare)).unwrap();
    block_on(file.write_at(0, block(1), 0)).unwrap();
    block_on(file.sync()).unwrap();
    block_on(disk.open("e/other", OpenMode::Prepare)).unwrap();
    block_on(disk.sync_directory("d")).unwrap();
    let recording = disk.take_recording();
    let replay = Replay::new(&recording).to_end();
    assert_eq!(durable(&replay).paths(), ["d/file"], "another directory's names stay outstanding");
    assert_eq!(durable(&replay).contents("d/file")[0], 1);
}

#[test]
fn an_older_write_that_comes_late_does_not_cover_a_newer_durable_one() {
    let disk = MemoryDisk::new(1);
    prepared(&disk, "d/file", 1);
    disk.record();
    block_on(block_on(disk.open("d/file", OpenMode::Prepare)).unwrap().write_at(0, block(2), 0)).unwrap();
    block_on(block_on(disk.open("d/file", OpenMode::Log)).unwrap().write_at(0, block(3), 0)).unwrap();
    let recording = disk.take_recording();
    let replay = Replay::new(&recording).to_end();
    for disk in [durable(&replay), everything(&replay)] {
        assert_eq!(disk.contents("d/file")[0], 3);
    }
}

#[test]
fn after_the_process_ended_only_a_sync_makes_its_writes_durable() {
    let disk = MemoryDisk::new(1);
    prepared(&disk, "d/log", 1);
    disk.record();
    let file = block_on(disk.open("d/log", OpenMode::Log)).unwrap();
    file.start_write(OperationId(0), 0, block(2), 0);
    block_on(file.sync()).unwrap();
    disk.stop();
    assert_eq!((disk.contents("d/log")[0], disk.in_flight()), (2, 0));
    let stopped = disk.recorded();
    block_on(file.sync()).unwrap();
    let recording = disk.take_recording();
    let mut replay = Replay::new(&recording);
    while replay.point() < stopped {
        assert!(replay.advance());
    }
    assert_eq!(durable(&replay).contents("d/log")[0], 1, "the first sync came before the write had ended");
    assert!(replay.advance());
    assert_eq!(durable(&replay).contents("d/log")[0], 2);
}

#[test]
fn cuts_and_second_names_are_changes_like_others() {
    let file = 7;
    let mut recording = Recording::default();
    recording.push(Change::Write { file, offset: 0, bytes: [1; 8192].into(), durable_at_end: false });
    recording.push(Change::Named { path: "d/from".into(), file });
    recording.push(Change::Synced { file });
    recording.push(Change::SyncedDirectory { path: "d".into() });
    recording.push(Change::Cut { file, bytes: 4096 });
    recording.push(Change::Named { path: "d/to".into(), file });
    let replay = Replay::new(&recording).to_end();
    assert_eq!((durable(&replay).paths(), durable(&replay).contents("d/from").len()), (vec!["d/from".into()], 8192));
    let kept = everything(&replay);
    assert_eq!((kept.contents("d/from").len(), kept.contents("d/to").len()), (4096, 4096));
    kept.cut("d/to", 1);
    assert_eq!(kept.contents("d/from").len(), 1, "two names of one file");
    assert_eq!(image(&replay, ImageKind::LostAlone, 4, 0).contents("d/to").len(), 8192);
}
