//! `dev.json`: what a running local cluster leaves for who wants to talk to it, and for the next one in the same directory.
//!
//! Invariant: a process is named by its id and the instant at which it began, because ids are given out again.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Of the file.
const FORMAT: u64 = 1;
const FILE_NAME: &str = "dev.json";

/// A process of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessMark {
    /// Its id.
    pub id: u32,
    /// When it began, in the kernel's ticks since the machine did.
    pub began: u64,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// For clients.
    pub listen: SocketAddr,
    /// Announced to peers.
    pub peers: SocketAddr,
    /// `None` while it is down.
    pub process: Option<ProcessMark>,
}

/// What is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Who runs the cluster.
    pub parent: ProcessMark,
    /// Where commands are taken.
    pub control: SocketAddr,
    /// Goes before each: only who can read this file may give one.
    pub token: String,
    /// By number.
    pub nodes: Vec<NodeState>,
}

impl ProcessMark {
    /// The process with this id, if there is one.
    pub fn of(id: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name is in parentheses and may hold anything; the state follows, and 19 fields later the beginning.
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?;
        let began = fields.nth(18)?.parse().ok()?;
        (state != "Z").then_some(Self { id, began })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        Self::of(self.id) == Some(*self)
    }

    fn to_json(self) -> Value {
        json!({ "id": self.id, "began": self.began })
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self { id: u32::try_from(value["id"].as_u64()?).ok()?, began: value["began"].as_u64()? })
    }
}

/// Where the file is.
pub fn path(directory: &Path) -> PathBuf {
    directory.join(FILE_NAME)
}

impl State {
    /// Reads the file; `None` when there is none. Errors name it.
    pub fn read(directory: &Path) -> io::Result<Option<Self>> {
        let path = path(directory);
        let named = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(named(&error)),
        };
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| named(&error))?;
        Self::from_json(&value).map(Some).ok_or_else(|| named(&"it is not of this version of `annulus dev`"))
    }

    /// Writes the file whole, readable by its owner alone.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let path = path(directory);
        let fresh = path.with_extension("json.new");
        let _ = fs::remove_file(&fresh);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(format!("{:#}\n", self.to_json()).as_bytes())?;
        fs::rename(&fresh, &path)
    }

    fn to_json(&self) -> Value {
        let node = |node: &NodeState| {
            json!({
                "listen": node.listen.to_string(),
                "peers": node.peers.to_string(),
                "process": node.process.map(ProcessMark::to_json),
            })
        };
        json!({
            "format": FORMAT,
            "parent": self.parent.to_json(),
            "control": self.control.to_string(),
            "token": self.token,
            "nodes": self.nodes.iter().map(node).collect::<Vec<_>>(),
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        if value["format"].as_u64()? != FORMAT {
            return None;
        }
        let address = |value: &Value| value.as_str()?.parse().ok();
        let node = |value: &Value| {
            Some(NodeState {
                listen: address(&value["listen"])?,
                peers: address(&value["peers"])?,
                process: ProcessMark::from_json(&value["process"]),
            })
        };
        Some(Self {
            parent: ProcessMark::from_json(&value["parent"])?,
            control: address(&value["control"])?,
            token: value["token"].as_str()?.to_owned(),
            nodes: value["nodes"].as_array()?.iter().map(node).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_process_is_known_by_its_id_and_its_beginning() {
        let own = ProcessMark::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(!ProcessMark { began: own.began + 1, ..own }.is_alive());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let id = child.id();
        child.wait().unwrap();
        assert_eq!(ProcessMark::of(id), None);
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(State::read(directory.path()).unwrap(), None);
        let mark = ProcessMark { id: 7, began: 9 };
        let node = |process| NodeState {
            listen: "127.0.0.1:7379".parse().unwrap(),
            peers: "127.0.1.1:17379".parse().unwrap(),
            process,
        };
        let state = State {
            parent: mark,
            control: "127.0.0.1:9".parse().unwrap(),
            token: "t".into(),
            nodes: vec![node(Some(mark)), node(None)],
        };
        state.write(directory.path()).unwrap();
        state.write(directory.path()).unwrap();
        assert_eq!(State::read(directory.path()).unwrap(), Some(state));
        let mode = fs::metadata(path(directory.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the token is nobody else's");
        for bad in ["", "{}", "{\"format\":2}", "[1"] {
            fs::write(path(directory.path()), bad).unwrap();
            let error = State::read(directory.path()).unwrap_err().to_string();
            assert!(error.contains("dev.json"), "{error}");
        }
    }
}
