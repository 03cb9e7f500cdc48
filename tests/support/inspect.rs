//! `annulus-inspect` as a process: what a second reader of the files, which shares no recovery with the node, finds in them.
//!
//! `ANNULUS_INSPECT` names the binary to use; else cargo builds it, once for each test binary that asks.
//!
//! Invariant: that the tool could not be run is a failure, never "nothing was found".

use super::figures::{Roots, is_empty_root};
use super::tool;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The tool.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| tool::binary("annulus-inspect", "ANNULUS_INSPECT"))
}

fn run(words: &[&str], directory: &Path) -> Output {
    let (command, options) = words.split_first().expect("a command");
    let output = Command::new(binary()).arg(command).arg(directory).args(options).output();
    output.expect("annulus-inspect can be started")
}

/// Both outputs, for a reader.
fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(8_000)]).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Checks every checksum and every rule of the formats; an error says what it found.
pub fn verify(directory: &Path) -> Result<(), String> {
    let output = run(&["verify"], directory);
    if output.status.success() { Ok(()) } else { Err(format!("annulus-inspect verify: {}", said(&output))) }
}

/// The roots of the hash trees as the files have them.
pub fn roots(directory: &Path) -> Result<Roots, String> {
    let output = run(&["merkle", "--json"], directory);
    if !output.status.success() {
        return Err(format!("annulus-inspect merkle: {}", said(&output)));
    }
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let one = |value: &serde_json::Value| {
        let partition = value["partition"].as_u64().and_then(|number| u16::try_from(number).ok());
        partition.zip(value["root"].as_str().map(str::to_owned)).ok_or_else(|| format!("no root: {value}"))
    };
    let partitions = json["partitions"].as_array().ok_or("no partitions")?;
    let roots: Result<Roots, String> = partitions.iter().map(one).collect();
    Ok(roots?.into_iter().filter(|(_, root)| !is_empty_root(root)).collect())
}
