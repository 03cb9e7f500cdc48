//! Who may name what: the executor, the ring, `unsafe`, and words that do not belong into the project.

use super::rust::{Masked, has_word};
use super::{Finding, Source};

/// Files that may name the executor; a name that ends in `/` is a directory.
const EXECUTOR: &[&str] = &["src/boot/core.rs", "src/env.rs", "src/env/", "benches/"];
/// Files that may name the ring's crate.
const RING: &[&str] = &["net/src/ring.rs", "net/src/ring/", "net/src/probe.rs", "src/env/", "benches/"];
/// The one test that runs a client which needs an executor of its own.
const TEST_EXECUTOR: &[&str] = &["tests/clients.rs"];

/// Names and the files that may use them in code; comments and texts may say anything.
const RESERVED: &[(&str, &[&str])] = &[
    ("glommio", EXECUTOR),
    ("io_uring", RING),
    ("tokio", TEST_EXECUTOR),
    ("async_std", &[]),
    ("smol", &[]),
    ("monoio", &[]),
    ("pollster", &[]),
    ("LocalExecutor", EXECUTOR),
    ("LocalExecutorBuilder", EXECUTOR),
];

/// Files that may contain `unsafe`; each use stands below a comment with its proof.
const UNSAFE: &[&str] = &[
    "net/src/ring.rs",
    "net/src/ring/",
    "net/src/probe.rs",
    "src/env/disk.rs",
    "src/env/pulse.rs",
    "engine/src/prefetch.rs",
    "src/cluster/tests/allocations.rs",
    "benches/floor/ring.rs",
    "tools/inspect/src/map.rs",
];
/// How far above an `unsafe` its proof may begin.
const PROOF_LINES: usize = 12;

/// Paths of somebody's machine, and marks of unfinished work. Written in halves, so that this file passes its own rule.
const FOREIGN: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "an absolute path of one machine"),
    (concat!("/fa", "rm/"), "an absolute path of one machine"),
    (concat!("/ho", "me/"), "an absolute path of one machine"),
    (concat!("/ro", "ot/"), "an absolute path of one machine"),
    (concat!("/Us", "ers/"), "an absolute path of one machine"),
    (concat!("FIX", "ME"), "unfinished work: finish it or open an issue"),
    (concat!("X", "XX"), "unfinished work: finish it or open an issue"),
];

/// Rules for every text file.
pub fn check_text(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for (word, what) in FOREIGN {
            let found = if word.starts_with('/') { line.contains(word) } else { has_word(line, word) };
            if found {
                findings.push(Finding::new(&source.path, index + 1, format!("{word}: {what}")));
            }
        }
    }
    findings
}

/// Rules for Rust.
pub fn check_rust(source: &Source, masked: &Masked) -> Vec<Finding> {
    let path = source.path.as_str();
    let mut findings = Vec::new();
    for (name, allowed) in RESERVED {
        if is_in(path, allowed) {
            continue;
        }
        for (line, _) in masked.numbered().filter(|(_, code)| names(code, name)) {
            findings.push(Finding::new(path, line, format!("{name} is named here; allowed in: {}", allowed.join(" "))));
        }
    }
    for line in masked.lines_with("unsafe") {
        if !is_in(path, UNSAFE) {
            findings.push(Finding::new(path, line, format!("unsafe, allowed in: {}", UNSAFE.join(" "))));
        } else if !has_proof(source, line) {
            findings.push(Finding::new(path, line, "unsafe without a SAFETY comment above it"));
        }
    }
    for (line, code) in masked.numbered() {
        if code.contains(".unwrap()") && !is_test_file(path) && !masked.is_test(line) {
            findings.push(Finding::new(
                path,
                line,
                "unwrap outside of tests: an error, or an expect that names the invariant",
            ));
        }
        for word in ["todo!", "unimplemented!"] {
            if code.contains(word) {
                findings.push(Finding::new(path, line, format!("{word} is left")));
            }
        }
    }
    findings
}

/// Whether the code names the type, or the crate: a function or a flag may be called like a crate.
fn names(code: &str, name: &str) -> bool {
    let is_type = name.starts_with(|first: char| first.is_ascii_uppercase());
    let as_path = has_word(code, name) && code.split(name).skip(1).any(|rest| rest.starts_with("::"));
    let imported = ["use", "crate"].iter().any(|word| has_word(code, &format!("{word} {name}")));
    if is_type { has_word(code, name) } else { as_path || imported }
}

/// Integration tests, and modules of tests beside the code.
pub fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
}

fn is_in(path: &str, allowed: &[&str]) -> bool {
    allowed.iter().any(|name| path == *name || (name.ends_with('/') && path.starts_with(name)))
}

/// A comment with `SAFETY:`, or a `# Safety` section, on the line itself or shortly above it.
fn has_proof(source: &Source, line: usize) -> bool {
    let lines = source.text.lines().skip(line.saturating_sub(PROOF_LINES + 1));
    let above = lines.take(PROOF_LINES.min(line - 1) + 1);
    above.into_iter().any(|text| text.contains("SAFETY:") || text.contains("# Safety"))
}
