//! Cluster commands: each core is announced as a node of its own.

use super::build::rows;
use super::category::CONNECTION;
use super::refusals::{NODE_FIGURES, OWN_PLACEMENT};
use super::{Command::*, Route::*, Row};

const CHANGES_BY_ITSELF: &[&str] = &["nondeterministic_output"];

pub(super) static ROWS: &[Row] = rows! { Cluster:
    "cluster" -2 () [] "3.0.0"
        => served(Cluster, Session, "", "Depends on the subcommand.", "Holds the commands on the cluster.")
        .container(CLUSTER);
    "readonly" 1 () [LOADING STALE FAST] "3.0.0"
        => served(ReadOnly, Session, "", "O(1)", "Accepted; every node reads for every client.")
        .categories_instead(CONNECTION);
    "readwrite" 1 () [LOADING STALE FAST] "3.0.0"
        => served(ReadWrite, Session, "", "O(1)", "Accepted; undoes READONLY.")
        .categories_instead(CONNECTION);
    "asking" 1 () [FAST] "3.0.0"
        => served(Asking, Session, "", "O(1)", "Accepted; no slot is ever half moved.")
        .categories_instead(CONNECTION);
};

static CLUSTER: &[Row] = rows! { Cluster:
    "cluster|countkeysinslot" 3 () [STALE] "3.0.0"
        => served(ClusterCountKeysInSlot, Slot, "slot",
            "O(N) for N keys of the slot's partition",
            "Counts the keys of a slot.");
    "cluster|getkeysinslot" 4 () [STALE] "3.0.0"
        => served(ClusterGetKeysInSlot, Slot, "slot count", "O(N) for N keys of the slot's partition",
            "Returns some keys of a slot.")
        .tips(CHANGES_BY_ITSELF);
    "cluster|help" 2 () [LOADING STALE] "5.0.0" => help();
    "cluster|info" 2 () [STALE] "3.0.0"
        => served(ClusterInfo, Session, "", "O(1)", "Returns the cluster's state.").tips(CHANGES_BY_ITSELF);
    "cluster|keyslot" 3 () [STALE] "3.0.0"
        => served(ClusterKeySlot, Session, "key-name", "O(N) for N bytes of the key", "Returns the slot of a key.");
    "cluster|links" 2 () [STALE] "7.0.0"
        => served(ClusterLinks, Session, "", "O(N) for N connections",
            "Returns the connections of this node's cores to other nodes.")
        .tips(CHANGES_BY_ITSELF);
    "cluster|myid" 2 () [STALE] "3.0.0"
        => served(ClusterMyId, Session, "", "O(1)", "Returns the id of the node that answers.");
    "cluster|myshardid" 2 () [STALE] "7.2.0"
        => served(ClusterMyShardId, Session, "", "O(1)", "Returns the id of the shard whose primary answers.")
        .tips(CHANGES_BY_ITSELF);
    "cluster|nodes" 2 () [STALE] "3.0.0"
        => served(ClusterNodes, Session, "", "O(N) for N nodes", "Describes the nodes and their slots as text.")
        .tips(CHANGES_BY_ITSELF);
    "cluster|shards" 2 () [STALE] "7.0.0"
        => served(ClusterShards, Session, "", "O(N) for N nodes", "Describes the slots and the nodes that hold them.")
        .tips(CHANGES_BY_ITSELF);
    "cluster|slots" 2 () [STALE] "3.0.0"
        => served(ClusterSlots, Session, "", "O(N) for N nodes", "Describes the slots and the nodes that hold them.")
        .tips(CHANGES_BY_ITSELF).deprecated("7.0.0", "`CLUSTER SHARDS`");

    "cluster|addslots" -3 () [ADMIN STALE NO_ASYNC_LOADING] "3.0.0" => refused(OWN_PLACEMENT);
    "cluster|addslotsrange" -4 () [ADMIN STALE NO_ASYNC_LOADING] "7.0.0" => refused(OWN_PLACEMENT);
    "cluster|bumpepoch" 2 () [ADMIN STALE NO_ASYNC_LOADING] "3.0.0" => refused(OWN_PLACEMENT);
    "cluster|delslots" -3 () [ADMIN STALE NO_ASYNC_LOADING] "3.0.0" => refused(OWN_PLACEMENT);
    "cluster|delslotsrange" -4 () [ADMIN STALE NO_ASYNC_LOADING] "7.0.0" => refused(OWN_PLACEMENT);
    "cluster|failover" -2 () [ADMIN STALE NO_ASYNC_LOADING] "3.0.0" => refused(OWN_PLACEMENT);
    "cluster|flushslots" 2 () [ADMIN STALE NO_ASYNC_LOADING] "3.0.0" => refused(OWN_PLACEMENT);
    "cluster|forget" 3 () [ADMIN STALE NO_ASYNC_LOADING] "3.0.0" => refused(OWN_PLACEMENT);
    "cluster|meet" -4 () [ADMIN STALE NO_ASYNC_LOADING] "3.0.0" => refused(OWN_PLACEMENT);
    "cluster|replicate" 3 () [ADMIN STALE NO_ASYNC_LOADING] "3.0.0" => refused(OWN_PLACEMENT);
    "cluster|reset" -2 () [ADMIN NOSCRIPT STALE] "3.0.0" => refused(OWN_PLACEMENT);
    "cluster|saveconfig" 2 () [ADMIN STALE NO_ASYNC_LOADING] "3.0.0" => refused(OWN_PLACEMENT);
    "cluster|set-config-epoch" 3 () [ADMIN STALE NO_ASYNC_LOADING] "3.0.0" => refused(OWN_PLACEMENT);
    "cluster|setslot" -4 () [ADMIN STALE NO_ASYNC_LOADING] "3.0.0" => refused(OWN_PLACEMENT);
    "cluster|count-failure-reports" 3 () [ADMIN STALE] "3.0.0" => refused(NODE_FIGURES);
    "cluster|replicas" 3 () [ADMIN STALE] "5.0.0" => refused(NODE_FIGURES);
    "cluster|slaves" 3 () [ADMIN STALE] "3.0.0" => refused(NODE_FIGURES);
};
