//! Our own commands on keys, and on how many nodes have to answer for a connection's commands.

use super::access::{ACCESS, DELETE, OW, RM, RO, UPDATE};
use super::build::rows;
use super::{Command::*, Route::*, Row};

pub(super) static KEYS: &[Row] = rows! { String:
    "dyn.get" -2 (1 1 1) [READONLY FAST] "0.1.0"
        => served(DynGet, Protocol, "key [R count] [PR count]", "O(N) for N siblings",
            "Returns the context of a key and the values of all its siblings, the newest first.")
        .access(RO | ACCESS);
    "dyn.put" -3 (1 1 1) [WRITE DENYOOM] "0.1.0"
        => served(DynPut, Protocol, "key value [CONTEXT context] [REPEATABLE <yes | no>] [W count] [PW count] [DW count] \
            [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds]", "O(N) for N siblings",
            "Sets the value of a key in place of the siblings that the context has seen, and returns the new context.")
        .access(OW | UPDATE);
    "dyn.del" -2 (1 1 1) [WRITE FAST] "0.1.0"
        => served(DynDel, Protocol, "key [CONTEXT context] [R count] [W count] [PR count] [PW count] [DW count]",
            "O(N) for N siblings", "Deletes the siblings of a key that the context has seen, and returns the new context.")
        .access(RM | DELETE);
};

pub(super) static CONNECTION: &[Row] = rows! { Connection:
    "dyn.consistency" -1 () [NOSCRIPT LOADING STALE FAST] "0.1.0"
        => served(DynConsistency, Session,
            "[R count] [W count] [PR count] [PW count] [DW count] [ATTRIBUTES <yes | no>]", "O(1)",
            "Sets how many nodes answer for the connection's commands, or returns what is in force.");
};
