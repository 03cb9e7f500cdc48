//! Files of format 1, as they were committed: every later version reads them, and writes the same as long as it writes format 1.
//!
//! `ANNULUS_BLESS=1` writes them anew; a change of what is there is a change of the format.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::*;
use tempfile::TempDir;

const COMMANDS: [(&str, &[&str]); 3] = [
    ("records.jsonl", &["dump", "--json", "--all", "data"]),
    ("roots.json", &["merkle", "--json", "data"]),
    ("listing.json", &["ls", "--json", "data"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/format-1")
}

#[test]
fn files_of_format_1_are_read() {
    let root = root();
    if std::env::var_os("ANNULUS_BLESS").is_some() {
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        standard(&root.join("data"));
    }
    inspect_in(&root, &["verify", "data"]).expect(0).expect_text(&["sound"]);
    for (name, arguments) in COMMANDS {
        let answer = inspect_in(&root, arguments).expect(0);
        assert_eq!(answer.error, "");
        if std::env::var_os("ANNULUS_BLESS").is_some() {
            fs::write(root.join(name), &answer.text).unwrap();
        }
        assert_eq!(answer.text, fs::read_to_string(root.join(name)).unwrap(), "{name}");
    }
}

#[test]
fn files_of_format_1_are_written_as_ever() {
    let directory = TempDir::new().unwrap();
    standard(directory.path());
    let names = |files: &[(PathBuf, Vec<u8>)]| files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    let (written, committed) = (contents(directory.path()), contents(&root().join("data")));
    assert_eq!(names(&written), names(&committed));
    for ((path, written), (_, committed)) in written.iter().zip(&committed) {
        assert!(written == committed, "{} is written otherwise than it was", path.display());
    }
}
