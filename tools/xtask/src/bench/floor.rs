//! The floor bench: what the raw machine can do, run and read.
//!
//! Its output is read leniently: every JSON object in it that has numbers becomes a row, named by its texts.
//!
//! Invariant: where there is no such bench, or it fails, that is said; nothing is made up.

use super::process::{Process, pinned};
use super::results::FloorRow;
use super::runner::Context;
use crate::shell;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

const DEADLINE: Duration = Duration::from_secs(300);

/// Builds it, where there is one.
pub fn build() -> Result<(), String> {
    if exists() {
        shell::run(&mut shell::cargo(&["bench", "--locked", "--bench", "floor", "--no-run"]))?;
    }
    Ok(())
}

fn exists() -> bool {
    shell::root().join("benches/floor.rs").exists()
}

/// Runs a part of it on the disk of the data, on a file of so many bytes; the rows, or why there are none.
pub fn run(context: &Context, part: &str, bytes: u64) -> Result<Vec<FloorRow>, String> {
    if !exists() {
        return Err("there is no floor bench".into());
    }
    let program = newest().ok_or("the floor bench was not built")?;
    let (programs, options) = (context.programs, context.options);
    let directory = context.scratch.join("floor");
    std::fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    // It places its own threads on the first and the last of these.
    let mut command = pinned(&[programs.server_cpu, programs.client_cpu], &program);
    command.args(["--bench", part, "--json", "--seconds", &options.seconds.to_string()]);
    command.args(["--bytes", &bytes.to_string()]).arg("--directory").arg(&directory);
    println!("\nfloor: {}", shell::shown(&command));
    let log = context.scratch.join("floor.log");
    let mut process = Process::start(command, "floor", &log)?;
    let status = process.wait(DEADLINE)?;
    if !status.success() {
        return Err(process.failure(&format!("ended with {status}")));
    }
    let text = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
    let rows = rows(&text);
    if rows.is_empty() { Err(process.failure("printed no figures")) } else { Ok(rows) }
}

/// The program that cargo built last: its own process can be waited for and ended.
fn newest() -> Option<PathBuf> {
    let built = std::fs::read_dir(shell::target().join("release/deps")).ok()?.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let is_program = name.strip_prefix("floor-")?.chars().all(|digit| digit.is_ascii_hexdigit());
        let modified: SystemTime = entry.metadata().ok()?.modified().ok()?;
        is_program.then(|| (modified, entry.path()))
    });
    built.max().map(|(_, path)| path)
}

/// Of the text as a whole if it is JSON, else of every line that is.
fn rows(text: &str) -> Vec<FloorRow> {
    let values = match serde_json::from_str::<Value>(text) {
        Ok(value) => vec![value],
        Err(_) => text.lines().filter_map(|line| serde_json::from_str(line.trim()).ok()).collect(),
    };
    let mut found = Vec::new();
    values.iter().for_each(|value| collect(value, &mut found));
    found
}

fn collect(value: &Value, found: &mut Vec<FloorRow>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            let number = |(name, value): (&String, &Value)| Some((name.clone(), value.as_f64()?));
            let figures: Vec<(String, f64)> = fields.iter().filter_map(number).collect();
            if !figures.is_empty() {
                let words: Vec<&str> = fields.values().filter_map(Value::as_str).collect();
                found.push(FloorRow { name: words.join(" "), figures });
            }
            fields.values().for_each(|item| collect(item, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, figures: &[(&str, f64)]) -> FloorRow {
        FloorRow { name: name.into(), figures: figures.iter().map(|(name, value)| ((*name).into(), *value)).collect() }
    }

    #[test]
    fn one_document_is_read() {
        let text =
            r#"{"floor":[{"name":"reads","depth":8,"p50":120.5},{"name":"reads","depth":16,"p50":3}],"notes":["no"]}"#;
        let wanted = [row("reads", &[("depth", 8.0), ("p50", 120.5)]), row("reads", &[("depth", 16.0), ("p50", 3.0)])];
        assert_eq!(rows(text), wanted);
    }

    #[test]
    fn lines_between_other_text_are_read() {
        let text = "running\n{\"case\":\"echo P1\",\"cpu_us\":2.5}\n12\n{\"plain\":1}\nend\n";
        assert_eq!(rows(text), [row("echo P1", &[("cpu_us", 2.5)]), row("", &[("plain", 1.0)])]);
        assert!(rows("nothing").is_empty());
    }
}
