//! A full disk, a real one: a small ext4 image on a loop device. Writes are refused by name, reads and deletes go on,
//! and what was acknowledged is there after a restart.
//!
//! Needs root and a free loop device; without them the test says so loudly and does nothing, except in CI
//! (`ANNULUS_CI` set), where that is a failure.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::directory::Directory;
use support::node::Options;
use support::resp::Client;

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

fn options(data: &Path) -> Options {
    Options::new(data).cores(1).argument("--hot-log-bytes").argument("32MiB")
}

fn value(number: usize) -> Vec<u8> {
    format!("{number}-").repeat(20_000).into_bytes()
}

/// Writes until the node refuses; gives how many writes it acknowledged, and the refusal.
fn fill(client: &mut Client) -> (usize, String) {
    for number in 0..100_000 {
        let reply = client.command(&[b"SET", format!("key-{number}").as_bytes(), &value(number)]);
        if let Some(error) = reply.error() {
            return (number, error.to_owned());
        }
        reply.expect_ok();
    }
    panic!("{IMAGE_BYTES} bytes never filled up");
}

fn expect_all(client: &mut Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let reply = client.command(&[b"GET", format!("key-{number}").as_bytes()]);
        assert!(!reply.is_null(), "key-{number} was acknowledged and is gone");
        assert!(reply.bytes() == value(number), "key-{number} holds other bytes");
    }
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
    let mut node = options(&data).start();
    let mut client = node.client();
    let (written, refusal) = fill(&mut client);
    eprintln!("refused after {written} writes: {refusal}");
    assert!(written > 50, "refused after {written} writes: {refusal}");
    assert!(refusal.starts_with("MISCONF "), "a full disk is MISCONF, got: {refusal}");
    expect_all(&mut client, 0..written);
    assert_eq!(client.words("DEL key-0").integer(), 1, "deletes have a reserve");
    assert!(client.words("GET key-0").is_null());
    node.expect_alive();
    node.kill();
    let mut node = options(&data).start();
    let mut client = node.client();
    assert!(client.words("GET key-0").is_null(), "the delete was acknowledged");
    expect_all(&mut client, 1..written);
    // Together: each waits for the disk, and this one is a file of another.
    for first in (1..written).step_by(50) {
        let keys: Vec<String> = (first..written.min(first + 50)).map(|number| format!("key-{number}")).collect();
        let deleted = client.words(&format!("DEL {}", keys.join(" "))).integer();
        assert_eq!(usize::try_from(deleted), Ok(keys.len()), "from key-{first} on");
    }
    support::wait_until("deleted space to be used again", || {
        client.command(&[b"SET", b"again", &value(7)]).error().is_none()
    });
    assert!(client.words("GET again").bytes() == value(7));
    node.stop();
}
