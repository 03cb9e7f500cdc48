//! One node of a local cluster as a process of this binary.
//!
//! Invariant: a signal goes only to a child that was not waited for, so its id cannot be another's.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::state::ProcessMark;

/// How much of a log is shown when its process ended by itself.
const TAIL_BYTES: u64 = 2000;

/// A node's process, running or ended.
#[derive(Debug)]
pub(super) struct NodeProcess {
    child: Child,
    mark: Option<ProcessMark>,
    ended: Option<ExitStatus>,
    log: PathBuf,
}

impl NodeProcess {
    /// Starts this very binary with these arguments; what it prints is appended to `log`.
    pub fn start(arguments: &[String], log: &Path) -> io::Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // Ctrl-C is for the parent, which ends its nodes in order.
        command.process_group(0);
        let child = command.spawn()?;
        let mark = ProcessMark::of(child.id());
        Ok(Self { child, mark, ended: None, log: log.to_owned() })
    }

    /// What to find it by, while it runs.
    pub fn mark(&mut self) -> Option<ProcessMark> {
        if self.ended().is_some() { None } else { self.mark }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.ended().is_some() {
            return Ok(());
        }
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has an id");
        kill_process(id, signal).map_err(io::Error::from)
    }

    /// Waits until it has ended; after `patience` it is killed.
    pub fn wait(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }

    /// The last lines that it printed.
    pub fn tail(&self) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
        };
        read().unwrap_or_default()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
