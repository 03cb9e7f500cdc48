//! What a node refuses to start on: each time it ends with a status other than 0 and names the cause.

mod support;

use std::path::Path;
use std::process::{Command, Output};
use support::directory::Directory;
use support::node::{Options, binary, free_ports};

fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().expect("the binary can be started")
}

fn text(output: &Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

/// Starts `serve` with arguments that must be refused, and looks for words of the reason.
fn refused(arguments: &[&str], reasons: &[&str]) {
    let directory = Directory::new("refused");
    let data = directory.path().join("data");
    let mut all = vec!["serve", "--data", data.to_str().expect("plain names")];
    all.extend_from_slice(arguments);
    let output = run(&all);
    let said = text(&output);
    assert!(!output.status.success(), "{arguments:?} was accepted:\n{said}");
    assert!(output.status.code().is_some(), "{arguments:?} ended by a signal:\n{said}");
    assert!(!said.contains("panicked"), "{arguments:?}: a panic is no explanation:\n{said}");
    for reason in reasons {
        assert!(said.contains(reason), "{arguments:?}: the reason does not name {reason:?}:\n{said}");
    }
}

#[test]
fn wrong_flags() {
    refused(&["--durabilty", "sync"], &["--durabilty"]);
    refused(&["--durability", "maybe"], &["maybe"]);
    refused(&["--cores", "0"], &["cores"]);
    refused(&["--cores", "4096"], &["cores"]);
    refused(&["--cores", "a-b"], &["cores"]);
    refused(&["--listen", "nowhere"], &["nowhere"]);
    refused(&["--listen", "127.0.0.1:99999"], &["99999"]);
    refused(&["--listen", "127.0.0.1:65000"], &["65000"]);
    refused(&["--cache", "lots"], &["lots"]);
    refused(&["--memory-limit", "1"], &["memory-limit"]);
    refused(&["--hot-log-bytes", "1"], &["hot-log-bytes"]);
    refused(&["--config", "no-such-file.toml"], &["no-such-file.toml"]);
}

#[test]
fn wrong_configuration_names_the_line() {
    let directory = Directory::new("refused-config");
    for (content, line, word) in [
        ("cores = 1\ncoers = 2\n", "2", "coers"),
        ("\n\ndurability = \"maybe\"\n", "3", "durability"),
        ("cache = [1]\n", "1", "cache"),
        ("cores = 1\ncores = 2\n", "2", "duplicate"),
        ("cores = \n", "1", ""),
        ("timeout = -1\n", "1", "timeout"),
    ] {
        let file = directory.path().join("annulus.toml");
        std::fs::write(&file, content).expect("a file");
        refused(&["--config", file.to_str().expect("plain names")], &[line, word, "annulus.toml"]);
    }
}

#[test]
fn the_open_world_needs_a_password() {
    let port = free_ports();
    refused(&["--listen", &format!("0.0.0.0:{port}"), "--http", "off"], &["requirepass", "--insecure"]);
}

#[test]
fn a_second_process_on_the_same_directory() {
    let directory = Directory::new("refused-second");
    let mut first = Options::new(directory.path()).start();
    first.client().words("SET a b").expect_ok();
    let (_, said) = Options::new(directory.path()).start_refused();
    let named = said.contains(directory.path().to_str().expect("plain names"));
    assert!(named, "the directory is not named:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    first.expect_alive();
    assert_eq!(first.client().words("GET a").bytes(), b"b");
    first.stop();
    Options::new(directory.path()).start().stop();
}

#[test]
fn a_port_that_is_taken() {
    for offset in [0, 1] {
        let directory = Directory::new("refused-port");
        let mut options = Options::new(directory.path());
        options.port = free_ports();
        let taken = options.port + offset;
        let _listener = std::net::TcpListener::bind(("127.0.0.1", taken)).expect("a free port");
        let (_, said) = options.start_refused();
        assert!(said.contains(&taken.to_string()), "port {taken} is not named:\n{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_data_directory_that_is_a_file_or_read_only() {
    let directory = Directory::new("refused-file");
    let file = directory.path().join("file");
    std::fs::write(&file, b"not a directory").expect("a file");
    let (_, said) = Options::new(&file).start_refused();
    assert!(said.contains("file") && !said.contains("panicked"), "{said}");
    if Path::new("/proc/sys").exists() {
        let (_, said) = Options::new(Path::new("/proc/sys/annulus")).start_refused();
        assert!(said.contains("/proc/sys/annulus") && !said.contains("panicked"), "{said}");
    }
}

/// `node.meta` is four equal blocks of 4 KiB: magic, CRC-32 of what follows it at offset 8, format version at 12.
#[test]
fn a_directory_from_a_newer_format() {
    const BLOCK: usize = 4096;
    let directory = Directory::new("refused-newer");
    let mut node = Options::new(directory.path()).start();
    node.client().words("SET a b").expect_ok();
    node.stop();
    let file = directory.path().join("node.meta");
    let before = std::fs::read(&file).expect("a node has a node.meta");
    let mut newer = before.clone();
    assert_eq!(newer.len() % BLOCK, 0, "node.meta is made of blocks");
    for block in newer.chunks_mut(BLOCK) {
        assert_eq!(crc32fast::hash(&block[12..]).to_le_bytes(), block[8..12], "the layout is the documented one");
        let version = u32::from_le_bytes(block[12..16].try_into().expect("four bytes"));
        block[12..16].copy_from_slice(&(version + 1).to_le_bytes());
        let crc = crc32fast::hash(&block[12..]);
        block[8..12].copy_from_slice(&crc.to_le_bytes());
    }
    std::fs::write(&file, &newer).expect("the file can be written");
    let (_, said) = Options::new(directory.path()).start_refused();
    assert!(said.contains("node.meta") && said.contains("format") && said.contains("newer"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(std::fs::read(&file).expect("still there") == newer, "a directory that is refused is left alone");
    std::fs::write(&file, &before).expect("the file can be written");
    let node = Options::new(directory.path()).start();
    assert_eq!(node.client().words("GET a").bytes(), b"b", "the data was left alone");
}

#[test]
fn the_other_subcommands() {
    let version = run(&["version"]);
    assert!(version.status.success() && text(&version).contains(env!("CARGO_PKG_VERSION")), "{}", text(&version));
    let help = run(&["help"]);
    assert!(help.status.success(), "{}", text(&help));
    let help = run(&["serve", "--help"]);
    let said = text(&help);
    for flag in [
        "--config",
        "--data",
        "--listen",
        "--cores",
        "--durability",
        "--cache",
        "--memory-limit",
        "--hot-log-bytes",
        "--http",
        "--insecure",
    ] {
        assert!(said.contains(flag), "serve --help does not name {flag}:\n{said}");
    }
    let unknown = run(&["sreve"]);
    assert!(!unknown.status.success() && text(&unknown).contains("sreve"), "{}", text(&unknown));
    let directory = Directory::new("check");
    let port = free_ports();
    let check =
        ["check", "--data", directory.path().to_str().expect("plain names"), "--listen", &format!("127.0.0.1:{port}")]
            .map(String::from);
    let check = Command::new(binary()).args(check).output().expect("the binary can be started");
    assert!(check.status.success(), "check on a healthy machine:\n{}", text(&check));
}

#[test]
fn check_names_what_is_taken() {
    let directory = Directory::new("check-taken");
    let mut node = Options::new(directory.path()).start();
    let listen = format!("127.0.0.1:{}", node.port);
    let check = run(&["check", "--data", directory.path().to_str().expect("plain names"), "--listen", &listen]);
    let said = text(&check);
    assert!(!check.status.success(), "{said}");
    assert!(said.contains(&node.port.to_string()), "the port is not named:\n{said}");
    node.expect_alive();
}

#[test]
fn health_and_metrics() {
    use std::io::{Read, Write};
    let directory = Directory::new("health");
    let mut options = Options::new(directory.path());
    options.port = free_ports();
    let http = options.port + 2_000;
    let mut node = options.argument("--http").argument(&format!("127.0.0.1:{http}")).start();
    for (path, word) in [("/health/live", ""), ("/health/ready", ""), ("/metrics", "annulus_")] {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", http)).expect("HTTP is served");
        stream.set_read_timeout(Some(support::PATIENCE)).expect("a positive timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers and closes");
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(answer.contains(word), "{path}: {answer}");
    }
    node.stop();
}
