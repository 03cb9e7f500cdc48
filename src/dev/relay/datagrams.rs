//! UDP: each datagram to a node's front is sent on to the node from the front of its sender.
//!
//! Invariant: a delayed datagram is sent at its time or dropped; never more than [`WAITING_MAX`] wait.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{LOOK, Shared};

/// Delayed datagrams of one node.
const WAITING_MAX: usize = 4096;
/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

/// What waits, by its time and a number.
type Waiting = BTreeMap<(Instant, u64), (Option<usize>, Vec<u8>)>;

/// Forwards datagrams to one node until the relay ends.
pub(super) fn forward(shared: &Shared, to: usize) {
    let socket = &shared.fronts[to];
    let mut waiting = Waiting::new();
    let mut number = 0;
    let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
    while !shared.is_stopped() {
        send_due(shared, to, &mut waiting);
        let next = waiting.first_key_value().map(|((due, _), _)| due.saturating_duration_since(Instant::now()));
        let patience = next.unwrap_or(LOOK).clamp(Duration::from_millis(1), LOOK);
        if socket.set_read_timeout(Some(patience)).is_err() {
            return;
        }
        let Ok((count, source)) = socket.recv_from(&mut bytes) else { continue };
        let from = shared.node_of(source.ip());
        let delay = shared.faults.delay(from, Some(to));
        if delay.is_zero() {
            send(shared, from, to, &bytes[..count]);
        } else if waiting.len() < WAITING_MAX {
            waiting.insert((Instant::now() + delay, number), (from, bytes[..count].to_vec()));
            number += 1;
        }
    }
}

fn send_due(shared: &Shared, to: usize, waiting: &mut Waiting) {
    let now = Instant::now();
    while let Some(first) = waiting.first_entry().filter(|first| first.key().0 <= now) {
        let (from, bytes) = first.remove();
        send(shared, from, to, &bytes);
    }
}

fn send(shared: &Shared, from: Option<usize>, to: usize, bytes: &[u8]) {
    if shared.faults.passes(from, Some(to)) {
        // A datagram that is not sent is lost, as any may be.
        let _ = shared.fronts[from.unwrap_or(to)].send_to(bytes, shared.nodes[to].real);
    }
}
