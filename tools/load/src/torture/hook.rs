//! The control of `annulus dev`: one line asks for a fault or its end, one line answers.
//!
//! Invariant: a fault that is answered with `ok` is in force.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// Restarting a node takes longest.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `dev.json` says; the rest of it is for others.
#[derive(Debug, Clone, Deserialize)]
struct State {
    control: SocketAddr,
    token: String,
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Deserialize)]
struct Node {
    listen: SocketAddr,
}

/// A local cluster that can be hurt.
#[derive(Debug, Clone)]
pub struct Hook {
    state: State,
}

/// Why nothing can be hurt.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// No such directory, or no cluster in it.
    #[error("{}: {error}; is `annulus dev` running with this --dir?", path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// What the system or the parser says.
        error: io::Error,
    },
    /// Nobody listens, or nothing came back.
    #[error("`annulus dev` at {control} does not answer: {error}")]
    Silent {
        /// Where.
        control: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// It refused.
    #[error("`annulus dev` refuses `{command}`: {answer}")]
    Refused {
        /// What was asked.
        command: String,
        /// Its words.
        answer: String,
    },
}

impl Hook {
    /// Reads the state file of `annulus dev --dir DIR`.
    pub fn read(directory: &Path) -> Result<Self, HookError> {
        let path = directory.join("dev.json");
        let text = std::fs::read(&path).and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from));
        text.map(|state| Self { state }).map_err(|error| HookError::State { path, error })
    }

    /// Where clients of each node connect.
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        self.state.nodes.iter().map(|node| node.listen).collect()
    }

    /// Asks for one thing, such as `kill 2`, and waits until it is done.
    pub fn ask(&self, command: &str) -> Result<(), HookError> {
        let control = self.state.control;
        let answer = self.exchange(command).map_err(|error| HookError::Silent { control, error })?;
        match answer.strip_prefix("ok") {
            Some(_) => Ok(()),
            None => Err(HookError::Refused { command: command.to_owned(), answer }),
        }
    }

    fn exchange(&self, command: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.state.control, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{} {command}\n", self.state.token).as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        if line.ends_with('\n') { Ok(line.trim_end().to_owned()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}
