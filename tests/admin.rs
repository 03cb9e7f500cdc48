//! `annulus admin` against a real node: tables, JSON, and what is said when there is no answer.

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use support::directory::Directory;
use support::node::{Node, Options, binary, free_ports};

/// A node with 100 keys.
fn node(directory: &Directory, password: Option<&str>) -> Node {
    let mut options = Options::new(&directory.path().join("data"));
    if let Some(password) = password {
        let file = directory.path().join("annulus.toml");
        std::fs::write(&file, format!("requirepass = \"{password}\"\n")).expect("a file");
        options = options.argument("--config").argument(file.to_str().expect("plain names"));
    }
    let node = options.start();
    let mut client = node.client();
    if let Some(password) = password {
        client.words(&format!("AUTH {password}")).expect_ok();
    }
    (0..100).for_each(|number| client.words(&format!("SET key-{number} x")).expect_ok());
    node
}

fn admin(port: u16, words: &str) -> Command {
    let mut command = Command::new(binary());
    command.env_remove("ANNULUS_PASSWORD");
    command.args(["admin", "--endpoint", &format!("127.0.0.1:{port}")]).args(words.split_whitespace());
    command
}

fn output(mut command: Command) -> Output {
    command.output().expect("the binary can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// What it prints when it succeeds.
fn said(command: Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    text(&output.stdout)
}

/// What it prints when it fails, with its exit code.
fn failed(command: Command) -> (i32, String) {
    let output = output(command);
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().expect("no signal"), text(&output.stderr))
}

fn json(command: Command) -> Value {
    let said = said(command);
    assert_eq!(said.lines().count(), 1, "{said}");
    serde_json::from_str(&said).expect("JSON")
}

#[test]
fn status_and_partitions() {
    let directory = Directory::new("admin");
    let node = node(&directory, None);
    // A core's own port tells of all cores, too.
    for port in [node.port, node.core_port(0)] {
        let table = said(admin(port, "status"));
        assert!(table.starts_with("node\nnode_id         "), "{table}");
        assert!(table.contains("\ndurability      sync\n") && table.contains("\nphase           ready\n"), "{table}");
        let cores: Vec<&str> = table.split("\n\ncores\n").nth(1).expect("the cores' table").lines().collect();
        assert_eq!(cores.len(), 1 + node.cores, "{table}");
        assert!(cores[0].starts_with("core  keys  index_bytes"), "{table}");
    }
    let status = json(admin(node.port, "--json status"));
    assert_eq!(status["node"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["node"]["cores"], node.cores);
    let cores = status["cores"].as_array().expect("a list");
    let sum = |name: &str| cores.iter().map(|core| core[name].as_u64().expect("a number")).sum::<u64>();
    assert_eq!(sum("keys"), 100);
    assert!(sum("log_bytes") > 0 && sum("index_bytes") > 0);
    assert!(cores.iter().all(|core| core["read_only"] == Value::Bool(false)));
    let partitions = json(admin(node.port, "partitions --json"));
    let partitions = partitions.as_array().expect("a list");
    assert_eq!(partitions.len(), 1024);
    let keys: u64 = partitions.iter().map(|partition| partition["keys"].as_u64().expect("a number")).sum();
    assert_eq!(keys, 100);
    assert!((0..).zip(partitions).all(|(number, partition)| partition["partition"].as_u64() == Some(number)));
    let some = said(admin(node.port, "partitions 9 11"));
    assert_eq!(some.lines().count(), 4, "{some}");
    assert!(some.starts_with("partition  core  keys  tombstones  files"), "{some}");
    assert!(said(admin(node.port, "help")).contains("PARTITIONS [first [last]]"));
}

#[test]
fn a_node_that_is_alone_tells_of_its_cluster() {
    let directory = Directory::new("admin-cluster");
    let node = node(&directory, None);
    let status = json(admin(node.port, "--json status"));
    assert_eq!((&status["node"]["members_active"], &status["node"]["copies"]), (&Value::from(1), &Value::from(1)));
    let members = status["members"].as_array().expect("a list");
    assert_eq!(members.len(), 1);
    assert_eq!(members[0]["node"], status["node"]["node_id"]);
    assert_eq!((&members[0]["role"], &members[0]["clock_skew_ms"]), (&Value::from("active"), &Value::Null));
    let ring = json(admin(node.port, "ring --json"));
    assert_eq!(ring["ring"]["too_few_members"], Value::Bool(true), "{ring}");
    assert_eq!(
        (&ring["nodes"][0]["partitions"], &ring["nodes"][0]["fair_share"]),
        (&Value::from(1024), &Value::from(1024))
    );
    let table = said(admin(node.port, "ring"));
    assert!(
        table.starts_with("ring\nmap_epoch        1\n") && table.contains("\n\nnodes\nnode          up"),
        "{table}"
    );
    let members = said(admin(node.core_port(0), "members"));
    assert!(members.starts_with("node          self  role    up   weight  zone  peers"), "{members}");
    assert_eq!(said(admin(node.port, "hints")), "(none)\n");
    assert_eq!(said(admin(node.port, "sync 0 9 --json")), "[]\n");
    for words in ["join", "leave", "join --node 127.0.0.1:9"] {
        let (code, said) = failed(admin(node.port, words));
        let expected =
            if words.contains("--node") { "no node 127.0.0.1:9 is known here" } else { "belongs to no cluster" };
        assert!(code == 1 && said.contains(expected), "{words}: {said}");
    }
    let (code, said) = failed(admin(node.port, "status --node 7"));
    assert!(code == 2 && said.contains("--node is for join and leave alone"), "{said}");
}

#[test]
fn what_the_node_refuses() {
    let directory = Directory::new("admin-refused");
    let node = node(&directory, None);
    let refused = |words: &str| failed(admin(node.port, words));
    assert_eq!(refused("bogus"), (1, "annulus: ERR unknown subcommand 'bogus'. Try DYN.ADMIN HELP.\n".to_owned()));
    let (code, said) = refused("partitions 0 5000");
    assert!(code == 1 && said.contains("partition 5000 is out of range"), "{said}");
    let (code, said) = refused("status now");
    assert!(code == 1 && said.contains("wrong number of arguments for 'dyn.admin|status'"), "{said}");
    // A password is not wanted and does no harm.
    let mut command = admin(node.port, "status");
    command.env("ANNULUS_PASSWORD", "anything");
    assert!(output(command).status.success());
}

#[test]
fn a_password_from_a_file_or_the_environment() {
    let directory = Directory::new("admin-password");
    let node = node(&directory, Some("open-sesame"));
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    };
    let (right, wrong) = (file("right", "open-sesame\n"), file("wrong", "close-sesame\n"));
    let with = |path: &Path| admin(node.port, &format!("--password-file {} status", path.display()));
    assert!(said(with(&right)).starts_with("node\n"));
    let mut command = admin(node.port, "status");
    command.env("ANNULUS_PASSWORD", "open-sesame");
    assert!(said(command).starts_with("node\n"));
    // The file is what was asked for last.
    let mut command = with(&wrong);
    command.env("ANNULUS_PASSWORD", "open-sesame");
    for (command, reason) in
        [(command, "WRONGPASS"), (with(&wrong), "WRONGPASS"), (admin(node.port, "status"), "NOAUTH")]
    {
        let (code, said) = failed(command);
        assert!(code == 1 && said.contains(reason) && said.contains("--password-file"), "{said}");
        assert!(!said.contains("sesame"), "{said}");
    }
    let (code, said) = failed(with(&directory.path().join("none")));
    assert!(code == 2 && said.contains("none: No such file"), "{said}");
}

#[test]
fn an_endpoint_where_nobody_is_or_somebody_else() {
    let port = free_ports();
    let (code, said) = failed(admin(port, "status"));
    assert!(code == 1 && said.contains(&format!("127.0.0.1:{port} cannot be reached: Connection refused")), "{said}");
    let mut command = Command::new(binary());
    command.args(["admin", "--endpoint", "nowhere", "status"]);
    let (code, said) = failed(command);
    assert!(code == 2 && said.contains("HOST:PORT"), "{said}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let other = std::thread::spawn(move || {
        use std::io::{Read, Write};
        for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 1024]).expect("it asks");
            stream.write_all(answer).expect("it reads");
        }
    });
    let (code, said) = failed(admin(port, "status"));
    assert!(code == 1 && said.contains("does not speak the Redis protocol"), "{said}");
    let (code, said) = failed(admin(port, "status"));
    assert!(code == 1 && said.contains("it closed the connection"), "{said}");
    other.join().expect("it served both");
}
