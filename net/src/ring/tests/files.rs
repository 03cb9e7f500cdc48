//! The ring's file operations, on a temporary file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use super::*;

fn temporary_file(name: &str) -> (File, std::path::PathBuf) {
    let path = std::env::temp_dir().join(format!("annulus-ring-{}-{name}", std::process::id()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let direct = options.clone().custom_flags(libc::O_DIRECT).open(&path);
    // Some file systems have no direct I/O.
    let file = match direct {
        Err(error) if error.kind() == ErrorKind::InvalidInput => options.open(&path).unwrap(),
        other => other.unwrap(),
    };
    (file, path)
}

#[test]
fn files_are_written_and_read() {
    let mut bench = Bench::new(&RingLimits::PRODUCTION);
    let (file, path) = temporary_file("direct");
    bench.ring.write_file(file.as_raw_fd(), 7, 4096, Block::new(8192, b'x'));
    assert_eq!(bench.ring.file_operations(), 1);
    bench.until("written", |bench| !bench.files.is_empty());
    let (operation, buffer, result) = bench.files.remove(0);
    assert_eq!((operation, buffer.bytes().len(), result.unwrap()), (7, 8192, 8192));
    for (operation, offset) in [(1, 0), (2, 4096), (3, 8192), (4, 12288)] {
        bench.ring.read_file(file.as_raw_fd(), operation, offset, Block::new(8192, b'-'));
    }
    bench.until("read", |bench| bench.files.len() == 4);
    assert_eq!(bench.ring.file_operations(), 0);
    bench.files.sort_by_key(|(operation, ..)| *operation);
    let read: Vec<(usize, u8, u8)> = bench
        .files
        .drain(..)
        .map(|(_, buffer, result)| (result.unwrap(), buffer.bytes()[0], buffer.bytes()[4096]))
        .collect();
    assert_eq!((read[0], read[1]), ((8192, 0, b'x'), (8192, b'x', b'x')));
    // A short read says how much it read; what lies behind in the buffer is anything.
    assert_eq!((read[2].0, read[2].1, read[3].0), (4096, b'x', 0));
    let read_only = File::open(&path).unwrap();
    bench.ring.write_file(read_only.as_raw_fd(), 9, 0, Block::new(4096, b'y'));
    bench.until("refused", |bench| !bench.files.is_empty());
    let (operation, _, result) = bench.files.remove(0);
    assert_eq!((operation, result.unwrap_err().raw_os_error()), (9, Some(libc::EBADF)));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_ring_may_go_with_everything_in_flight() {
    let mut bench = Bench::new(&RingLimits::PRODUCTION);
    let (file, path) = temporary_file("dropped");
    let (_client, id) = bench.connect_narrow();
    bench.ring.send(id, pattern(8 << 20, 0));
    bench.turn(Wait::No);
    bench.ring.write_file(file.as_raw_fd(), 1, 0, Block::new(1 << 20, b'x'));
    drop(bench);
    std::fs::remove_file(path).unwrap();
}
