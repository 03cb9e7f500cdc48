//! DYN.ADMIN: our own commands on the node, for whoever runs it.
//!
//! How to add one stands in `commands::admin`.

use super::build::rows;
use super::{Command::*, Route::*, Row};

const FIGURES: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

pub(super) static ROWS: &[Row] = rows! { Server:
    "dyn.admin" -2 () [] "0.1.0"
        => served(DynAdmin, Session, "", "Depends on the subcommand.", "Holds the commands on running the node.")
        .container(ADMIN);
};

static ADMIN: &[Row] = rows! { Server:
    "dyn.admin|compaction" 3 () [ADMIN NOSCRIPT STALE] "0.1.0"
        => served(DynAdminCompaction, Session, "<PAUSE | RESUME>", "O(N) for N cores",
            "Holds drains and compactions back, or lets them go on. While they are held back the log grows.")
        .tips(FIGURES);
    "dyn.admin|help" 2 () [LOADING STALE] "0.1.0" => help();
    "dyn.admin|hints" 2 () [ADMIN NOSCRIPT STALE] "0.1.0"
        => served(DynAdminHints, Session, "", "O(N) for N nodes and cores",
            "Returns what each core keeps for nodes that did not answer.")
        .tips(FIGURES);
    "dyn.admin|join" -2 () [ADMIN NOSCRIPT STALE] "0.1.0"
        => served(DynAdminJoin, Session, "[node]", "O(N) for N partitions",
            "Lets a node own its share: this one, or the one with that id or address.");
    "dyn.admin|leave" -2 () [ADMIN NOSCRIPT STALE] "0.1.0"
        => served(DynAdminLeave, Session, "[node]", "O(N) for N partitions",
            "Lets a node own nothing any more: this one, or the one with that id or address.");
    "dyn.admin|members" 2 () [ADMIN NOSCRIPT STALE] "0.1.0"
        => served(DynAdminMembers, Session, "", "O(N) for N nodes", "Returns the map of the cluster as this node has it.")
        .tips(FIGURES);
    "dyn.admin|merkle" -2 () [ADMIN NOSCRIPT STALE] "0.1.0"
        => served(DynAdminMerkle, Session, "[first [last]]", "O(N) for N partitions",
            "Returns the Merkle root of all partitions, of one, or of some.")
        .tips(FIGURES);
    "dyn.admin|partitions" -2 () [ADMIN NOSCRIPT STALE] "0.1.0"
        => served(DynAdminPartitions, Session, "[first [last]]", "O(N) for N partitions",
            "Returns core, keys and files of all partitions, of one, or of some.")
        .tips(FIGURES);
    "dyn.admin|ring" 2 () [ADMIN NOSCRIPT STALE] "0.1.0"
        => served(DynAdminRing, Session, "", "O(N) for N partitions", "Returns how the partitions are spread over the nodes.")
        .tips(FIGURES);
    "dyn.admin|scrub" -2 () [ADMIN NOSCRIPT STALE] "0.1.0"
        => served(DynAdminScrub, Session, "[PLACES | NOW]", "O(N) for N cores",
            "Returns how far the scrub has come, or the damaged places that it has found, or lets it read everything now.")
        .tips(FIGURES);
    "dyn.admin|snapshot" 3 () [ADMIN NOSCRIPT] "0.1.0"
        => served(DynAdminSnapshot, Session, "directory", "O(N) for N files, and for the bytes of the log",
            "Keeps what the node holds in a directory of its machine, while writes go on. Replies when it is complete.")
        .tips(FIGURES);
    "dyn.admin|status" 2 () [ADMIN NOSCRIPT STALE] "0.1.0"
        => served(DynAdminStatus, Session, "", "O(N) for N cores", "Returns how the node, the cluster, and each of its cores stand.")
        .tips(FIGURES);
    "dyn.admin|sync" -2 () [ADMIN NOSCRIPT STALE] "0.1.0"
        => served(DynAdminSync, Session, "[first [last]]", "O(N) for N partitions",
            "Returns since when copies are known to be equal, for all partitions, one, or some, by other owner.")
        .tips(FIGURES);
};
