//! What nodes say of the copies that they keep of the same data: hints that wait, roots of trees, and what comparing showed.
//!
//! Invariant: nodes are called equal by the roots of all their partitions, never because one of them did not answer.

use super::node::{ANSWER, Node};
use super::process::pinned;
use super::server::{Programs, Server};
use super::wire;
use crate::shell;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// Between two looks at nodes that shall become equal.
const LOOK: Duration = Duration::from_millis(100);
/// Until they have to be, while nobody writes: several rounds of comparing everything.
pub const SETTLE: Duration = Duration::from_secs(300);

/// A pair of owners of one partition, as one of them sees it; of the words of `DYN.ADMIN SYNC`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Pair {
    /// what was written up to then is on both; `None` = they were never seen to be equal
    pub in_sync_unix_ms: Option<u64>,
    pub objects_received: u64,
    /// of these objects
    pub bytes_received: u64,
}

/// A figure of INFO's section about copies.
pub fn figure(node: &Node, name: &str) -> Result<u64, String> {
    let info = node.ask(&["INFO", "replication"], ANSWER)?;
    wire::field(&info, name).ok_or_else(|| format!("INFO replication has no {name}"))
}

/// Hints that all of those keep that run, for whomever.
pub fn hints(server: &Server) -> Result<u64, String> {
    let kept = |node: &Node| {
        let reply = node.ask(&["DYN.ADMIN", "HINTS"], ANSWER)?;
        let counts = values(&reply, "hints").map(|count| count.parse::<u64>());
        counts.sum::<Result<u64, _>>().map_err(|error| node.failure(&format!("tells no number of hints: {error}")))
    };
    server.nodes().iter().filter(|node| node.is_running()).map(kept).sum()
}

/// What stands behind a name in rows of names and values, one a line.
fn values<'a>(reply: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let lines: Vec<&str> = reply.split('\n').collect();
    let of_name = |pair: &[&'a str]| (pair[0] == name).then(|| pair.get(1).copied()).flatten();
    lines.chunks(2).filter_map(of_name).collect::<Vec<_>>().into_iter()
}

/// Roots of all partitions of a node, in their order.
pub fn roots(node: &Node) -> Result<Vec<String>, String> {
    let reply = node.ask(&["DYN.ADMIN", "MERKLE"], ANSWER)?;
    // A tree may have other leaves than its equal.
    let roots: Vec<String> = values(&reply, "root").map(str::to_string).collect();
    if roots.is_empty() { Err(node.failure("shows no roots")) } else { Ok(roots) }
}

/// Whether all nodes run, no hint waits, and all trees have the same root.
pub fn are_equal(server: &Server) -> Result<bool, String> {
    if server.nodes().iter().any(|node| !node.is_running()) || hints(server)? > 0 {
        return Ok(false);
    }
    let all = server.nodes().iter().map(roots).collect::<Result<Vec<_>, _>>()?;
    Ok(all.windows(2).all(|pair| pair[0] == pair[1]))
}

/// Waits until they are; nobody writes meanwhile. The time that took.
pub fn wait_equal(server: &mut Server) -> Result<Duration, String> {
    let started = Instant::now();
    loop {
        server.check_alive()?;
        // One that still loads answers with an error.
        let now = are_equal(server);
        if now == Ok(true) {
            return Ok(started.elapsed());
        }
        if started.elapsed() > SETTLE {
            let kept = hints(server);
            return Err(format!(
                "copies still differ after {SETTLE:?} without load (hints kept: {kept:?}, equal: {now:?})"
            ));
        }
        std::thread::sleep(LOOK);
    }
}

/// All pairs of which a node is one.
pub fn pairs(programs: &Programs, node: &Node) -> Result<Vec<Pair>, String> {
    let endpoint = format!("127.0.0.1:{}", node.port());
    let mut command = pinned(&[programs.client_cpu], &programs.annulus);
    command.args(["admin", "--endpoint", &endpoint, "sync", "--json"]);
    parse_pairs(&shell::output(&mut command)?)
}

fn parse_pairs(text: &str) -> Result<Vec<Pair>, String> {
    serde_json::from_str(text).map_err(|error| format!("what admin sync says is not understood: {error}"))
}

/// Whether comparing has shown each pair to be equal in what was written up to `unix_ms`.
pub fn are_shown_equal(pairs: &[Pair], unix_ms: u64) -> bool {
    !pairs.is_empty() && pairs.iter().all(|pair| pair.in_sync_unix_ms.is_some_and(|shown| shown >= unix_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_behind_their_names_whatever_is_not_known() {
        let of = |reply: &str, name: &str| values(reply, name).map(str::to_string).collect::<Vec<_>>();
        let reply = "partition\n0\nleaves\n64\nroot\n00ab\npartition\n1\nleaves\n256\nroot\nffff";
        assert_eq!(of(reply, "root"), ["00ab", "ffff"]);
        let reply = "core\n0\ntarget\n0a\nhints\n3\noldest_unix_ms\n\ncore\n1\nhints\n4";
        assert_eq!(of(reply, "hints"), ["3", "4"]);
        assert!(of("", "hints").is_empty() && of("hints", "hints").is_empty());
    }

    #[test]
    fn pairs_are_shown_equal_as_of_their_time_only() {
        let pair = |shown: &str, received| {
            format!(
                r#"{{"partition":0,"core":0,"node":"0a","in_sync_unix_ms":{shown},"seconds_ago":1,"exchanges":1,"differing":0,
                "failed":0,"objects_sent":0,"bytes_sent":0,"objects_received":{received},"bytes_received":178}}"#
            )
        };
        let pairs = parse_pairs(&format!("[{},{}]", pair("5000", 1), pair("7000", 2))).unwrap();
        assert_eq!(pairs.iter().map(|pair| pair.objects_received).sum::<u64>(), 3);
        assert!(are_shown_equal(&pairs, 5000) && !are_shown_equal(&pairs, 5001));
        let never = parse_pairs(&format!("[{}]", pair("null", 0))).unwrap();
        assert!(!are_shown_equal(&never, 0) && !are_shown_equal(&[], 0));
        assert!(parse_pairs("refused").is_err());
    }
}
