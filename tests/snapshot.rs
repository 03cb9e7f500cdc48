//! Snapshots of a running node, and what is made of them: a data directory, or one partition of it.

mod support;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use support::directory::Directory;
use support::node::{Node, Options, binary};
use support::resp::{Client, Reply};

/// Keys that are written before the snapshot: enough for the log to be drained.
const KEYS: usize = 1000;
/// Of the log: small, so that partition files come about.
const LOG: &str = "32MiB";

fn admin(arguments: &[&str]) -> Output {
    Command::new(binary()).arg("admin").args(arguments).env_remove("ANNULUS_PASSWORD").output().expect("it starts")
}

fn said(arguments: &[&str]) -> String {
    let output = admin(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn refused(arguments: &[&str]) -> String {
    let output = admin(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("plain names")
}

fn options(data: &Path) -> Options {
    Options::new(data).argument("--hot-log-bytes").argument(LOG)
}

fn value(number: usize, round: usize) -> Vec<u8> {
    let mut value = format!("{number}/{round}/").into_bytes();
    value.resize(60_000, b'x');
    value
}

fn write(port: u16, round: usize, keys: std::ops::Range<usize>) {
    let mut client = Client::connect(port);
    for number in keys {
        client.command(&[b"SET", format!("key-{number}").as_bytes(), &value(number, round)]).expect_ok();
    }
}

fn snapshot(node: &Node, directory: &Path) -> String {
    said(&["--endpoint", &format!("127.0.0.1:{}", node.port), "snapshot", text(directory)])
}

fn restore(snapshot: &Path, data: &Path) -> String {
    said(&["restore", text(snapshot), "--data", text(data)])
}

/// Every key holds what was written in this round, or in a later one where that is allowed.
fn check(node: &Node, rounds: &[usize]) {
    let mut client = node.client();
    for number in 0..KEYS {
        let found = client.command(&[b"GET", format!("key-{number}").as_bytes()]);
        let allowed = rounds.iter().any(|round| found == Reply::Bulk(value(number, *round)));
        assert!(allowed, "key-{number} holds {:.40}", found.to_string());
    }
}

#[test]
fn a_snapshot_under_load_is_restored() {
    let directory = Directory::new("snapshot");
    let (data, kept, copy) =
        (directory.path().join("data"), directory.path().join("kept"), directory.path().join("copy"));
    let mut node = options(&data).start();
    write(node.port, 0, 0..KEYS);
    let stop = AtomicBool::new(false);
    let port = node.port;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                write(port, 1, 0..KEYS / 2);
            }
        });
        let table = snapshot(&node, &kept);
        stop.store(true, Ordering::Relaxed);
        assert!(table.starts_with("core  partition_files  segments  linked_bytes  copied_bytes"), "{table}");
        assert_eq!(table.lines().count(), 1 + node.cores, "{table}");
    });
    let files = std::fs::read_dir(kept.join("partitions")).expect("a directory").count();
    assert!(files > 0, "partition files are part of what is tested");
    // What comes later is not in it.
    write(node.port, 2, 0..KEYS);
    assert!(restore(&kept, &copy).starts_with("restored "));
    let mut copied = options(&copy).start();
    check(&copied, &[0, 1]);
    check(&node, &[2]);
    copied.client().command(&[b"SET", b"only-here", b"1"]).expect_ok();
    assert!(node.client().command(&[b"GET", b"only-here"]).is_null());
    copied.stop();
    // Another one, into a directory that is there already but empty, while nothing is written.
    let second = directory.path().join("second");
    std::fs::create_dir(&second).expect("a directory");
    snapshot(&node, &second);
    node.stop();
    let third = directory.path().join("third");
    restore(&second, &third);
    check(&options(&third).start(), &[2]);
}

#[test]
fn one_partition_is_restored() {
    let directory = Directory::new("partition");
    let (data, kept) = (directory.path().join("data"), directory.path().join("kept"));
    let mut node = options(&data).start();
    write(node.port, 0, 0..KEYS);
    snapshot(&node, &kept);
    write(node.port, 1, 0..KEYS);
    node.stop();
    // All its files go; what the log has of it stays.
    let file =
        std::fs::read_dir(data.join("partitions")).expect("a directory").next().expect("a file").expect("an entry");
    let name = file.file_name().into_string().expect("plain names");
    let (prefix, _) = name.split_once('-').expect("a partition file");
    for entry in std::fs::read_dir(data.join("partitions")).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix)) {
            std::fs::remove_file(path).expect("it goes");
        }
    }
    let partition: u16 = prefix[1..].parse().expect("a number");
    let arguments = ["restore", text(&kept), "--data", text(&data), "--partition", &partition.to_string()];
    let told = said(&arguments);
    assert!(told.contains(&format!("of partition {partition}")), "{told}");
    let mut node = options(&data).start();
    assert!(!node.said().contains("damaged"), "{}", node.said());
    check(&node, &[0, 1]);
    write(node.port, 2, 0..KEYS);
    node.stop();
    // Once more, on top of what is there: the newer writes win.
    said(&arguments);
    let node = options(&data).start();
    assert!(!node.said().contains("damaged"), "{}", node.said());
    check(&node, &[2]);
    let held = refused(&arguments);
    assert!(held.contains("is in use by process"), "{held}");
}

#[test]
fn what_cannot_be_is_refused() {
    let directory = Directory::new("refused");
    let (data, kept, full) =
        (directory.path().join("data"), directory.path().join("kept"), directory.path().join("full"));
    let mut node = Options::new(&data).start();
    write(node.port, 0, 0..10);
    std::fs::create_dir(&full).expect("a directory");
    std::fs::write(full.join("a file"), "x").expect("a file");
    let endpoint = format!("127.0.0.1:{}", node.port);
    let error = refused(&["--endpoint", &endpoint, "snapshot", text(&full)]);
    assert!(error.contains("the directory is not empty"), "{error}");
    let error = refused(&["--endpoint", &endpoint, "snapshot", "relative/path"]);
    assert!(error.contains("from the root on"), "{error}");
    // What failed does not stand in the way of the next.
    snapshot(&node, &kept);
    let error = refused(&["--endpoint", &endpoint, "snapshot", text(&kept)]);
    assert!(error.contains("the directory is not empty"), "{error}");
    node.stop();

    let (_, told) = Options::new(&kept).start_refused();
    assert!(told.contains("is a snapshot"), "{told}");
    let copy = directory.path().join("copy");
    let error = refused(&["restore", text(&full), "--data", text(&copy)]);
    assert!(error.contains("this is no complete snapshot: node.meta is not there"), "{error}");
    let error = refused(&["restore", text(&kept), "--data", text(&full)]);
    assert!(error.contains("is not empty"), "{error}");
    let manifest = kept.join("core-00.manifest");
    let bytes = std::fs::read(&manifest).expect("a manifest");
    std::fs::write(&manifest, &bytes[..bytes.len() - 3]).expect("it is written");
    let error = refused(&["restore", text(&kept), "--data", text(&copy)]);
    assert!(error.contains("the manifest is damaged"), "{error}");
    std::fs::remove_file(&manifest).expect("it goes");
    let error = refused(&["restore", text(&kept), "--data", text(&copy)]);
    assert!(error.contains("core-00.manifest is not there"), "{error}");
    std::fs::write(&manifest, &bytes).expect("it is written");
    assert!(!copy.exists(), "nothing was made");
    restore(&kept, &copy);

    let mut memory = Options::new(&directory.path().join("memory")).durability("memory").start();
    let endpoint = format!("127.0.0.1:{}", memory.port);
    let error = refused(&["--endpoint", &endpoint, "snapshot", text(&directory.path().join("none"))]);
    assert!(error.contains("memory durability"), "{error}");
    memory.stop();
}
