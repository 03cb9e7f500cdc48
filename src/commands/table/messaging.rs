//! Publishing, transactions and scripts; all refused.

use super::Row;
use super::build::rows;
use super::refusals::{MESSAGES, SCRIPTS, TRANSACTIONS, WATCHING};

pub(super) static MESSAGING: &[Row] = rows! { Pubsub:
    "psubscribe" -2 () [PUBSUB NOSCRIPT LOADING STALE] "2.0.0" => refused(MESSAGES);
    "publish" 3 () [PUBSUB LOADING STALE FAST] "2.0.0" => refused(MESSAGES);
    "pubsub" -2 () [] "2.8.0" => refused(MESSAGES).container(PUBSUB);
    "punsubscribe" -1 () [PUBSUB NOSCRIPT LOADING STALE] "2.0.0" => refused(MESSAGES);
    "spublish" 3 (1 1 1) [PUBSUB LOADING STALE FAST] "7.0.0" => refused(MESSAGES);
    "ssubscribe" -2 (1 -1 1) [PUBSUB NOSCRIPT LOADING STALE] "7.0.0" => refused(MESSAGES);
    "subscribe" -2 () [PUBSUB NOSCRIPT LOADING STALE] "2.0.0" => refused(MESSAGES);
    "sunsubscribe" -1 (1 -1 1) [PUBSUB NOSCRIPT LOADING STALE] "7.0.0" => refused(MESSAGES);
    "unsubscribe" -1 () [PUBSUB NOSCRIPT LOADING STALE] "2.0.0" => refused(MESSAGES);
};

pub(super) static TRANSACTION: &[Row] = rows! { Transactions:
    "discard" 1 () [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] "2.0.0" => refused(TRANSACTIONS);
    "exec" 1 () [NOSCRIPT LOADING STALE SKIP_SLOWLOG] "1.2.0" => refused(TRANSACTIONS);
    "multi" 1 () [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] "1.2.0" => refused(TRANSACTIONS);
    "unwatch" 1 () [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] "2.2.0" => refused(WATCHING);
    "watch" -2 (1 -1 1) [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] "2.2.0" => refused(WATCHING);
};

pub(super) static SCRIPTING: &[Row] = rows! { Scripting:
    "eval" -3 () [NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS MOVABLEKEYS] "2.6.0" => refused(SCRIPTS);
    "eval_ro" -3 () [READONLY NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS MOVABLEKEYS] "7.0.0"
        => refused(SCRIPTS);
    "evalsha" -3 () [NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS MOVABLEKEYS] "2.6.0" => refused(SCRIPTS);
    "evalsha_ro" -3 () [READONLY NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS MOVABLEKEYS] "7.0.0"
        => refused(SCRIPTS);
    "fcall" -3 () [NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS MOVABLEKEYS] "7.0.0" => refused(SCRIPTS);
    "fcall_ro" -3 () [READONLY NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS MOVABLEKEYS] "7.0.0"
        => refused(SCRIPTS);
    "function" -2 () [] "7.0.0" => refused(SCRIPTS).container(FUNCTION);
    "script" -2 () [] "2.6.0" => refused(SCRIPTS).container(SCRIPT);
};

static PUBSUB: &[Row] = rows! { Pubsub:
    "pubsub|channels" -2 () [PUBSUB LOADING STALE] "2.8.0" => refused(MESSAGES);
    "pubsub|help" 2 () [LOADING STALE] "6.2.0" => refused(MESSAGES);
    "pubsub|numpat" 2 () [PUBSUB LOADING STALE] "2.8.0" => refused(MESSAGES);
    "pubsub|numsub" -2 () [PUBSUB LOADING STALE] "2.8.0" => refused(MESSAGES);
    "pubsub|shardchannels" -2 () [PUBSUB LOADING STALE] "7.0.0" => refused(MESSAGES);
    "pubsub|shardnumsub" -2 () [PUBSUB LOADING STALE] "7.0.0" => refused(MESSAGES);
};

static FUNCTION: &[Row] = rows! { Scripting:
    "function|delete" 3 () [WRITE NOSCRIPT] "7.0.0" => refused(SCRIPTS);
    "function|dump" 2 () [NOSCRIPT] "7.0.0" => refused(SCRIPTS);
    "function|flush" -2 () [WRITE NOSCRIPT] "7.0.0" => refused(SCRIPTS);
    "function|help" 2 () [LOADING STALE] "7.0.0" => refused(SCRIPTS);
    "function|kill" 2 () [NOSCRIPT ALLOW_BUSY] "7.0.0" => refused(SCRIPTS);
    "function|list" -2 () [NOSCRIPT] "7.0.0" => refused(SCRIPTS);
    "function|load" -3 () [WRITE DENYOOM NOSCRIPT] "7.0.0" => refused(SCRIPTS);
    "function|restore" -3 () [WRITE DENYOOM NOSCRIPT] "7.0.0" => refused(SCRIPTS);
    "function|stats" 2 () [NOSCRIPT ALLOW_BUSY] "7.0.0" => refused(SCRIPTS);
};

static SCRIPT: &[Row] = rows! { Scripting:
    "script|debug" 3 () [NOSCRIPT] "3.2.0" => refused(SCRIPTS);
    "script|exists" -3 () [NOSCRIPT] "2.6.0" => refused(SCRIPTS);
    "script|flush" -2 () [NOSCRIPT] "2.6.0" => refused(SCRIPTS);
    "script|help" 2 () [LOADING STALE] "5.0.0" => refused(SCRIPTS);
    "script|kill" 2 () [NOSCRIPT ALLOW_BUSY] "2.6.0" => refused(SCRIPTS);
    "script|load" 3 () [NOSCRIPT STALE] "2.6.0" => refused(SCRIPTS);
};
