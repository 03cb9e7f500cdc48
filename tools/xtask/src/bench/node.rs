//! One server process: how it is started, and starting it again over the same data and at the same ports after it was ended.
//!
//! Invariant: one that was ended on purpose is not missed by anybody; one that ended by itself is an error.

use super::process::{Process, pinned};
use super::wire;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two attempts at one that starts.
pub const LOOK: Duration = Duration::from_millis(5);
/// For one answer to a question.
pub const ANSWER: Duration = Duration::from_secs(5);
/// Until one has ended that was asked to.
const STOP: Duration = Duration::from_secs(60);

/// Everything that starting it takes.
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub cpus: Vec<usize>,
    /// of the contestant, for messages
    pub name: &'static str,
    pub data: PathBuf,
    pub port: u16,
}

/// One that runs, or was ended.
pub struct Node {
    launch: Launch,
    process: Option<Process>,
}

impl Node {
    /// Only starts it.
    pub fn spawn(launch: Launch) -> Result<Node, String> {
        let mut node = Node { launch, process: None };
        node.start()?;
        Ok(node)
    }

    /// Starts it, or starts it again.
    pub fn start(&mut self) -> Result<(), String> {
        assert!(self.process.is_none(), "{} runs already", self.launch.name);
        let Launch { program, arguments, cpus, name, data, .. } = &self.launch;
        let mut command = pinned(cpus, program);
        command.args(arguments);
        let log = PathBuf::from(format!("{}.log", data.display()));
        self.process = Some(Process::start(command, name, &log)?);
        Ok(())
    }

    /// Ends it as an operator would.
    pub fn stop(&mut self) -> Result<(), String> {
        self.process.take().map_or(Ok(()), |process| process.stop(STOP))
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<(), String> {
        self.process.take().map_or(Ok(()), Process::kill)
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Of its process; `None` of one that was ended.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// For clients.
    pub fn port(&self) -> u16 {
        self.launch.port
    }

    /// Its directory.
    pub fn data(&self) -> &Path {
        &self.launch.data
    }

    /// One question.
    pub fn ask(&self, words: &[&str], deadline: Duration) -> Result<String, String> {
        wire::ask(self.launch.port, words, deadline).map_err(|error| self.failure(&error))
    }

    /// Waits until it is as wanted; the time that took.
    pub fn wait_until(&mut self, deadline: Duration, wanted: impl Fn(&Node) -> bool) -> Result<Duration, String> {
        let started = Instant::now();
        while !wanted(self) {
            self.check_alive()?;
            if started.elapsed() > deadline {
                return Err(self.failure(&format!("is not as wanted after {deadline:?}")));
            }
            std::thread::sleep(LOOK);
        }
        Ok(started.elapsed())
    }

    /// An error when it has ended by itself.
    pub fn check_alive(&mut self) -> Result<(), String> {
        self.process.as_mut().map_or(Ok(()), Process::check_alive)
    }

    /// A message about it, with the end of its log while it runs.
    pub fn failure(&self, what: &str) -> String {
        let ended = || format!("{}, which was ended, {what}", self.launch.name);
        self.process.as_ref().map_or_else(ended, |process| process.failure(what))
    }
}

#[cfg(test)]
mod tests {
    use super::super::process::Scratch;
    use super::*;

    /// A process that runs a script of a shell.
    fn spawned(scratch: &Scratch, script: &str, name: &'static str) -> Node {
        let data = scratch.path().join("data");
        let arguments = vec!["-c".into(), script.into()];
        let launch = Launch { program: "sh".into(), arguments, cpus: vec![0], name, data, port: 1 };
        Node::spawn(launch).unwrap()
    }

    #[test]
    fn what_was_ended_is_not_missed_and_starts_again() {
        let scratch = Scratch::create(&std::env::temp_dir(), "xtask-node").unwrap();
        let mut node = spawned(&scratch, "echo started; exec sleep 100", "sleeper");
        let first = node.id().unwrap();
        node.check_alive().unwrap();
        node.kill().unwrap();
        assert!(!node.is_running() && node.id().is_none() && !Path::new(&format!("/proc/{first}")).exists());
        node.check_alive().unwrap();
        assert!(node.failure("is silent").contains("which was ended, is silent"));
        node.start().unwrap();
        assert!(node.is_running() && node.id() != Some(first));
    }

    #[test]
    fn one_that_ended_by_itself_is_an_error() {
        let scratch = Scratch::create(&std::env::temp_dir(), "xtask-node-ended").unwrap();
        let mut node = spawned(&scratch, "echo no disk; exit 3", "quitter");
        let error = node.wait_until(Duration::from_secs(20), |_| false).unwrap_err();
        assert!(error.contains("quitter") && error.contains("no disk"), "{error}");
    }
}
