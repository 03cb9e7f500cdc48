//! String commands.

use super::access::{ACCESS, DELETE, OW, RO, RW, UPDATE, VARIABLE_FLAGS};
use super::build::rows;
use super::refusals::{COMPARE_AND_SET, COMPARISON, READ_MODIFY_WRITE};
use super::{Command::*, Gather::*, Route::*, Row};

const MULTI_SHARD: &[&str] = &["request_policy:multi_shard"];
const MULTI_SHARD_OK: &[&str] = &["request_policy:multi_shard", "response_policy:all_succeeded"];

pub(super) static ROWS: &[Row] = rows! { String:
    "get" 2 (1 1 1) [READONLY FAST] "1.0.0"
        => served(Get, OneKey, "key", "O(1)", "Returns the value of a key.")
        .access(RO | ACCESS);
    "set" -3 (1 1 1) [WRITE DENYOOM] "1.0.0"
        => served(Set, OneKey, "key value [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
            PXAT unix-time-milliseconds | KEEPTTL]", "O(1)",
            "Sets the value of a key, whatever it held, and removes or sets its expiry.")
        .access(RW | ACCESS | UPDATE | VARIABLE_FLAGS);
    "setex" 4 (1 1 1) [WRITE DENYOOM] "2.0.0"
        => served(SetEx, OneKey, "key seconds value", "O(1)", "Sets the value of a key and its expiry in seconds.")
        .access(OW | UPDATE).deprecated("2.6.12", "`SET` with the `EX` argument");
    "psetex" 4 (1 1 1) [WRITE DENYOOM] "2.6.0"
        => served(PSetEx, OneKey, "key milliseconds value", "O(1)",
            "Sets the value of a key and its expiry in milliseconds.")
        .access(OW | UPDATE).deprecated("2.6.12", "`SET` with the `PX` argument");
    "getset" 3 (1 1 1) [WRITE DENYOOM FAST] "1.0.0"
        => served(GetSet, OneKey, "key value", "O(1)", "Sets the value of a key and returns the one before.")
        .access(RW | ACCESS | UPDATE).deprecated("6.2.0", "`SET` with the `GET` argument");
    "getdel" 2 (1 1 1) [WRITE FAST] "6.2.0"
        => served(GetDel, OneKey, "key", "O(1)", "Returns the value of a key and deletes the key.")
        .access(RW | ACCESS | DELETE);
    "getex" -2 (1 1 1) [WRITE FAST] "6.2.0"
        => served(GetEx, OneKey, "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
            PXAT unix-time-milliseconds | PERSIST]", "O(1)",
            "Returns the value of a key and sets or removes its expiry.")
        .access(RW | ACCESS | UPDATE);
    "mget" -2 (1 -1 1) [READONLY FAST] "1.0.0"
        => served(MGet, Gather(Positions), "key [key ...]", "O(N) for N keys",
            "Returns the values of several keys, each read on its own.")
        .access(RO | ACCESS).tips(MULTI_SHARD);
    "mset" -3 (1 -1 2) [WRITE DENYOOM] "1.0.1"
        => served(MSet, Gather(AllOk), "key value [key value ...]", "O(N) for N keys",
            "Sets the values of several keys, each atomic on its own.")
        .access(OW | UPDATE).tips(MULTI_SHARD_OK);
    "strlen" 2 (1 1 1) [READONLY FAST] "2.2.0"
        => served(StrLen, OneKey, "key", "O(1)", "Returns the length of a value in bytes.")
        .access(RO);
    "getrange" 4 (1 1 1) [READONLY] "2.4.0"
        => served(GetRange, OneKey, "key start end", "O(N) for N bytes returned", "Returns a part of a value.")
        .access(RO | ACCESS);
    "substr" 4 (1 1 1) [READONLY] "1.0.0"
        => served(Substr, OneKey, "key start end", "O(N) for N bytes returned", "Returns a part of a value.")
        .access(RO | ACCESS).deprecated("2.0.0", "`GETRANGE`");

    "append" 3 (1 1 1) [WRITE DENYOOM FAST] "2.0.0" => refused(READ_MODIFY_WRITE);
    "decr" 2 (1 1 1) [WRITE DENYOOM FAST] "1.0.0" => refused(READ_MODIFY_WRITE);
    "decrby" 3 (1 1 1) [WRITE DENYOOM FAST] "1.0.0" => refused(READ_MODIFY_WRITE);
    "incr" 2 (1 1 1) [WRITE DENYOOM FAST] "1.0.0" => refused(READ_MODIFY_WRITE);
    "incrby" 3 (1 1 1) [WRITE DENYOOM FAST] "1.0.0" => refused(READ_MODIFY_WRITE);
    "incrbyfloat" 3 (1 1 1) [WRITE DENYOOM FAST] "2.6.0" => refused(READ_MODIFY_WRITE);
    "setrange" 4 (1 1 1) [WRITE DENYOOM] "2.2.0" => refused(READ_MODIFY_WRITE);
    "setnx" 3 (1 1 1) [WRITE DENYOOM FAST] "1.0.0" => refused(COMPARE_AND_SET);
    "msetnx" -3 (1 -1 2) [WRITE DENYOOM] "1.0.1" => refused(COMPARE_AND_SET);
    "lcs" -3 (1 2 1) [READONLY] "7.0.0" => refused(COMPARISON);
};
