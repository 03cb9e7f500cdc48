//! What the machine offers: the CPUs that this process may use, and the memory that its cgroup or the machine has.
//!
//! Read once at start, from `/proc` and `/sys`; tests give other roots.

use std::fs;
use std::path::{Path, PathBuf};

/// What defaults are derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// CPU numbers of the affinity mask, ascending, not empty.
    pub affinity: Vec<usize>,
    /// Memory of the cgroup, or of the machine when that is less.
    pub memory_bytes: u64,
}

impl Environment {
    /// Asks the kernel. Errors: no affinity or no memory size can be read, in words.
    pub fn detect() -> Result<Self, String> {
        let memory_bytes = memory_bytes(Path::new("/proc"), Path::new("/sys/fs/cgroup"))?;
        Ok(Self { affinity: affinity()?, memory_bytes })
    }

    /// That many hundredths of the memory, rounded down to a whole MiB when there is one.
    pub(super) fn memory_share(&self, percent: u64) -> u64 {
        assert!(percent <= 100);
        let bytes = u128::from(self.memory_bytes) * u128::from(percent) / 100;
        let bytes = u64::try_from(bytes).expect("a share is not more than the whole");
        if bytes >= 1 << 20 { bytes >> 20 << 20 } else { bytes }
    }
}

fn affinity() -> Result<Vec<usize>, String> {
    let set =
        rustix::thread::sched_getaffinity(None).map_err(|error| format!("the CPU affinity is unreadable: {error}"))?;
    let cpus: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect();
    if cpus.is_empty() { Err("the CPU affinity mask is empty".to_owned()) } else { Ok(cpus) }
}

/// The machine's memory, or the least limit of the process's cgroups when that is smaller.
fn memory_bytes(proc: &Path, cgroup: &Path) -> Result<u64, String> {
    let machine = machine_bytes(proc)?;
    let limit = cgroup_limit(proc, cgroup).unwrap_or(u64::MAX);
    Ok(machine.min(limit))
}

fn machine_bytes(proc: &Path) -> Result<u64, String> {
    let text =
        fs::read_to_string(proc.join("meminfo")).map_err(|error| format!("/proc/meminfo is unreadable: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| "/proc/meminfo names no MemTotal".to_owned())
}

/// The least limit on the way from the process's cgroup to the root, for version 2 (`0::/path`, `memory.max`) and version 1
/// (`N:memory:/path`, `memory.limit_in_bytes`). A path that is not visible from here ends at the root.
fn cgroup_limit(proc: &Path, cgroup: &Path) -> Option<u64> {
    let text = fs::read_to_string(proc.join("self/cgroup")).ok()?;
    let mut least: Option<u64> = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => (cgroup.to_path_buf(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (cgroup.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        least = least.into_iter().chain(least_on_path(&root, path, file)).min();
    }
    least
}

fn least_on_path(root: &Path, path: &str, file: &str) -> Option<u64> {
    let mut directory: PathBuf = root.join(path.trim_start_matches('/'));
    let mut least: Option<u64> = None;
    // Each round removes one component, so the loop ends.
    while directory.starts_with(root) {
        let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
        least = least.into_iter().chain(text.trim().parse().ok()).min();
        if !directory.pop() {
            break;
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(cgroup_line: &str, limits: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let (proc, cgroup) = (root.path().join("proc"), root.path().join("cgroup"));
        fs::create_dir_all(proc.join("self")).unwrap();
        fs::write(proc.join("meminfo"), "MemTotal:        8000000 kB\nMemFree: 1 kB\n").unwrap();
        fs::write(proc.join("self/cgroup"), cgroup_line).unwrap();
        for (path, text) in limits {
            fs::create_dir_all(cgroup.join(path).parent().unwrap()).unwrap();
            fs::write(cgroup.join(path), text).unwrap();
        }
        (root, proc, cgroup)
    }

    #[test]
    fn the_least_limit_on_the_way_counts() {
        let limits = [("a/b/memory.max", "max\n"), ("a/memory.max", "1000000\n"), ("memory.max", "2000000\n")];
        let (_root, proc, cgroup) = roots("0::/a/b\n", &limits);
        assert_eq!(memory_bytes(&proc, &cgroup), Ok(1_000_000));
    }

    #[test]
    fn version_1_and_unlimited() {
        let limits = [("memory/x/memory.limit_in_bytes", "9223372036854771712\n")];
        let (_root, proc, cgroup) = roots("5:cpu,cpuacct:/x\n4:memory:/x\n", &limits);
        assert_eq!(memory_bytes(&proc, &cgroup), Ok(8_000_000 * 1024));
        fs::write(cgroup.join("memory/x/memory.limit_in_bytes"), "4096000").unwrap();
        assert_eq!(memory_bytes(&proc, &cgroup), Ok(4_096_000));
    }

    #[test]
    fn a_path_outside_the_namespace_falls_back_to_the_root() {
        let (_root, proc, cgroup) = roots("0::/system.slice/gone\n", &[("memory.max", "77\n")]);
        assert_eq!(memory_bytes(&proc, &cgroup), Ok(77));
    }

    #[test]
    fn this_machine_is_understood() {
        let environment = Environment::detect().unwrap();
        assert!(environment.memory_bytes > 1 << 20);
        assert!(environment.affinity.is_sorted());
    }
}
