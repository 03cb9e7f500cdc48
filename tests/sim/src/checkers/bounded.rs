//! Queues are bounded: a core never has more under way than its limits say, and once all is quiet it has nothing.

use annulus_cluster::limits::Limits;

use super::{Promise, Violation};
use crate::node::Load;

/// Checks what a core has under way. Gives 1.
pub fn check(node: usize, core: u16, load: Load, limits: &Limits, targets: usize) -> Result<u64, Violation> {
    let most = [
        ("requests", load.requests, limits.requests_max),
        ("operations for others", load.operations, limits.replica_operations_max),
        ("hints that it hands over", load.hints_in_flight, limits.hints_in_flight_max * targets),
        ("exchanges", load.exchanges, limits.exchanges_max),
    ];
    match most.into_iter().find(|(_, has, most)| has > most) {
        None => Ok(1),
        Some((what, has, most)) => {
            let text = format!("core {core} of n{node} has {has} {what} under way, at most {most} are allowed");
            Err(Violation::new(Promise::Bounded, None, text))
        }
    }
}

/// A core that nobody asks anything any more is idle.
pub fn check_idle(node: usize, core: u16, load: Load) -> Result<u64, Violation> {
    // Owners compare what they have whether anybody asks or not.
    if (Load { exchanges: 0, ..load }) == Load::default() {
        return Ok(1);
    }
    let text = format!("all is quiet, and core {core} of n{node} still has {load:?} under way");
    Err(Violation::new(Promise::Bounded, None, text))
}
