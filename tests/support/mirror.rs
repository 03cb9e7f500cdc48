//! `redis-server` beside ours, so that what Redis says is asked and not remembered.

use super::directory::Directory;
use super::node::free_ports;
use super::resp::Client;
use super::wait_until;
use std::process::{Child, Command, Stdio};

/// A `redis-server` without persistence, ended when dropped.
pub struct Mirror {
    child: Child,
    /// where it listens
    pub port: u16,
}

impl Mirror {
    /// None, loudly, when it is not installed.
    pub fn start(directory: &Directory) -> Option<Mirror> {
        let port = free_ports();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(directory.path())
            .stdout(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            eprintln!("SKIPPED: redis-server is not installed, replies are compared with the recorded ones only");
            return None;
        };
        wait_until("redis-server to serve", || {
            Client::try_connect(port).is_ok_and(|mut client| client.try_command(&[b"PING"]).is_ok())
        });
        Some(Mirror { child, port })
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
