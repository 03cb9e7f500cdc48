//! A process that this tool started: pinned to a CPU, its output in a log, its end certain.
//!
//! Invariant: whatever happens, the process ends no later than its guard, by its own id; and every wait for it has a
//! deadline.

use crate::shell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How much of a log an error shows.
const TAIL_BYTES: u64 = 2_000;
const TAIL_LINES: usize = 12;
/// Between two looks at a process that is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// A command that runs on some CPUs. It is killed with this tool where `setpriv` can arrange that; both programs replace
/// themselves, so the id stays that of the program.
pub fn pinned(cpus: &[usize], program: &Path) -> Command {
    static HAS_SETPRIV: OnceLock<bool> = OnceLock::new();
    let list: Vec<String> = cpus.iter().map(ToString::to_string).collect();
    let mut command = Command::new("taskset");
    command.arg("-c").arg(list.join(","));
    if *HAS_SETPRIV.get_or_init(|| shell::exists("setpriv")) {
        command.args(["setpriv", "--pdeathsig", "KILL"]);
    }
    command.arg(program).stdin(Stdio::null());
    command
}

/// One that runs, or ran.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it prints goes to the end of `log`.
    pub fn start(mut command: Command, name: &str, log: &Path) -> Result<Process, String> {
        let open = || File::options().create(true).append(true).open(log);
        let (out, err) =
            open().and_then(|out| Ok((out, open()?))).map_err(|error| format!("{name}: its log: {error}"))?;
        command.stdout(out).stderr(err);
        let child = command.spawn().map_err(|error| format!("{}: {error}", shell::shown(&command)))?;
        Ok(Process { child, name: name.into(), log: log.into() })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error with the end of its log when it has ended although it should serve.
    pub fn check_alive(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failure(&format!("ended with {status}"))),
            Err(error) => Err(self.failure(&error.to_string())),
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus, String> {
        self.wait_beside(deadline, || Ok(()))
    }

    /// The same, as long as nothing that it depends on has failed.
    pub fn wait_beside(
        &mut self,
        deadline: Duration,
        mut check: impl FnMut() -> Result<(), String>,
    ) -> Result<ExitStatus, String> {
        let started = Instant::now();
        loop {
            check()?;
            if let Some(status) = self.child.try_wait().map_err(|error| self.failure(&error.to_string()))? {
                return Ok(status);
            }
            if started.elapsed() > deadline {
                return Err(self.failure(&format!("did not end within {deadline:?}")));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Asks it to end, and waits.
    pub fn stop(mut self, deadline: Duration) -> Result<(), String> {
        self.check_alive()?;
        shell::output(&mut shell::command("kill", &["-TERM", &self.id().to_string()]))?;
        let status = self.wait(deadline)?;
        if status.success() { Ok(()) } else { Err(self.failure(&format!("ended with {status} after SIGTERM"))) }
    }

    /// SIGKILL, and waits.
    pub fn kill(mut self) -> Result<(), String> {
        self.check_alive()?;
        self.child.kill().and_then(|()| self.child.wait()).map_err(|error| self.failure(&error.to_string()))?;
        Ok(())
    }

    /// A message about it with the end of its log.
    pub fn failure(&self, what: &str) -> String {
        match tail(&self.log) {
            Some(tail) => format!("{} {what}; the end of its log:\n{tail}", self.name),
            None => format!("{} {what}; it printed nothing", self.name),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The last lines of a file, indented.
fn tail(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    (!last.is_empty()).then(|| last.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"))
}

/// A directory that is gone with its guard.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Creates one below `parent`, named by this process; those of processes that were killed go.
    pub fn create(parent: &Path, name: &str) -> Result<Scratch, String> {
        let fail = |error: std::io::Error| format!("{}: {error}", parent.display());
        std::fs::create_dir_all(parent).map_err(fail)?;
        for entry in std::fs::read_dir(parent).map_err(fail)?.flatten() {
            let file_name = entry.file_name();
            let owner = file_name.to_str().and_then(|text| text.strip_prefix(name)?.strip_prefix('-'));
            let owner = owner.and_then(|text| text.parse::<u32>().ok());
            if owner.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
                std::fs::remove_dir_all(entry.path()).map_err(fail)?;
            }
        }
        let path = parent.join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(fail)?;
        Ok(Scratch { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> Scratch {
        Scratch::create(&std::env::temp_dir(), &format!("xtask-process-{name}")).unwrap()
    }

    #[test]
    fn a_process_that_died_is_an_error_with_the_end_of_its_log() {
        let scratch = scratch("died");
        let mut command = Command::new("sh");
        command.args(["-c", "echo first; echo no such flag >&2; exit 3"]);
        let mut process = Process::start(command, "server", &scratch.path().join("log")).unwrap();
        process.wait(Duration::from_secs(10)).unwrap();
        let error = process.check_alive().unwrap_err();
        assert!(error.contains("server") && error.contains("3") && error.contains("no such flag"), "{error}");
    }

    #[test]
    fn what_a_killed_process_left_goes_with_the_next() {
        let outer = scratch("left");
        let left = outer.path().join("data-4294967295");
        std::fs::create_dir_all(left.join("inner")).unwrap();
        std::fs::create_dir(outer.path().join("data-else")).unwrap();
        let mine = Scratch::create(outer.path(), "data").unwrap();
        assert!(!left.exists() && mine.path().exists() && outer.path().join("data-else").exists());
    }

    #[test]
    fn waiting_has_a_deadline_and_the_guard_ends_the_process() {
        let scratch = scratch("late");
        let mut command = Command::new("sleep");
        command.arg("100");
        let mut process = Process::start(command, "sleeper", &scratch.path().join("log")).unwrap();
        let id = process.id();
        assert!(process.wait(Duration::from_millis(20)).unwrap_err().contains("did not end within"));
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
        let path = scratch.path().to_path_buf();
        drop(scratch);
        assert!(!path.exists());
    }
}
