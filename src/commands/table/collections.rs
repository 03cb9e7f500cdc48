//! Commands on types other than strings, and on strings as bitmaps and sketches; all refused.

use super::Row;
use super::build::rows;
use super::refusals::{BITMAPS, HASHES, LISTS, PLACES, SETS, SKETCHES, SORTED_SETS, STREAMS};

pub(super) static LIST: &[Row] = rows! { List:
    "blmove" 6 (1 2 1) [WRITE DENYOOM NOSCRIPT BLOCKING] "6.2.0" => refused(LISTS);
    "blmpop" -5 () [WRITE BLOCKING MOVABLEKEYS] "7.0.0" => refused(LISTS);
    "blpop" -3 (1 -2 1) [WRITE NOSCRIPT BLOCKING] "2.0.0" => refused(LISTS);
    "brpop" -3 (1 -2 1) [WRITE NOSCRIPT BLOCKING] "2.0.0" => refused(LISTS);
    "brpoplpush" 4 (1 2 1) [WRITE DENYOOM NOSCRIPT BLOCKING] "2.2.0" => refused(LISTS);
    "lindex" 3 (1 1 1) [READONLY] "1.0.0" => refused(LISTS);
    "linsert" 5 (1 1 1) [WRITE DENYOOM] "2.2.0" => refused(LISTS);
    "llen" 2 (1 1 1) [READONLY FAST] "1.0.0" => refused(LISTS);
    "lmove" 5 (1 2 1) [WRITE DENYOOM] "6.2.0" => refused(LISTS);
    "lmpop" -4 () [WRITE MOVABLEKEYS] "7.0.0" => refused(LISTS);
    "lpop" -2 (1 1 1) [WRITE FAST] "1.0.0" => refused(LISTS);
    "lpos" -3 (1 1 1) [READONLY] "6.0.6" => refused(LISTS);
    "lpush" -3 (1 1 1) [WRITE DENYOOM FAST] "1.0.0" => refused(LISTS);
    "lpushx" -3 (1 1 1) [WRITE DENYOOM FAST] "2.2.0" => refused(LISTS);
    "lrange" 4 (1 1 1) [READONLY] "1.0.0" => refused(LISTS);
    "lrem" 4 (1 1 1) [WRITE] "1.0.0" => refused(LISTS);
    "lset" 4 (1 1 1) [WRITE DENYOOM] "1.0.0" => refused(LISTS);
    "ltrim" 4 (1 1 1) [WRITE] "1.0.0" => refused(LISTS);
    "rpop" -2 (1 1 1) [WRITE FAST] "1.0.0" => refused(LISTS);
    "rpoplpush" 3 (1 2 1) [WRITE DENYOOM] "1.2.0" => refused(LISTS);
    "rpush" -3 (1 1 1) [WRITE DENYOOM FAST] "1.0.0" => refused(LISTS);
    "rpushx" -3 (1 1 1) [WRITE DENYOOM FAST] "2.2.0" => refused(LISTS);
};

pub(super) static HASH: &[Row] = rows! { Hash:
    "hdel" -3 (1 1 1) [WRITE FAST] "2.0.0" => refused(HASHES);
    "hexists" 3 (1 1 1) [READONLY FAST] "2.0.0" => refused(HASHES);
    "hget" 3 (1 1 1) [READONLY FAST] "2.0.0" => refused(HASHES);
    "hgetall" 2 (1 1 1) [READONLY] "2.0.0" => refused(HASHES);
    "hincrby" 4 (1 1 1) [WRITE DENYOOM FAST] "2.0.0" => refused(HASHES);
    "hincrbyfloat" 4 (1 1 1) [WRITE DENYOOM FAST] "2.6.0" => refused(HASHES);
    "hkeys" 2 (1 1 1) [READONLY] "2.0.0" => refused(HASHES);
    "hlen" 2 (1 1 1) [READONLY FAST] "2.0.0" => refused(HASHES);
    "hmget" -3 (1 1 1) [READONLY FAST] "2.0.0" => refused(HASHES);
    "hmset" -4 (1 1 1) [WRITE DENYOOM FAST] "2.0.0" => refused(HASHES);
    "hrandfield" -2 (1 1 1) [READONLY] "6.2.0" => refused(HASHES);
    "hscan" -3 (1 1 1) [READONLY] "2.8.0" => refused(HASHES);
    "hset" -4 (1 1 1) [WRITE DENYOOM FAST] "2.0.0" => refused(HASHES);
    "hsetnx" 4 (1 1 1) [WRITE DENYOOM FAST] "2.0.0" => refused(HASHES);
    "hstrlen" 3 (1 1 1) [READONLY FAST] "3.2.0" => refused(HASHES);
    "hvals" 2 (1 1 1) [READONLY] "2.0.0" => refused(HASHES);
};

pub(super) static SET: &[Row] = rows! { Set:
    "sadd" -3 (1 1 1) [WRITE DENYOOM FAST] "1.0.0" => refused(SETS);
    "scard" 2 (1 1 1) [READONLY FAST] "1.0.0" => refused(SETS);
    "sdiff" -2 (1 -1 1) [READONLY] "1.0.0" => refused(SETS);
    "sdiffstore" -3 (1 -1 1) [WRITE DENYOOM] "1.0.0" => refused(SETS);
    "sinter" -2 (1 -1 1) [READONLY] "1.0.0" => refused(SETS);
    "sintercard" -3 () [READONLY MOVABLEKEYS] "7.0.0" => refused(SETS);
    "sinterstore" -3 (1 -1 1) [WRITE DENYOOM] "1.0.0" => refused(SETS);
    "sismember" 3 (1 1 1) [READONLY FAST] "1.0.0" => refused(SETS);
    "smembers" 2 (1 1 1) [READONLY] "1.0.0" => refused(SETS);
    "smismember" -3 (1 1 1) [READONLY FAST] "6.2.0" => refused(SETS);
    "smove" 4 (1 2 1) [WRITE FAST] "1.0.0" => refused(SETS);
    "spop" -2 (1 1 1) [WRITE FAST] "1.0.0" => refused(SETS);
    "srandmember" -2 (1 1 1) [READONLY] "1.0.0" => refused(SETS);
    "srem" -3 (1 1 1) [WRITE FAST] "1.0.0" => refused(SETS);
    "sscan" -3 (1 1 1) [READONLY] "2.8.0" => refused(SETS);
    "sunion" -2 (1 -1 1) [READONLY] "1.0.0" => refused(SETS);
    "sunionstore" -3 (1 -1 1) [WRITE DENYOOM] "1.0.0" => refused(SETS);
};

pub(super) static SORTED_SET: &[Row] = rows! { SortedSet:
    "bzmpop" -5 () [WRITE BLOCKING MOVABLEKEYS] "7.0.0" => refused(SORTED_SETS);
    "bzpopmax" -3 (1 -2 1) [WRITE NOSCRIPT BLOCKING FAST] "5.0.0" => refused(SORTED_SETS);
    "bzpopmin" -3 (1 -2 1) [WRITE NOSCRIPT BLOCKING FAST] "5.0.0" => refused(SORTED_SETS);
    "zadd" -4 (1 1 1) [WRITE DENYOOM FAST] "1.2.0" => refused(SORTED_SETS);
    "zcard" 2 (1 1 1) [READONLY FAST] "1.2.0" => refused(SORTED_SETS);
    "zcount" 4 (1 1 1) [READONLY FAST] "2.0.0" => refused(SORTED_SETS);
    "zdiff" -3 () [READONLY MOVABLEKEYS] "6.2.0" => refused(SORTED_SETS);
    "zdiffstore" -4 (1 1 1) [WRITE DENYOOM MOVABLEKEYS] "6.2.0" => refused(SORTED_SETS);
    "zincrby" 4 (1 1 1) [WRITE DENYOOM FAST] "1.2.0" => refused(SORTED_SETS);
    "zinter" -3 () [READONLY MOVABLEKEYS] "6.2.0" => refused(SORTED_SETS);
    "zintercard" -3 () [READONLY MOVABLEKEYS] "7.0.0" => refused(SORTED_SETS);
    "zinterstore" -4 (1 1 1) [WRITE DENYOOM MOVABLEKEYS] "2.0.0" => refused(SORTED_SETS);
    "zlexcount" 4 (1 1 1) [READONLY FAST] "2.8.9" => refused(SORTED_SETS);
    "zmpop" -4 () [WRITE MOVABLEKEYS] "7.0.0" => refused(SORTED_SETS);
    "zmscore" -3 (1 1 1) [READONLY FAST] "6.2.0" => refused(SORTED_SETS);
    "zpopmax" -2 (1 1 1) [WRITE FAST] "5.0.0" => refused(SORTED_SETS);
    "zpopmin" -2 (1 1 1) [WRITE FAST] "5.0.0" => refused(SORTED_SETS);
    "zrandmember" -2 (1 1 1) [READONLY] "6.2.0" => refused(SORTED_SETS);
    "zrange" -4 (1 1 1) [READONLY] "1.2.0" => refused(SORTED_SETS);
    "zrangebylex" -4 (1 1 1) [READONLY] "2.8.9" => refused(SORTED_SETS);
    "zrangebyscore" -4 (1 1 1) [READONLY] "1.0.5" => refused(SORTED_SETS);
    "zrangestore" -5 (1 2 1) [WRITE DENYOOM] "6.2.0" => refused(SORTED_SETS);
    "zrank" 3 (1 1 1) [READONLY FAST] "2.0.0" => refused(SORTED_SETS);
    "zrem" -3 (1 1 1) [WRITE FAST] "1.2.0" => refused(SORTED_SETS);
    "zremrangebylex" 4 (1 1 1) [WRITE] "2.8.9" => refused(SORTED_SETS);
    "zremrangebyrank" 4 (1 1 1) [WRITE] "2.0.0" => refused(SORTED_SETS);
    "zremrangebyscore" 4 (1 1 1) [WRITE] "1.2.0" => refused(SORTED_SETS);
    "zrevrange" -4 (1 1 1) [READONLY] "1.2.0" => refused(SORTED_SETS);
    "zrevrangebylex" -4 (1 1 1) [READONLY] "2.8.9" => refused(SORTED_SETS);
    "zrevrangebyscore" -4 (1 1 1) [READONLY] "2.2.0" => refused(SORTED_SETS);
    "zrevrank" 3 (1 1 1) [READONLY FAST] "2.0.0" => refused(SORTED_SETS);
    "zscan" -3 (1 1 1) [READONLY] "2.8.0" => refused(SORTED_SETS);
    "zscore" 3 (1 1 1) [READONLY FAST] "1.2.0" => refused(SORTED_SETS);
    "zunion" -3 () [READONLY MOVABLEKEYS] "6.2.0" => refused(SORTED_SETS);
    "zunionstore" -4 (1 1 1) [WRITE DENYOOM MOVABLEKEYS] "2.0.0" => refused(SORTED_SETS);
};

pub(super) static STREAM: &[Row] = rows! { Stream:
    "xack" -4 (1 1 1) [WRITE FAST] "5.0.0" => refused(STREAMS);
    "xadd" -5 (1 1 1) [WRITE DENYOOM FAST] "5.0.0" => refused(STREAMS);
    "xautoclaim" -6 (1 1 1) [WRITE FAST] "6.2.0" => refused(STREAMS);
    "xclaim" -6 (1 1 1) [WRITE FAST] "5.0.0" => refused(STREAMS);
    "xdel" -3 (1 1 1) [WRITE FAST] "5.0.0" => refused(STREAMS);
    "xgroup" -2 () [] "5.0.0" => refused(STREAMS).container(XGROUP);
    "xinfo" -2 () [] "5.0.0" => refused(STREAMS).container(XINFO);
    "xlen" 2 (1 1 1) [READONLY FAST] "5.0.0" => refused(STREAMS);
    "xpending" -3 (1 1 1) [READONLY] "5.0.0" => refused(STREAMS);
    "xrange" -4 (1 1 1) [READONLY] "5.0.0" => refused(STREAMS);
    "xread" -4 () [READONLY BLOCKING MOVABLEKEYS] "5.0.0" => refused(STREAMS);
    "xreadgroup" -7 () [WRITE BLOCKING MOVABLEKEYS] "5.0.0" => refused(STREAMS);
    "xrevrange" -4 (1 1 1) [READONLY] "5.0.0" => refused(STREAMS);
    "xsetid" -3 (1 1 1) [WRITE DENYOOM FAST] "5.0.0" => refused(STREAMS);
    "xtrim" -4 (1 1 1) [WRITE] "5.0.0" => refused(STREAMS);
};

pub(super) static BITMAP: &[Row] = rows! { Bitmap:
    "bitcount" -2 (1 1 1) [READONLY] "2.6.0" => refused(BITMAPS);
    "bitfield" -2 (1 1 1) [WRITE DENYOOM] "3.2.0" => refused(BITMAPS);
    "bitfield_ro" -2 (1 1 1) [READONLY FAST] "6.0.0" => refused(BITMAPS);
    "bitop" -4 (2 -1 1) [WRITE DENYOOM] "2.6.0" => refused(BITMAPS);
    "bitpos" -3 (1 1 1) [READONLY] "2.8.7" => refused(BITMAPS);
    "getbit" 3 (1 1 1) [READONLY FAST] "2.2.0" => refused(BITMAPS);
    "setbit" 4 (1 1 1) [WRITE DENYOOM] "2.2.0" => refused(BITMAPS);
};

pub(super) static HYPERLOGLOG: &[Row] = rows! { Hyperloglog:
    "pfadd" -2 (1 1 1) [WRITE DENYOOM FAST] "2.8.9" => refused(SKETCHES);
    "pfcount" -2 (1 -1 1) [READONLY] "2.8.9" => refused(SKETCHES);
    "pfdebug" 3 (2 2 1) [WRITE DENYOOM ADMIN] "2.8.9" => refused(SKETCHES);
    "pfmerge" -2 (1 -1 1) [WRITE DENYOOM] "2.8.9" => refused(SKETCHES);
    "pfselftest" 1 () [ADMIN] "2.8.9" => refused(SKETCHES);
};

pub(super) static GEO: &[Row] = rows! { Geo:
    "geoadd" -5 (1 1 1) [WRITE DENYOOM] "3.2.0" => refused(PLACES);
    "geodist" -4 (1 1 1) [READONLY] "3.2.0" => refused(PLACES);
    "geohash" -2 (1 1 1) [READONLY] "3.2.0" => refused(PLACES);
    "geopos" -2 (1 1 1) [READONLY] "3.2.0" => refused(PLACES);
    "georadius" -6 (1 1 1) [WRITE DENYOOM MOVABLEKEYS] "3.2.0" => refused(PLACES);
    "georadius_ro" -6 (1 1 1) [READONLY] "3.2.10" => refused(PLACES);
    "georadiusbymember" -5 (1 1 1) [WRITE DENYOOM MOVABLEKEYS] "3.2.0" => refused(PLACES);
    "georadiusbymember_ro" -5 (1 1 1) [READONLY] "3.2.10" => refused(PLACES);
    "geosearch" -7 (1 1 1) [READONLY] "6.2.0" => refused(PLACES);
    "geosearchstore" -8 (1 2 1) [WRITE DENYOOM] "6.2.0" => refused(PLACES);
};

static XGROUP: &[Row] = rows! { Stream:
    "xgroup|create" -5 (2 2 1) [WRITE DENYOOM] "5.0.0" => refused(STREAMS);
    "xgroup|createconsumer" 5 (2 2 1) [WRITE DENYOOM] "6.2.0" => refused(STREAMS);
    "xgroup|delconsumer" 5 (2 2 1) [WRITE] "5.0.0" => refused(STREAMS);
    "xgroup|destroy" 4 (2 2 1) [WRITE] "5.0.0" => refused(STREAMS);
    "xgroup|help" 2 () [LOADING STALE] "5.0.0" => refused(STREAMS);
    "xgroup|setid" -5 (2 2 1) [WRITE] "5.0.0" => refused(STREAMS);
};

static XINFO: &[Row] = rows! { Stream:
    "xinfo|consumers" 4 (2 2 1) [READONLY] "5.0.0" => refused(STREAMS);
    "xinfo|groups" 3 (2 2 1) [READONLY] "5.0.0" => refused(STREAMS);
    "xinfo|help" 2 () [LOADING STALE] "5.0.0" => refused(STREAMS);
    "xinfo|stream" -3 (2 2 1) [READONLY] "5.0.0" => refused(STREAMS);
};
