//! The directory of a local cluster: what an earlier one left, the secret, and whether the ports are free.
//!
//! Invariant: a process that an earlier one left is ended only while it is still that process.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::super::plan::NodePlan;
use super::super::state::{self, ProcessMark, State};
use super::super::{DevError, failed};

/// Holds the cluster's secret.
const SECRET_FILE: &str = "secret";
/// HTTP is so far above clients.
const HTTP_OFFSET: u16 = 2000;

/// Ends the nodes that an earlier `annulus dev`, killed, left behind. Refuses a directory with another number of nodes.
pub(super) fn take_over(directory: &Path, nodes: usize, patience: Duration) -> Result<(), DevError> {
    let present = (0..usize::from(super::super::plan::NODES_MAX))
        .filter(|number| directory.join(format!("node-{number}")).is_dir())
        .count();
    if present != 0 && present != nodes {
        let text = format!(
            "--nodes: {} holds a cluster of {present} nodes; give --nodes {present}, another --dir, or remove it",
            directory.display()
        );
        return Err(DevError::Usage(text));
    }
    // A file that cannot be read names no process.
    let Ok(Some(state)) = State::read(directory) else { return Ok(()) };
    for mark in state.nodes.iter().filter_map(|node| node.process).filter(ProcessMark::is_alive) {
        super::say(&format!("ending process {}, left by an earlier `annulus dev`", mark.id));
        end(mark, patience).map_err(|error| DevError::Failed(format!("process {}: {error}", mark.id)))?;
    }
    Ok(())
}

fn end(mark: ProcessMark, patience: Duration) -> io::Result<()> {
    for (signal, patience) in [(Signal::CONT, Duration::ZERO), (Signal::TERM, patience), (Signal::KILL, patience)] {
        if !mark.is_alive() {
            return Ok(());
        }
        let id = i32::try_from(mark.id).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        match kill_process(id, signal) {
            Err(error) if error != rustix::io::Errno::SRCH => return Err(error.into()),
            _ => {}
        }
        let deadline = Instant::now() + patience;
        while mark.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    if mark.is_alive() { Err(io::Error::other("it does not end")) } else { Ok(()) }
}

/// Names the first port that is taken, and what it is for.
pub(super) fn probe_ports(plan: &[NodePlan], cores: u16) -> Result<(), DevError> {
    for node in plan {
        let own = |offset| SocketAddr::new(node.listen.ip(), node.listen.port() + offset);
        let clients = (0..=cores).map(|offset| ("clients", own(offset)));
        let others = [("HTTP", own(HTTP_OFFSET)), ("peers", node.peers.real)];
        for (what, address) in clients.chain(others) {
            if let Err(error) = TcpListener::bind(address) {
                let text =
                    format!("{address}, for {what} of node {}: {error}; choose another --base-port", node.number);
                return Err(DevError::Failed(text));
            }
        }
    }
    Ok(())
}

/// The file with the secret, made when it is not there.
pub(super) fn secret(directory: &Path) -> Result<PathBuf, DevError> {
    let path = directory.join(SECRET_FILE);
    let write = || -> io::Result<()> {
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => writeln!(file, "{}", random_text()?),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    };
    write().map_err(|error| failed(&path, &error))?;
    // Nodes are started in this process' directory, yet the path shall mean the same whatever that is.
    fs::canonicalize(&path).map_err(|error| failed(&path, &error))
}

/// 32 random bytes as hexadecimal digits.
pub(super) fn random_text() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Removes what only a running cluster has.
pub(super) fn forget(directory: &Path) {
    let _ = fs::remove_file(state::path(directory));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::plan::{Options, nodes};
    use crate::dev::state::NodeState;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn only_what_is_still_the_same_process_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let mark = ProcessMark::of(child.id()).unwrap();
        let address = "127.0.0.1:1".parse().unwrap();
        let leave = |process| {
            let node = NodeState { listen: address, peers: address, process: Some(process) };
            let state = State { parent: mark, control: address, token: String::new(), nodes: vec![node] };
            state.write(directory.path()).unwrap();
        };
        leave(ProcessMark { began: mark.began + 1, ..mark });
        take_over(directory.path(), 1, PATIENCE).unwrap();
        assert!(mark.is_alive(), "another process has the id");
        leave(mark);
        take_over(directory.path(), 1, PATIENCE).unwrap();
        assert!(!mark.is_alive());
        child.wait().unwrap();
    }

    #[test]
    fn a_directory_keeps_its_number_of_nodes() {
        let directory = tempfile::tempdir().unwrap();
        take_over(directory.path(), 3, PATIENCE).unwrap();
        for number in 0..3 {
            fs::create_dir(directory.path().join(format!("node-{number}"))).unwrap();
        }
        take_over(directory.path(), 3, PATIENCE).unwrap();
        let error = take_over(directory.path(), 5, PATIENCE).unwrap_err().to_string();
        assert!(error.contains("a cluster of 3 nodes"), "{error}");
    }

    #[test]
    fn a_secret_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = secret(directory.path()).unwrap();
        let first = fs::read(&path).unwrap();
        assert!(path.is_absolute() && first.len() == 65);
        secret(directory.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let base_port = (taken % 20_000) + 10_000;
        let held = TcpListener::bind(("127.0.0.1", base_port + 2000));
        let options =
            Options { nodes: 1, directory: PathBuf::new(), base_port, cores: 1, is_direct: false, flags: Vec::new() };
        let error = probe_ports(&nodes(&options).unwrap(), 1).unwrap_err().to_string();
        drop(held);
        assert!(error.contains(&(base_port + 2000).to_string()) || error.contains("in use"), "{error}");
    }
}
