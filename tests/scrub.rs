//! The scrub of a real node: rot in a file under it is found and named while it runs.

mod support;

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use support::directory::{Directory, files_below};
use support::node::{Node, Options, binary};
use support::wait_until;

const KEYS: usize = 400;

fn ask(node: &Node, words: &str) -> Value {
    let mut command = Command::new(binary());
    command.env_remove("ANNULUS_PASSWORD");
    command.args(["admin", "--json", "--endpoint", &format!("127.0.0.1:{}", node.port)]);
    let output = command.args(words.split_whitespace()).output().expect("the binary can be started");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Reads everything, and gives the core's figures.
fn scrub(node: &Node) -> Value {
    let cycles = ask(node, "scrub")[0]["cycles"].as_u64().expect("a number");
    let begun = ask(node, "scrub now");
    assert_eq!(begun[0]["hurried"], true, "{begun}");
    wait_until("the scrub ends", || {
        let figures = ask(node, "scrub");
        figures[0]["cycles"].as_u64().expect("a number") > cycles && figures[0]["hurried"] == false
    });
    ask(node, "scrub")[0].clone()
}

#[test]
fn rot_is_named_while_the_node_runs() {
    let directory = Directory::new("scrub");
    let options = Options::new(directory.path()).cores(1).argument("--hot-log-bytes").argument("32MiB");
    let mut node = options.start();
    let mut client = node.client();
    let value = vec![b'v'; 2000];
    (0..KEYS).for_each(|number| client.command(&[b"SET", format!("key-{number}").as_bytes(), &value]).expect_ok());
    // What was being written is a sealed segment after a start.
    drop(client);
    node.stop();
    let node = options.start();
    let figures = scrub(&node);
    assert_eq!(figures["damage"], 0, "{figures}");
    assert!(figures["bytes"].as_u64().expect("a number") > (KEYS * value.len()) as u64, "{figures}");
    assert_eq!(ask(&node, "scrub places"), Value::Array(Vec::new()));

    let (path, at) = record_below(directory.path().to_path_buf());
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a file of the node");
    file.write_all_at(b"V", at).expect("it can be written");
    let figures = scrub(&node);
    assert_eq!(figures["damage"], 1, "{figures}");
    let places = ask(&node, "scrub places");
    let place = &places[0];
    assert!(path.ends_with(place["file"].as_str().expect("a path")), "{place}");
    assert_eq!((place["keys"].as_u64(), place["what"].as_str()), (Some(1), Some("a frame")), "{place}");
    let (offset, bytes) = (place["offset"].as_u64().expect("a number"), place["bytes"].as_u64().expect("a number"));
    assert!((offset..offset + bytes).contains(&at), "{place} {at}");
    wait_until("it is logged", || node.said().contains("damage on the disk"));
}

/// Where the middle of some value lies.
fn record_below(directory: PathBuf) -> (PathBuf, u64) {
    let marks = [b'v'; 500];
    let found = files_below(&directory).into_iter().find_map(|path| {
        let bytes = std::fs::read(&path).expect("a file can be read");
        let at = bytes.chunks(500).position(|chunk| chunk == marks)?;
        Some((path, at as u64 * 500))
    });
    found.expect("the values are on the disk")
}
