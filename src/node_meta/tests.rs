//! Every interrupted save, every single damage, every kind of wrong file.

use std::fs;

use super::block::{BLOCK_BYTES, COPIES, FILE_BYTES, choose, encode, encode_with_version};
use super::*;

const SECTOR_BYTES: usize = 512;

fn meta(clock: u64) -> NodeMeta {
    NodeMeta {
        cluster_id: [7; 16],
        hash_key: [9; 16],
        node_id: 0xabcdef,
        incarnation: 3,
        layout: 2,
        cores: 2,
        partitions: 1024,
        clean: false,
        clock,
        durability: Some(Durability::Interval),
        cluster: ClusterMeta {
            generation: 5,
            copies: 3,
            founding: 0,
            is_refilling: false,
            has_others: true,
            name_hash: *b"cluster!",
        },
    }
}

fn image(clock: u64, generation: u64) -> Vec<u8> {
    encode(&meta(clock), generation).repeat(COPIES)
}

fn clock_of(bytes: &[u8]) -> u64 {
    choose(bytes).unwrap().meta.clock
}

#[test]
fn round_trip() {
    for durability in [None, Some(Durability::Sync), Some(Durability::Interval), Some(Durability::Memory)] {
        for clean in [false, true] {
            let cluster = ClusterMeta { founding: 7, is_refilling: clean, has_others: !clean, ..meta(1).cluster };
            let meta = NodeMeta { clean, durability, cluster, ..meta(u64::MAX) };
            let chosen = choose(&encode(&meta, 5).repeat(COPIES)).unwrap();
            assert_eq!((chosen.meta, chosen.generation_seen), (meta, 5));
        }
    }
}

/// A save cut anywhere: within a half, any subset of that half's sectors may have reached the disk.
#[test]
fn an_interrupted_save_leaves_the_old_or_the_new() {
    let (old, new) = (image(1, 10), image(2, 11));
    let sectors = BLOCK_BYTES / SECTOR_BYTES;
    // The content differs in the first sector of a block only, but torn sectors are tried in every order of arrival.
    for half in 0..2 {
        for first in 0..=sectors {
            for second in 0..=sectors {
                for reversed in [false, true] {
                    let mut bytes = if half == 0 {
                        old.clone()
                    } else {
                        [&new[..2 * BLOCK_BYTES], &old[2 * BLOCK_BYTES..]].concat()
                    };
                    for (copy, count) in [(2 * half, first), (2 * half + 1, second)] {
                        let start = copy * BLOCK_BYTES;
                        let length = count * SECTOR_BYTES;
                        let range = if reversed {
                            start + BLOCK_BYTES - length..start + BLOCK_BYTES
                        } else {
                            start..start + length
                        };
                        bytes[range.clone()].copy_from_slice(&new[range]);
                    }
                    let clock = clock_of(&bytes);
                    match half {
                        0 => assert!(clock == 1 || clock == 2),
                        _ => assert_eq!(clock, 2, "the first half was synced"),
                    }
                }
            }
        }
    }
}

/// Copies being written may hold anything at all.
#[test]
fn garbage_in_the_half_being_written_is_survived() {
    for half in 0..2 {
        for garbage in [0x00, 0xff, 0x5a] {
            let mut bytes = if half == 0 { image(1, 10) } else { [image(2, 11), image(1, 10)].concat()[..].to_vec() };
            if half == 1 {
                bytes = [&image(2, 11)[..2 * BLOCK_BYTES], &image(1, 10)[2 * BLOCK_BYTES..]].concat();
            }
            bytes[2 * half * BLOCK_BYTES..][..2 * BLOCK_BYTES].fill(garbage);
            assert_eq!(clock_of(&bytes), if half == 0 { 1 } else { 2 });
        }
    }
}

#[test]
fn one_flipped_bit_anywhere_is_survived() {
    let good = image(1, 10);
    for byte in (0..128).chain((128..FILE_BYTES).step_by(61)) {
        for bit in [0, 3, 7] {
            let mut bytes = good.clone();
            bytes[byte] ^= 1 << bit;
            assert_eq!(clock_of(&bytes), 1, "byte {byte} bit {bit}");
        }
    }
}

#[test]
fn a_flipped_bit_between_the_halves_is_survived_or_named() {
    let between = [&image(2, 11)[..2 * BLOCK_BYTES], &image(1, 10)[2 * BLOCK_BYTES..]].concat();
    for copy in 0..COPIES {
        let mut bytes = between.clone();
        bytes[copy * BLOCK_BYTES + 30] ^= 4;
        // A copy of the newer half lost: the older pair counts again, which no returned save contradicts.
        assert_eq!(clock_of(&bytes), if copy < 2 { 1 } else { 2 });
    }
    let mut bytes = between;
    bytes[30] ^= 4;
    bytes[2 * BLOCK_BYTES + 30] ^= 4;
    assert!(matches!(choose(&bytes), Err(MetaError::Damaged { valid: 2 })));
}

#[test]
fn a_single_newer_copy_is_ignored_but_its_number_is_not_used_again() {
    let mut bytes = image(1, 10);
    bytes[..BLOCK_BYTES].copy_from_slice(&image(2, 11)[..BLOCK_BYTES]);
    let chosen = choose(&bytes).unwrap();
    assert_eq!((chosen.meta.clock, chosen.generation_seen), (1, 11));
}

#[test]
fn wrong_files_are_named() {
    assert!(matches!(choose(&vec![0; FILE_BYTES]), Err(MetaError::Foreign)));
    assert!(matches!(choose(&vec![b'x'; FILE_BYTES]), Err(MetaError::Foreign)));
    for length in [0, 1, BLOCK_BYTES, FILE_BYTES - 1, FILE_BYTES + 1] {
        let mut bytes = image(1, 10);
        bytes.resize(length, 0);
        assert!(matches!(choose(&bytes), Err(MetaError::WrongSize { .. })), "{length}");
    }
    let newer = encode_with_version(&meta(1), 10, FORMAT_VERSION + 1).repeat(COPIES);
    assert!(matches!(choose(&newer), Err(MetaError::NewerFormat { found }) if found == FORMAT_VERSION + 1));
    let mut damaged = image(1, 10);
    for copy in 0..3 {
        damaged[copy * BLOCK_BYTES + 100] ^= 1;
    }
    assert!(matches!(choose(&damaged), Err(MetaError::Damaged { valid: 1 })));
    let senseless = encode_with_version(&meta(1), 10, 0).repeat(COPIES);
    assert!(matches!(choose(&senseless), Err(MetaError::Damaged { .. })));
}

/// Three starts in a row, each of them killed while it mends the file or saves to it: what a returned save wrote is never
/// lost, and the file never stops being readable.
#[test]
fn crash_after_crash_is_survived() {
    // Stages of one start: mending, first half, second half; each write may be lost, torn or done in either copy.
    fn write(bytes: &mut [u8], block: &[u8], copies: &[usize], outcome: [u8; 2]) {
        for (copy, outcome) in copies.iter().zip(outcome) {
            let target = &mut bytes[copy * BLOCK_BYTES..][..BLOCK_BYTES];
            match outcome {
                0 => {}
                1 => target[..SECTOR_BYTES].fill(0xee),
                _ => target.copy_from_slice(block),
            }
        }
    }
    fn explore(bytes: &[u8], least: u64, starts: u32) {
        let chosen = choose(bytes).expect("always readable");
        assert!(chosen.meta.clock >= least);
        if starts == 0 {
            return;
        }
        let next = encode(&meta(chosen.meta.clock + 1), chosen.generation_seen + 1);
        let steps: [(&[u8], &[usize]); 3] = [(&chosen.block, &chosen.stale), (&next, &[0, 1]), (&next, &[2, 3])];
        let mut synced = bytes.to_vec();
        for (block, copies) in steps {
            for outcome in 0..9u8 {
                let mut torn = synced.clone();
                write(&mut torn, block, copies, [outcome % 3, outcome / 3]);
                explore(&torn, chosen.meta.clock, starts - 1);
            }
            write(&mut synced, block, copies, [2, 2]);
        }
        explore(&synced, chosen.meta.clock + 1, starts - 1);
    }
    explore(&image(1, 10), 1, 3);
}

#[test]
fn found_save_and_open_again() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(read(directory.path()).unwrap(), None);
    let found = || NodeMeta::found(2, 1024);
    let (mut file, mut meta, founded) = MetaFile::open_or_found(directory.path(), found).unwrap();
    assert!(founded && meta.clean && meta.durability.is_none());
    assert_ne!(meta.hash_key, [0; 16]);
    for clock in 1..5 {
        meta.take_incarnation().unwrap();
        meta.clock = clock;
        file.save(&meta).unwrap();
        assert_eq!(read(directory.path()).unwrap().as_ref(), Some(&meta));
    }
    drop(file);
    let (mut file, again, founded) = MetaFile::open_or_found(directory.path(), || panic!("a node is here")).unwrap();
    assert!(!founded);
    assert_eq!((again.incarnation, &again), (5, &meta));
    // A lone newer copy, as an interrupted save leaves it, does not confuse later saves.
    let path = directory.path().join(FILE_NAME);
    let mut bytes = fs::read(&path).unwrap();
    bytes[..BLOCK_BYTES].copy_from_slice(&image(77, 6)[..BLOCK_BYTES]);
    fs::write(&path, bytes).unwrap();
    meta.clock = 9;
    file.save(&meta).unwrap();
    // Opening mends what one copy lost.
    let mut bytes = fs::read(&path).unwrap();
    bytes[3 * BLOCK_BYTES + 40] ^= 1;
    fs::write(&path, bytes).unwrap();
    drop(MetaFile::open_or_found(directory.path(), || panic!("a node is here")).unwrap());
    assert_eq!(choose(&fs::read(&path).unwrap()).unwrap().stale, [0usize; 0]);
    assert_eq!(read(directory.path()).unwrap(), Some(meta));
}

#[test]
fn an_interrupted_founding_is_begun_again() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("node.meta.founding"), b"half").unwrap();
    let (_, _, founded) = MetaFile::open_or_found(directory.path(), || NodeMeta::found(1, 16)).unwrap();
    assert!(founded);
    assert!(!directory.path().join("node.meta.founding").exists());
}

#[test]
fn logs_without_meta_are_not_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("log-0001")).unwrap();
    assert!(matches!(read(directory.path()), Err(MetaError::Missing(_))));
    let refused = MetaFile::open_or_found(directory.path(), || NodeMeta::found(1, 16)).unwrap_err();
    assert!(refused.to_string().contains("holds logs but no node.meta"));
    assert!(!directory.path().join(FILE_NAME).exists());
}

/// What the first version of this program has written, in the bytes that it wrote.
#[test]
fn the_first_format_is_read_and_was_never_in_a_cluster() {
    let bytes = include_bytes!("../../tests/fixtures/format-1/data/node.meta");
    let chosen = choose(bytes).unwrap();
    assert_eq!((chosen.meta.cluster, chosen.meta.layout), (ClusterMeta::default(), 3));
    assert_eq!(u32::from_le_bytes(bytes[12..16].try_into().unwrap()), 1);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(FILE_NAME), bytes).unwrap();
    let (mut file, mut meta, founded) = MetaFile::open_or_found(directory.path(), || panic!("a node is here")).unwrap();
    meta.take_generation();
    file.save(&meta).unwrap();
    let again = read(directory.path()).unwrap().unwrap();
    assert_eq!((founded, again.cluster.generation, again.node_id), (false, 1, chosen.meta.node_id));
    // A first format that says what only the second can say is nobody's.
    assert!(matches!(choose(&encode_with_version(&meta, 10, 1).repeat(COPIES)), Err(MetaError::Damaged { .. })));
}

#[test]
fn an_incarnation_is_above_all_that_are_remembered() {
    let mut meta = meta(1);
    meta.take_incarnation_above(2).unwrap();
    assert_eq!(meta.incarnation, 4, "its own was used, too");
    meta.take_incarnation_above(90).unwrap();
    assert_eq!(meta.incarnation, 91);
    assert!(matches!(meta.take_incarnation_above(u16::MAX), Err(MetaError::IncarnationsUsedUp)));
}

#[test]
fn used_up_incarnations_make_a_new_node() {
    let mut meta = NodeMeta { incarnation: u16::MAX, ..meta(1) };
    meta.take_incarnation().unwrap();
    assert_eq!(meta.incarnation, 1);
    assert!(meta.node_id != 0xabcdef && meta.node_id > 0 && meta.node_id >> NODE_ID_BITS == 0);
}

#[test]
fn the_debug_form_keeps_the_hash_key() {
    assert!(!format!("{:?}", meta(1)).contains("hash_key"));
}
