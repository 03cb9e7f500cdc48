//! On what, with what and when a comparison was made, so that it can be told from another one.
//!
//! Not in it: names of machines, users and directories.
//!
//! Invariant: what could not be found out is said to be unknown.

use super::counters::Disk;
use super::server::Programs;
use crate::shell;
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::process::Command;

const UNKNOWN: &str = "unknown";

/// Where, with what, when.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cpus: usize,
    pub server_cpu: usize,
    pub client_cpu: usize,
    pub memory_mib: u64,
    pub kernel: String,
    /// of the data directories
    pub file_system: String,
    pub device: String,
    /// of every program, in order
    pub versions: Vec<String>,
    pub commit: String,
    /// UTC
    pub date: String,
}

impl Machine {
    /// This one, with data below a directory.
    pub fn here(programs: &Programs, data: &Path) -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Machine {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or(UNKNOWN.into()),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            server_cpu: programs.server_cpu,
            client_cpu: programs.client_cpu,
            memory_mib: kib(&read("/proc/meminfo"), "MemTotal").unwrap_or(0) / 1024,
            kernel: known(read("/proc/sys/kernel/osrelease").trim()),
            file_system: known(&file_system(data)),
            device: Disk::name(data).unwrap_or(UNKNOWN.into()),
            versions: versions(programs),
            commit: commit(),
            date: known(&said(&mut shell::command("date", &["-u", "+%Y-%m-%d %H:%M UTC"]))),
        }
    }

    /// One line for each matter.
    pub fn lines(&self) -> Vec<String> {
        let cpus = if self.server_cpu == self.client_cpu {
            format!("server AND load generator share CPU {}: their figures disturb each other", self.server_cpu)
        } else {
            format!("server on CPU {}, load generator on CPU {}", self.server_cpu, self.client_cpu)
        };
        vec![
            format!("{} ({} CPUs), {} MiB of memory; {cpus}", self.cpu, self.cpus, self.memory_mib),
            format!("Linux {}; data on {} ({})", self.kernel, self.file_system, self.device),
            format!("{}; commit {}; {}", self.versions.join(", "), self.commit, self.date),
        ]
    }
}

/// The CPUs that this process may use.
pub fn cpus() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    field(&status, "Cpus_allowed_list").map(|list| parse_list(&list)).unwrap_or_default()
}

/// `0,2-3` as the kernel writes it.
fn parse_list(list: &str) -> Vec<usize> {
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
            cpus.extend(first..=last);
        }
    }
    cpus
}

/// What stands behind `name:` on the first line that has it.
fn field(text: &str, name: &str) -> Option<String> {
    let of = |line: &str| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_string())
    };
    text.lines().find_map(of)
}

fn kib(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.split_whitespace().next()?.parse().ok()
}

fn file_system(data: &Path) -> String {
    let text = said(shell::command("df", &["--output=fstype"]).arg(data));
    text.lines().last().unwrap_or_default().to_string()
}

fn versions(programs: &Programs) -> Vec<String> {
    let mut lines = vec![known(&said(Command::new(&programs.annulus).arg("version")))];
    for (name, other) in [("redis-server", &programs.redis), ("valkey-server", &programs.valkey)] {
        match other {
            Some(program) => lines.push(short_version(&said(Command::new(program).arg("--version")))),
            None => lines.push(format!("no {name} here")),
        }
    }
    lines
}

/// `Redis server v=7.0.15 sha=…` without what follows the version.
fn short_version(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let end = words.iter().position(|word| word.starts_with("v=")).map_or(words.len(), |at| at + 1);
    known(&words[..end].join(" ").replace("v=", ""))
}

fn commit() -> String {
    let commit = said(&mut shell::command("git", &["rev-parse", "--short=12", "HEAD"]));
    let options = ["--no-optional-locks", "status", "--porcelain"];
    let changed = !said(&mut shell::command("git", &options)).is_empty();
    if changed { format!("{} with changes", known(&commit)) } else { known(&commit) }
}

fn said(command: &mut Command) -> String {
    shell::output(command).map(|text| text.trim().to_string()).unwrap_or_default()
}

fn known(text: &str) -> String {
    if text.is_empty() { UNKNOWN.into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(parse_list("0,2-4,7"), [0, 2, 3, 4, 7]);
        assert_eq!(parse_list("3"), [3]);
        assert!(parse_list("").is_empty());
        assert!(!cpus().is_empty());
    }

    #[test]
    fn versions_are_short() {
        assert_eq!(short_version("Redis server v=7.0.15 sha=0:0 malloc=jemalloc"), "Redis server 7.0.15");
        assert_eq!(short_version(""), UNKNOWN);
    }

    #[test]
    fn fields_are_found_by_name() {
        let text = "MemTotalX: 3 kB\nMemTotal:       2048 kB\n";
        assert_eq!(kib(text, "MemTotal"), Some(2048));
        assert_eq!(field(text, "Mem"), None);
    }
}
