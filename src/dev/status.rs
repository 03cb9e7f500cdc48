//! How the nodes stand: asked by one thread each, shown as a table.
//!
//! Invariant: a node that does not answer holds up nobody but its own thread, and its last answer is never shown as of now.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::admin::{self, Question};

/// Between two questions.
const INTERVAL: Duration = Duration::from_millis(250);
/// An answer is of now for so long.
const FRESH: Duration = Duration::from_secs(2);

/// What a node said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// `ready`, `loading`, …
    pub phase: String,
    /// Members that own partitions.
    pub members: u64,
    /// Of them, those that it takes for up.
    pub members_up: u64,
    /// Keys that it holds.
    pub keys: u64,
    /// N, R and W that are in force.
    pub quorums: [u64; 3],
}

type Answer = Option<(Instant, Standing)>;

/// Asks every node again and again.
#[derive(Debug)]
pub(super) struct Watch {
    answers: Arc<Vec<Mutex<Answer>>>,
}

impl Standing {
    /// Of the reply to DYN.ADMIN STATUS. A node that says nothing of members is alone.
    fn of(reply: &Value) -> Option<Self> {
        let node = &reply["node"];
        let number = |name: &str| node[name].as_u64().unwrap_or(1);
        let keys = reply["cores"].as_array()?.iter().filter_map(|core| core["keys"].as_u64()).sum();
        Some(Self {
            phase: node["phase"].as_str()?.to_owned(),
            members: number("members_active"),
            members_up: number("members_up"),
            keys,
            quorums: ["copies", "read_quorum", "write_quorum"].map(number),
        })
    }

    /// Asks the node now; `None` while it loads, or when nobody answers.
    pub fn ask(endpoint: SocketAddr) -> Option<Self> {
        let words = vec!["status".to_owned()];
        let question = Question { endpoint: endpoint.to_string(), password_file: None, json: true, words };
        let reply = admin::run(&question).ok()?;
        Self::of(&serde_json::from_str(&reply).ok()?)
    }

    /// Whether it serves in a cluster of `nodes`, all of which it sees.
    pub fn is_complete(&self, nodes: usize) -> bool {
        self.phase == "ready" && [self.members, self.members_up] == [nodes as u64; 2]
    }
}

impl Watch {
    /// Begins; the threads end with the process.
    pub fn start(endpoints: &[SocketAddr]) -> std::io::Result<Self> {
        let answers: Arc<Vec<Mutex<Answer>>> = Arc::new(endpoints.iter().map(|_| Mutex::new(None)).collect());
        for (number, endpoint) in endpoints.iter().enumerate() {
            let (endpoint, answers) = (*endpoint, Arc::clone(&answers));
            let body = move || {
                loop {
                    if let Some(standing) = Standing::ask(endpoint) {
                        *answers[number].lock().expect("no thread panics with it") = Some((Instant::now(), standing));
                    }
                    std::thread::sleep(INTERVAL);
                }
            };
            std::thread::Builder::new().name(format!("dev-status-{number}")).spawn(body)?;
        }
        Ok(Self { answers })
    }

    /// What a node said just now, if it did.
    pub fn of(&self, node: usize) -> Option<Standing> {
        let answer = self.answers[node].lock().expect("no thread panics with it");
        answer.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, standing)| standing.clone())
    }
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// For clients.
    pub listen: SocketAddr,
    /// Its process, while there is one.
    pub process: Option<u32>,
    /// What was done to it.
    pub fault: String,
    /// What it said just now.
    pub standing: Option<Standing>,
}

/// The table, one line for each node below a head.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<5} {:<22} {:>8}  {:<10} {:>8} {:>9}  {}\n",
        "node", "clients", "process", "state", "members", "keys", "fault"
    );
    for (number, row) in rows.iter().enumerate() {
        let process = row.process.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let (state, members, keys) = match (&row.standing, row.process) {
            (Some(said), Some(_)) => {
                (said.phase.as_str(), format!("{}/{}", said.members_up, said.members), said.keys.to_string())
            }
            (_, Some(_)) => ("no answer", "-".to_owned(), "-".to_owned()),
            (_, None) => ("down", "-".to_owned(), "-".to_owned()),
        };
        writeln!(
            text,
            "{number:<5} {:<22} {process:>8}  {state:<10} {members:>8} {keys:>9}  {}",
            row.listen.to_string(),
            row.fault
        )
        .expect("writing to a string");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_node_says_of_itself() {
        let reply = json!({
            "node": { "phase": "ready", "members_active": 3, "members_up": 2, "copies": 3, "read_quorum": 2, "write_quorum": 2 },
            "cores": [{ "keys": 4 }, { "keys": 5 }],
        });
        let standing = Standing::of(&reply).unwrap();
        assert_eq!((standing.keys, standing.quorums, standing.is_complete(3)), (9, [3, 2, 2], false));
        let all = Standing { members_up: 3, ..standing };
        assert!(all.is_complete(3) && !all.is_complete(2));
        let alone = Standing::of(&json!({ "node": { "phase": "ready" }, "cores": [] })).unwrap();
        assert!(alone.is_complete(1) && !alone.is_complete(3));
        assert_eq!(Standing::of(&json!("-LOADING")), None);
    }

    #[test]
    fn the_table_has_a_line_for_each_node() {
        let standing = Standing { phase: "ready".into(), members: 3, members_up: 2, keys: 7, quorums: [3, 2, 2] };
        let listen = "127.0.0.1:7379".parse().unwrap();
        let row = |process, fault: &str, standing| Row { listen, process, fault: fault.into(), standing };
        let text = table(&[
            row(Some(12), "", Some(standing.clone())),
            row(Some(13), "paused", None),
            row(None, "killed", Some(standing)),
        ]);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "node  clients                 process  state       members      keys  fault",
                "0     127.0.0.1:7379               12  ready           2/3         7",
                "1     127.0.0.1:7379               13  no answer         -         -  paused",
                "2     127.0.0.1:7379                -  down              -         -  killed",
            ]
        );
    }
}
