//! Afterwards: every key is read from every node, until all nodes say the same and nothing is missing, or time is up; then all
//! of them once more, and that is what counts.
//!
//! A read mends what it finds to differ, so it says nothing about hints and anti-entropy; it does say whether a value is left
//! anywhere that reads reach.
//!
//! Invariant: a key is judged by an answer of every node, or counted as one on which nodes disagree.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::conversation::{Conversation, Failure};
use super::history::{History, Key, Kind, Sibling};
use super::verdict::{Verdict, judge};
use super::workload::{shown, versions};

/// For one answer, and for a connection.
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(500);
/// A node that fails so often in a row gives no more answers in this round.
const FAILURES_MAX: u32 = 3;

/// How to verify.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Every node.
    pub endpoints: &'a [SocketAddr],
    /// Keeps runs apart.
    pub run: &'a str,
    /// How long the cluster may take to agree.
    pub patience: Duration,
    /// By how much clocks may be apart.
    pub skew_ns: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// By workload.
    pub verdicts: BTreeMap<Kind, Verdict>,
    /// Seconds until all nodes agreed and nothing was missing; `None` when they never did.
    pub agreed_after_s: Option<f64>,
    /// Answers that were compared.
    pub answers: u64,
}

/// What one node shows of the keys that were asked for, in their order.
type Shown = Vec<Result<Vec<Sibling>, Failure>>;

/// Verifies all keys of a history.
pub fn run(plan: Plan<'_>, history: &History) -> Found {
    let began = Instant::now();
    let mut pending: Vec<Key> = history.keys().collect();
    let all = pending.clone();
    let mut agreed_after_s = None;
    loop {
        pending = unsettled(plan, history, &pending);
        if pending.is_empty() {
            agreed_after_s = Some(began.elapsed().as_secs_f64());
            break;
        }
        if began.elapsed() > plan.patience {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    let shown = read_all(plan, &all);
    let mut found = Found { agreed_after_s, ..Found::default() };
    found.answers = shown.iter().flatten().filter(|answer| answer.is_ok()).count() as u64;
    for (index, key) in all.iter().enumerate() {
        let verdict = judge_one(plan, history, *key, &shown, index);
        found.verdicts.entry(key.kind).or_default().absorb(verdict);
    }
    found
}

/// Those of `keys` on which nodes disagree, or that are not as they should be.
fn unsettled(plan: Plan<'_>, history: &History, keys: &[Key]) -> Vec<Key> {
    let shown = read_all(plan, keys);
    let is_unsettled =
        |(index, key): (usize, &Key)| (!judge_one(plan, history, *key, &shown, index).is_clean()).then_some(*key);
    keys.iter().enumerate().filter_map(is_unsettled).collect()
}

fn judge_one(plan: Plan<'_>, history: &History, key: Key, shown: &[Shown], index: usize) -> Verdict {
    let writes = history.of(key);
    match agreed(shown.iter().map(|node| &node[index])) {
        Ok(siblings) => judge(key, writes, &siblings, plan.skew_ns),
        Err(why) => Verdict::of_diverged(key, writes, &why),
    }
}

/// What all nodes show, in one order; an error says which of them does not.
fn agreed<'a>(shown: impl Iterator<Item = &'a Result<Vec<Sibling>, Failure>>) -> Result<Vec<Sibling>, String> {
    let mut first: Option<Vec<Sibling>> = None;
    for (node, answer) in shown.enumerate() {
        let mut siblings = answer.clone().map_err(|failure| format!("node {node} shows nothing: {failure}"))?;
        siblings.sort_unstable();
        match &first {
            None => first = Some(siblings),
            Some(first) if *first == siblings => {}
            Some(first) => return Err(format!("node {node} shows {siblings:?}, node 0 {first:?}")),
        }
    }
    Ok(first.expect("there is a node"))
}

/// Every node's answers, asked side by side.
fn read_all(plan: Plan<'_>, keys: &[Key]) -> Vec<Shown> {
    std::thread::scope(|scope| {
        let ask = |endpoint: &SocketAddr| {
            let endpoint = *endpoint;
            scope.spawn(move || read_from(endpoint, plan.run, keys))
        };
        let threads: Vec<_> = plan.endpoints.iter().map(ask).collect();
        threads.into_iter().map(|thread| thread.join().expect("reading does not panic")).collect()
    })
}

fn read_from(endpoint: SocketAddr, run: &str, keys: &[Key]) -> Shown {
    let mut conversation = None;
    let mut failures = 0;
    let read = |key: &Key| {
        if failures >= FAILURES_MAX {
            return Err(Failure::NotConnected);
        }
        let answer = read_one(&mut conversation, endpoint, run, *key);
        match &answer {
            Ok(_) => failures = 0,
            Err(failure) => {
                failures += 1;
                if failure.ends_conversation() {
                    conversation = None;
                }
            }
        }
        answer
    };
    keys.iter().map(read).collect()
}

fn read_one(
    conversation: &mut Option<Conversation>,
    endpoint: SocketAddr,
    run: &str,
    key: Key,
) -> Result<Vec<Sibling>, Failure> {
    let open = match conversation {
        Some(open) => open,
        None => conversation.insert(Conversation::open(endpoint, ANSWER_PATIENCE).map_err(|_| Failure::NotConnected)?),
    };
    let deadline = Instant::now() + ANSWER_PATIENCE;
    match key.kind {
        Kind::Register => shown(open, key, run, deadline),
        _ => versions(open, (key, &[]), run, deadline).map(|(_, siblings)| siblings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torture::history::Id;

    #[test]
    fn nodes_agree_in_any_order_of_siblings() {
        let of = |numbers: &[u32]| -> Result<Vec<Sibling>, Failure> {
            Ok(numbers.iter().map(|number| Sibling::Ids(vec![Id { client: 0, number: *number }])).collect())
        };
        assert_eq!(agreed([of(&[1, 2]), of(&[2, 1])].iter()), Ok(of(&[1, 2]).unwrap()));
        assert!(agreed([of(&[1, 2]), of(&[2])].iter()).unwrap_err().contains("node 1 shows"));
        let silent = [of(&[1]), Err(Failure::Timeout)];
        assert!(agreed(silent.iter()).unwrap_err().contains("node 1 shows nothing: timeout"));
    }
}
