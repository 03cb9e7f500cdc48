//! `annulus-inspect` as a process: what a second reader of the files, which shares no recovery with the node, finds in them.
//!
//! `ANNULUS_INSPECT` names the binary to use; else cargo builds it, once for each test binary that asks.
//!
//! Invariant: that the tool could not be run is a failure, never "nothing was found".

use super::figures::{Roots, is_empty_root};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The tool. Its package is another one than that of the tests, so cargo does not build it for them by itself.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("ANNULUS_INSPECT") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// Builds it in the profile, and so with the crates, that the tests themselves were built in; gives what cargo names.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args([
        "build",
        "--locked",
        "--package",
        "annulus-inspect",
        "--profile",
        "test",
        "--message-format",
        "json",
    ]);
    let output = command.output().expect("cargo can be started");
    assert!(output.status.success(), "annulus-inspect is not built:\n{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).expect("cargo prints text");
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_ours = message["target"]["name"] == "annulus-inspect";
        Some(PathBuf::from(message["executable"].as_str().filter(|_| is_ours)?))
    };
    messages.lines().find_map(executable).expect("cargo names the program that it built")
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
