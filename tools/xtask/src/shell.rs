//! Running other programs: shown before they run, their output shown as it comes, their result lines kept.
//!
//! Invariant: a program that could not be started, or ended with a status other than 0, is an error that names it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The workspace's directory.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("tools/xtask is two below the root").to_path_buf()
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A program with arguments, to be run in the workspace's directory.
pub fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// `cargo`, as the one that runs this tool.
pub fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    command(&program, arguments)
}

/// What would be typed to run it.
pub fn shown(command: &Command) -> String {
    let mut words: Vec<String> = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.to_string_lossy(), value.to_string_lossy()));
        }
    }
    let program = Path::new(command.get_program());
    words.push(program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned());
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Runs it; the lines in which a test runner says how many passed are returned.
pub fn run(command: &mut Command) -> Result<Vec<String>, String> {
    let text = shown(command);
    println!("$ {text}");
    command.stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{text}: {error}"))?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut results = Vec::new();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.map_err(|error| format!("{text}: {error}"))?;
        let line = String::from_utf8_lossy(&line).into_owned();
        println!("{line}");
        if line.starts_with("test result:") || (line.contains(" passed, ") && line.ends_with(" failed")) {
            results.push(line);
        }
    }
    let status = child.wait().map_err(|error| format!("{text}: {error}"))?;
    if status.success() { Ok(results) } else { Err(format!("{text}: {status}")) }
}

/// Runs it silently and returns what it printed.
pub fn output(command: &mut Command) -> Result<String, String> {
    let text = shown(command);
    let output = command.output().map_err(|error| format!("{text}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{text}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{text}: printed bytes that are no text"))
}

/// Whether a program of that name can be started.
pub fn exists(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Whether this is an automatic run, in which nothing may be skipped.
pub fn is_ci() -> bool {
    std::env::var_os("ANNULUS_CI").is_some()
}
