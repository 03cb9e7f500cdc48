//! Files of every format, as they were committed: every later version reads them, and writes the same as the newest of them as
//! long as it writes that format. Format 2 is that of runs which hold siblings, format 3 that of a
//! `node.meta` which knows of a cluster, format 4 that of runs with values that were touched after they were made; all else is as
//! in the one before.
//!
//! `ANNULUS_BLESS=1` writes the newest anew, which is a change of the format, and what is said of all.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::*;
use tempfile::TempDir;

const FORMATS: [&str; 4] = ["format-1", "format-2", "format-3", "format-4"];
const NEWEST: &str = FORMATS[FORMATS.len() - 1];

const COMMANDS: [(&str, &[&str]); 3] = [
    ("records.jsonl", &["dump", "--json", "--all", "data"]),
    ("roots.json", &["merkle", "--json", "data"]),
    ("listing.json", &["ls", "--json", "data"]),
];

fn root(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(format)
}

#[test]
fn files_of_every_format_are_read() {
    let blesses = std::env::var_os("ANNULUS_BLESS").is_some();
    for format in FORMATS {
        let root = root(format);
        if blesses && format == NEWEST {
            if root.exists() {
                fs::remove_dir_all(&root).unwrap();
            }
            standard(&root.join("data"));
        }
        inspect_in(&root, &["verify", "data"]).expect(0).expect_text(&["sound"]);
        for (name, arguments) in COMMANDS {
            let answer = inspect_in(&root, arguments).expect(0);
            assert_eq!(answer.error, "");
            if blesses {
                fs::write(root.join(name), &answer.text).unwrap();
            }
            assert_eq!(answer.text, fs::read_to_string(root.join(name)).unwrap(), "{format}, {name}");
        }
    }
}

#[test]
fn files_of_the_newest_format_are_written_as_ever() {
    let directory = TempDir::new().unwrap();
    standard(directory.path());
    let names = |files: &[(PathBuf, Vec<u8>)]| files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    let (written, committed) = (contents(directory.path()), contents(&root(NEWEST).join("data")));
    assert_eq!(names(&written), names(&committed));
    for ((path, written), (_, committed)) in written.iter().zip(&committed) {
        assert!(written == committed, "{} is written otherwise than it was", path.display());
    }
}
