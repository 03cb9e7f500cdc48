//! A small server of GET and SET on 127.0.0.1 that misbehaves as told, and a way to run the binary against it.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub mod cluster;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server does wrong; every number counts requests of its kind, from 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Acknowledges every n-th SET and forgets it.
    pub forgets: Option<u64>,
    /// Flips a bit of every n-th value that is read.
    pub flips: Option<u64>,
    /// Answers every n-th SET with an error.
    pub refuses: Option<u64>,
    /// Copies fewer than WAIT asks for, at every n-th WAIT.
    pub copies_less: Option<u64>,
    /// Does nothing at all for a while at the n-th request.
    pub pauses: Option<(u64, Duration)>,
    /// Closes the connection at every n-th request.
    pub closes: Option<u64>,
    /// Closes every connection from the n-th request on, and takes no more.
    pub dies: Option<u64>,
}

struct State {
    faults: Faults,
    values: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    sets: AtomicU64,
    gets: AtomicU64,
    waits: AtomicU64,
    requests: AtomicU64,
    stopped: AtomicBool,
}

/// The server; its threads end with the process.
pub struct Server {
    pub port: u16,
    state: Arc<State>,
}

fn nth(counter: &AtomicU64, every: Option<u64>) -> bool {
    let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
    every.is_some_and(|every| number.is_multiple_of(every))
}

impl Server {
    pub fn start(faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State {
            faults,
            values: Mutex::default(),
            sets: AtomicU64::new(0),
            gets: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { port, state }
    }

    /// WAITs among them.
    pub fn waits(&self) -> u64 {
        self.state.waits.load(Ordering::SeqCst)
    }

    /// Requests that came.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream);
    loop {
        let Some(arguments) = command(&mut input)? else { return Ok(()) };
        let request = state.requests.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some((at, length)) = state.faults.pauses
            && request == at
        {
            // Holding the values stops every connection.
            let _all = state.values.lock().expect("no thread panics");
            std::thread::sleep(length);
        }
        if state.faults.dies.is_some_and(|from| request >= from) {
            state.stopped.store(true, Ordering::SeqCst);
            return Ok(());
        }
        if state.faults.closes.is_some_and(|every| request.is_multiple_of(every)) {
            return Ok(());
        }
        let mut values = state.values.lock().expect("no thread panics");
        match &arguments[..] {
            [name, key, value] if name == b"SET" => {
                let refused = state
                    .faults
                    .refuses
                    .is_some_and(|every| (state.sets.load(Ordering::SeqCst) + 1).is_multiple_of(every));
                let forgotten = nth(&state.sets, state.faults.forgets);
                if refused {
                    out.write_all(b"-OOM command not allowed\r\n")?;
                    continue;
                }
                if !forgotten {
                    values.insert(key.clone(), value.clone());
                }
                out.write_all(b"+OK\r\n")?;
            }
            [name, key] if name == b"GET" => {
                let flipped = nth(&state.gets, state.faults.flips);
                match values.get(key) {
                    None => out.write_all(b"$-1\r\n")?,
                    Some(value) => {
                        let mut reply = format!("${}\r\n", value.len()).into_bytes();
                        reply.extend_from_slice(value);
                        if flipped {
                            let last = reply.len() - 1;
                            reply[last] ^= 1;
                        }
                        reply.extend_from_slice(b"\r\n");
                        out.write_all(&reply)?;
                    }
                }
            }
            [name, copies, _] if name == b"WAIT" => {
                let wanted: i64 =
                    std::str::from_utf8(copies).ok().and_then(|text| text.parse().ok()).expect("a number");
                let copied = wanted - i64::from(nth(&state.waits, state.faults.copies_less));
                out.write_all(format!(":{copied}\r\n").as_bytes())?;
            }
            _ => out.write_all(b"-ERR unknown command\r\n")?,
        }
    }
}

pub fn command(input: &mut impl BufRead) -> std::io::Result<Option<Vec<Vec<u8>>>> {
    let Some(count) = header(input)? else { return Ok(None) };
    let mut arguments = Vec::new();
    for _ in 0..count {
        let Some(length) = header(input)? else { return Ok(None) };
        let mut argument = vec![0; length + 2];
        input.read_exact(&mut argument)?;
        argument.truncate(length);
        arguments.push(argument);
    }
    Ok(Some(arguments))
}

fn header(input: &mut impl BufRead) -> std::io::Result<Option<usize>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(line[1..].trim_end().parse().ok())
}

/// Runs `annulus-load run` against a port; gives what it said and the JSON report.
pub fn run(port: u16, options: &str) -> (Output, serde_json::Value) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let json = directory.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_annulus-load"))
        .args(["run", "--endpoint", &format!("127.0.0.1:{port}"), "--quiet", "--json"])
        .arg(&json)
        .args(options.split_whitespace())
        .output()
        .expect("the binary can be started");
    let text = std::fs::read(&json).unwrap_or_else(|_| b"null".to_vec());
    (output, serde_json::from_slice(&text).expect("a report is JSON"))
}
