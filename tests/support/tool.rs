//! Programs of the workspace's other packages, which cargo does not build for these tests by itself.
//!
//! Invariant: a program that cannot be built is a failure, never a test that shows less.

use std::path::PathBuf;
use std::process::Command;

/// The program of that name: the one that the variable names, else cargo builds it.
pub fn binary(name: &str, variable: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| build(name), PathBuf::from)
}

/// Builds it in the profile, and so with the crates, that the tests themselves were built in; gives what cargo names.
fn build(name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["build", "--locked", "--package", name, "--profile", "test", "--message-format", "json"]);
    let output = command.output().expect("cargo can be started");
    assert!(output.status.success(), "{name} is not built:\n{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).expect("cargo prints text");
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_ours = message["target"]["name"] == name;
        Some(PathBuf::from(message["executable"].as_str().filter(|_| is_ours)?))
    };
    messages.lines().find_map(executable).expect("cargo names the program that it built")
}
