//! Every failure names its cause and its remedy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use annulus_net::probe::ProbeError;

use super::storage::{Space, disk_space};
use super::system::{cpus, descriptors, io_uring, locked_memory};
use super::*;
use crate::config::{Environment, Sources};
use crate::node_meta::{MetaFile, NodeMeta};

const GIB: u64 = 1 << 30;

fn config(data: &Path, more: &str) -> Config {
    let environment = Environment::detect().unwrap();
    let text = format!("data = \"{}\"\nhot-log-bytes = \"32mb\"\ncores = 1\n{more}", data.display());
    Config::build(&Sources::parse("a.toml", &text).unwrap(), &environment).unwrap()
}

fn finding<'a>(report: &'a Report, name: &str) -> &'a Finding {
    report.findings.iter().find(|finding| finding.name == name).unwrap()
}

#[test]
fn a_good_place_passes_and_nothing_is_left() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("a/b");
    let report = run(&config(&data, "listen = \"127.0.0.1:27379\""), Ports::Probe);
    for name in ["kernel", "lock", "format", "port", "cores"] {
        assert_eq!(finding(&report, name).verdict, Verdict::Ok, "{report}");
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    let text = report.to_string();
    assert!(text.contains("ok    kernel"), "{text}");
    assert!(text.contains("127.0.0.1:27379 (clients)") && text.contains("127.0.0.1:29379 (http)"), "{text}");
    let serve = run(&config(&data, ""), Ports::Skip);
    assert!(serve.findings.iter().all(|finding| finding.name != "port" && finding.name != "lock"));
}

#[test]
fn a_node_of_a_cluster_needs_its_secret_and_its_ports() {
    let root = tempfile::tempdir().unwrap();
    let secret = root.path().join("secret");
    let more = format!("listen = \"127.0.0.1:27679\"\ncluster = \"c\"\nsecret-file = \"{}\"", secret.display());
    let config = config(&root.path().join("data"), &more);
    let report = run(&config, Ports::Probe);
    let found = finding(&report, "secret");
    assert!(found.verdict == Verdict::Fail && found.remedy.contains("openssl rand"), "{report}");
    assert!(report.to_string().contains("127.0.0.1:37679 (peers) is free"), "{report}");
    assert!(report.to_string().contains("127.0.0.1:37679 (peers, UDP) is free"), "{report}");
    fs::write(&secret, "0123456789abcdef").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let _taken = UdpSocket::bind("127.0.0.1:37679").unwrap();
    let report = run(&config, Ports::Probe);
    assert_eq!(finding(&report, "secret").verdict, Verdict::Warn);
    assert!(report.failed() && report.to_string().contains("(peers, UDP) is taken"), "{report}");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(finding(&run(&config, Ports::Skip), "secret").verdict, Verdict::Ok);
}

#[test]
fn a_taken_directory_names_the_holder() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let lock = DataLock::acquire(&data).unwrap();
    let second = DataLock::acquire(&data).unwrap_err();
    assert!(matches!(second, LockError::Held { holder: Some(holder), .. } if holder == std::process::id()));
    let report = run(&config(&data, "listen = \"127.0.0.1:27479\""), Ports::Probe);
    let found = finding(&report, "lock");
    assert_eq!(found.verdict, Verdict::Fail);
    assert!(found.text.ends_with(&format!("is in use by process {}", std::process::id())), "{}", found.text);
    assert!(report.failed() && report.to_string().contains("cannot run here"));
    drop(lock);
    // An empty or senseless file of a process that is gone is no obstacle.
    for left_behind in ["", "x", "4294967295"] {
        fs::write(data.join("lock"), left_behind).unwrap();
        DataLock::probe(&data).unwrap();
        drop(DataLock::acquire(&data).unwrap());
    }
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_taken_port_is_named() {
    let root = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:27580").unwrap();
    let report = run(&config(root.path(), "listen = \"127.0.0.1:27579\""), Ports::Probe);
    let found = report.findings.iter().find(|finding| finding.verdict == Verdict::Fail).unwrap();
    assert_eq!(found.text, "127.0.0.1:27580 (core 0) is taken by another process");
    assert!(found.remedy.contains("ss -ltnp 'sport = :27580'"));
    drop(taken);
    let elsewhere = port("clients", "192.0.2.1:7379".parse().unwrap(), |address| TcpListener::bind(address).map(drop));
    assert!(elsewhere.text.contains("no address of this machine"), "{elsewhere:?}");
}

#[test]
fn a_wrong_directory_is_named() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "x").unwrap();
    let report = run(&config(&file.join("data"), ""), Ports::Skip);
    assert_eq!(report.verdict(), Verdict::Fail, "{report}");
    // Direct I/O is not for every file system; /proc can be written by nobody.
    let report = run(&config(Path::new("/proc/annulus"), ""), Ports::Skip);
    let found = finding(&report, "data directory");
    assert!(found.verdict == Verdict::Fail && found.text.contains("/proc cannot be written"), "{report}");
}

#[test]
fn newer_and_damaged_formats_are_named() {
    let root = tempfile::tempdir().unwrap();
    drop(MetaFile::open_or_found(root.path(), || NodeMeta::found(1, 1024)).unwrap());
    let report = run(&config(root.path(), ""), Ports::Skip);
    assert!(finding(&report, "format").text.contains("with 1024 partitions, closed cleanly"), "{report}");
    let path = root.path().join(node_meta_name());
    let mut bytes = fs::read(&path).unwrap();
    bytes.chunks_mut(4096).for_each(|copy| copy[100] ^= 1);
    fs::write(&path, bytes).unwrap();
    let report = run(&config(root.path(), ""), Ports::Skip);
    let found = finding(&report, "format");
    assert!(found.verdict == Verdict::Fail && found.text.contains("damaged"), "{report}");
}

fn node_meta_name() -> &'static str {
    crate::node_meta::FILE_NAME
}

#[test]
fn every_refusal_of_rings_has_its_remedy() {
    let cases = [
        (ProbeError::Seccomp, "seccomp", "--security-opt seccomp="),
        (ProbeError::Sysctl(2), "kernel.io_uring_disabled is 2", "sysctl -w kernel.io_uring_disabled=0"),
        (ProbeError::Sysctl(1), "kernel.io_uring_disabled is 1", "kernel.io_uring_group"),
        (ProbeError::KernelTooOld("5.15.0".to_owned()), "5.15.0 is older", "6.1"),
        (ProbeError::NotBuilt, "without io_uring", "CONFIG_IO_URING"),
        (ProbeError::LockedMemory { wanted: 8, built: 3 }, "3 of 8 rings", "LimitMEMLOCK=infinity"),
        (ProbeError::Descriptors, "descriptor limit", "ulimit -n"),
        (ProbeError::Operation("MSG_RING"), "MSG_RING", "6.1"),
        (ProbeError::Other(13), "Permission denied", "SELinux"),
    ];
    for (error, cause, remedy) in cases {
        let found = io_uring(Err(error), 2);
        assert_eq!(found.verdict, Verdict::Fail);
        assert!(found.text.contains(cause) && found.remedy.contains(remedy), "{found:?}");
    }
}

#[test]
fn limits() {
    assert_eq!(locked_memory(None).verdict, Verdict::Ok);
    assert_eq!(locked_memory(Some(8 << 20)).verdict, Verdict::Ok);
    let small = locked_memory(Some(64 * 1024));
    assert!(small.verdict == Verdict::Fail && small.text.contains("64 KiB") && small.remedy.contains("ulimit -l"));
    let config = config(Path::new("/tmp"), "maxclients = 1000");
    assert_eq!(descriptors(&config, 1576 + 2 * 1024).verdict, Verdict::Ok);
    let few = descriptors(&config, 1024 + 2 * 1024);
    assert!(few.verdict == Verdict::Warn && few.text.contains("448 of 1000") && few.remedy.contains("3624"), "{few:?}");
    assert_eq!(descriptors(&config, 256).verdict, Verdict::Fail);
    assert_eq!(descriptors(&config, u64::MAX).verdict, Verdict::Ok);
    let elsewhere = cpus(&config, Ok(Environment { affinity: vec![77], memory_bytes: u64::MAX }));
    assert!(elsewhere.verdict == Verdict::Fail && elsewhere.text.contains("only 77,"), "{elsewhere:?}");
    let affinity = config.cores.clone();
    assert_eq!(cpus(&config, Ok(Environment { affinity, memory_bytes: 1 })).verdict, Verdict::Warn);
    assert!(raise_descriptor_limit() > 256);
}

#[test]
fn disk_marks() {
    let verdict = |total_gib: u64, available: u64, needed: u64| {
        disk_space(Space { total: total_gib * GIB, available }, needed).verdict
    };
    assert_eq!(verdict(100, 50 * GIB, 0), Verdict::Ok);
    assert_eq!(verdict(1000, 30 * GIB, 0), Verdict::Ok, "97 % used, but 30 GiB are free");
    assert_eq!(verdict(10, GIB, 0), Verdict::Warn);
    assert_eq!(verdict(10, 0, 0), Verdict::Warn, "what is there must stay readable");
    assert_eq!(verdict(10, GIB / 2, GIB), Verdict::Fail);
    assert_eq!(verdict(0, 0, 0), Verdict::Ok);
}

#[test]
fn an_open_node_is_warned_of() {
    let open = config(Path::new("/tmp"), "listen = \"0.0.0.0:27679\"\ninsecure = true");
    assert_eq!(safety(&open).verdict, Verdict::Warn);
    let closed = config(Path::new("/tmp"), "listen = \"0.0.0.0:27679\"\nrequirepass = \"x\"");
    assert_eq!(safety(&closed).verdict, Verdict::Ok);
}
