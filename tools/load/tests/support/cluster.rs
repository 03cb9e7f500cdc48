//! A small cluster on 127.0.0.1 whose nodes share one store of siblings, and that misbehaves as told.
//!
//! A dot is a number, a context is the dots that are live, and a command without a context replaces all that is there: what the
//! real store promises, without any of what makes it hard.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use super::command;

/// What the cluster does wrong, each at every n-th write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing.
    Nothing,
    /// Acknowledges and forgets.
    Forgets,
    /// Executes twice what has a context.
    ExecutesTwice,
    /// Replaces siblings that the context has not seen.
    IgnoresContext,
    /// Keeps siblings that the context has seen, and what is deleted.
    KeepsReplaced,
    /// Says that it refuses, and executes.
    RefusesFalsely,
    /// Says that it refuses, and is honest.
    Refuses,
    /// Leaves open whether it has executed, and has not.
    Doubts,
    /// Executes and closes the connection.
    Closes,
    /// The last node shows nothing at all.
    HidesAtOneNode,
}

/// Every which write goes wrong.
const EVERY: u64 = 7;

#[derive(Default)]
struct Store {
    keys: HashMap<Vec<u8>, Vec<(u64, Vec<u8>)>>,
    writes: u64,
}

/// What a write does to a key.
struct Change<'a> {
    key: &'a [u8],
    value: Option<&'a [u8]>,
    /// `None` replaces everything.
    seen: Option<Vec<u64>>,
}

/// The nodes' ports; their threads end with the process.
pub struct Cluster {
    ports: Vec<u16>,
}

impl Cluster {
    /// Nodes that share a store.
    pub fn start(nodes: usize, wrong: Wrong) -> Self {
        let store = Arc::new(Mutex::new(Store::default()));
        let start = |node: usize| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
            let port = listener.local_addr().expect("it is bound").port();
            let store = Arc::clone(&store);
            let hides = wrong == Wrong::HidesAtOneNode && node + 1 == nodes;
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let store = Arc::clone(&store);
                    std::thread::spawn(move || drop(serve(stream, &store, wrong, hides)));
                }
            });
            port
        };
        Self { ports: (0..nodes).map(start).collect() }
    }

    /// Runs `annulus-load torture` against it; gives what it said and the JSON report.
    pub fn torture(&self, options: &str) -> (Output, serde_json::Value) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let json = directory.path().join("report.json");
        let endpoints: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let output = Command::new(env!("CARGO_BIN_EXE_annulus-load"))
            .args(["torture", "--endpoints", &endpoints.join(","), "--json"])
            .arg(&json)
            .args(options.split_whitespace())
            .output()
            .expect("the binary can be started");
        let text = std::fs::read(&json).unwrap_or_else(|_| b"null".to_vec());
        (output, serde_json::from_slice(&text).expect("a report is JSON"))
    }
}

fn serve(stream: TcpStream, store: &Mutex<Store>, wrong: Wrong, hides: bool) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream);
    while let Some(arguments) = command(&mut input)? {
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let mut store = store.lock().expect("no thread panics");
        let reply = match arguments[..] {
            [b"PING"] => b"+PONG\r\n".to_vec(),
            [b"GET", key] => {
                let newest = store.keys.get(key).and_then(|siblings| siblings.iter().max()).filter(|_| !hides);
                newest.map_or(b"$-1\r\n".to_vec(), |(_, value)| bulk(value))
            }
            [b"DYN.GET", key] | [b"DYN.GET", key, b"R", _] => {
                let siblings = store.keys.get(key).cloned().filter(|_| !hides).unwrap_or_default();
                let dots: Vec<String> = siblings.iter().map(|(dot, _)| dot.to_string()).collect();
                let values = siblings.iter().flat_map(|(_, value)| bulk(value));
                let head = format!("*{}\r\n", 1 + siblings.len()).into_bytes();
                head.into_iter().chain(bulk(dots.join(",").as_bytes())).chain(values).collect()
            }
            [b"DYN.PUT", key, value, b"CONTEXT", context]
            | [b"DYN.PUT", key, value, b"CONTEXT", context, b"REPEATABLE", _] => {
                let change = Change { key, value: Some(value), seen: Some(dots(context)) };
                answer(store.change(&change, wrong), b"$1\r\nc\r\n")
            }
            [b"DYN.DEL", key, b"CONTEXT", context] => {
                let change = Change { key, value: None, seen: Some(dots(context)) };
                answer(store.change(&change, wrong), b"$1\r\nc\r\n")
            }
            [b"SET", key, value] => {
                answer(store.change(&Change { key, value: Some(value), seen: None }, wrong), b"+OK\r\n")
            }
            [b"DEL", key] => answer(store.change(&Change { key, value: None, seen: None }, wrong), b":1\r\n"),
            _ => b"-ERR unknown command\r\n".to_vec(),
        };
        if reply.is_empty() {
            return Ok(());
        }
        drop(store);
        out.write_all(&reply)?;
    }
    Ok(())
}

/// `Ok` for what was done, an error's text, or nothing for a connection that ends.
fn answer(done: Result<(), &'static str>, success: &[u8]) -> Vec<u8> {
    match done {
        Ok(()) => success.to_vec(),
        Err(text) => text.as_bytes().to_vec(),
    }
}

impl Store {
    fn change(&mut self, change: &Change<'_>, wrong: Wrong) -> Result<(), &'static str> {
        self.writes += 1;
        let wrong = if self.writes.is_multiple_of(EVERY) { wrong } else { Wrong::Nothing };
        let execute = |store: &mut Self, seen: Option<&[u64]>| {
            let dot = store.writes * 2;
            let siblings = store.keys.entry(change.key.to_vec()).or_default();
            siblings.retain(|(dot, _)| seen.is_some_and(|seen| !seen.contains(dot)));
            siblings.extend(change.value.map(|value| (dot, value.to_vec())));
        };
        let seen = change.seen.as_deref();
        match wrong {
            Wrong::Nothing | Wrong::HidesAtOneNode => execute(self, seen),
            Wrong::Forgets => {}
            Wrong::ExecutesTwice => {
                execute(self, seen);
                if let (Some(value), Some(_)) = (change.value, seen) {
                    let siblings = self.keys.entry(change.key.to_vec()).or_default();
                    siblings.push((self.writes * 2 + 1, value.to_vec()));
                }
            }
            Wrong::IgnoresContext => execute(self, None),
            Wrong::KeepsReplaced => execute(self, Some(&[])),
            Wrong::RefusesFalsely => {
                execute(self, seen);
                return Err("-NOREPLICAS nothing was sent\r\n");
            }
            Wrong::Refuses => return Err("-NOREPLICAS nothing was sent\r\n"),
            Wrong::Doubts => return Err("-INDOUBT 1 of 2\r\n"),
            Wrong::Closes => {
                execute(self, seen);
                return Err("");
            }
        }
        Ok(())
    }
}

fn dots(context: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(context).expect("a context of ours");
    text.split(',').filter(|dot| !dot.is_empty()).map(|dot| dot.parse().expect("a dot")).collect()
}

fn bulk(value: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}
