"""redis-py, unmodified, against a node on 127.0.0.1:$ANNULUS_PORT: plain and cluster, RESP2 and RESP3.

Run by `cargo xtask clients`. Every check prints what failed; the last line counts.
"""

import asyncio
import os
import time
import warnings

import redis
import redis.asyncio
from checks import attempt, check, expect_error, finish
from redis.cluster import RedisCluster

# Old names of commands are checked too.
warnings.simplefilter("ignore", DeprecationWarning)

HOST, PORT = "127.0.0.1", int(os.environ["ANNULUS_PORT"])
PLAIN_ONLY = os.environ.get("ANNULUS_PLAIN_ONLY") == "1"

def strings(r, label):
    r.flushall()
    check(r.ping() is True, f"{label} ping")
    check(r.set("k", "v") is True, f"{label} set")
    check(r.get("k") == b"v", f"{label} get")
    check(r.get("missing") is None, f"{label} get of nothing")
    check(r.set("k", "w", get=True) == b"v", f"{label} set get")
    check(r.set("k", b"\x00\xff\r\n") is True and r.get("k") == b"\x00\xff\r\n", f"{label} any bytes")
    check(r.getset("k", "x") == b"\x00\xff\r\n", f"{label} getset")
    check(r.getdel("k") == b"x" and r.get("k") is None, f"{label} getdel")
    check(r.mset({f"m{n}": n for n in range(50)}) is True, f"{label} mset")
    check(r.mget([f"m{n}" for n in range(51)]) == [str(n).encode() for n in range(50)] + [None], f"{label} mget")
    check(r.strlen("m10") == 2, f"{label} strlen")
    check(r.getrange("m10", 0, 0) == b"1", f"{label} getrange")
    check(r.exists("m1", "m2", "nothing") == 2, f"{label} exists")
    check(r.touch("m1", "nothing") == 1, f"{label} touch")
    check(r.type("m1") == b"string", f"{label} type")
    check(r.delete("m1", "m2", "nothing") == 2, f"{label} delete")
    check(r.unlink("m3") == 1, f"{label} unlink")
    large = os.urandom(3 << 20)
    check(r.set("large", large) is True and r.get("large") == large, f"{label} 3 MiB")


def expiry(r, label):
    r.flushall()
    r.set("k", "v", ex=100)
    check(90 <= r.ttl("k") <= 100, f"{label} ttl")
    check(90_000 <= r.pttl("k") <= 100_000, f"{label} pttl")
    check(r.persist("k") == 1 and r.ttl("k") == -1, f"{label} persist")
    check(r.ttl("missing") == -2, f"{label} ttl of nothing")
    check(r.expire("k", 200) == 1 and 190 <= r.ttl("k") <= 200, f"{label} expire")
    check(r.expireat("k", 4102444800) == 1 and r.expiretime("k") == 4102444800, f"{label} expireat")
    r.set("k", "w", keepttl=True)
    check(r.expiretime("k") == 4102444800, f"{label} keepttl")
    check(r.getex("k", persist=True) == b"w" and r.ttl("k") == -1, f"{label} getex")
    check(r.setex("k", 100, "x") is True and r.psetex("k", 100_000, "y") is True, f"{label} setex")
    r.set("short", "v", px=1)
    for _ in range(10_000):
        if r.get("short") is None:
            break
    check(r.get("short") is None, f"{label} expires")
    check(r.exists("short") == 0, f"{label} expired keys do not exist")


def pipelines(r, label):
    r.flushall()
    with r.pipeline(transaction=False) as pipe:
        for n in range(2_000):
            pipe.set(f"p{n}", n)
            pipe.get(f"p{n}")
        replies = pipe.execute()
    check(replies[0::2] == [True] * 2_000, f"{label} pipelined set")
    check(replies[1::2] == [str(n).encode() for n in range(2_000)], f"{label} pipelined get, in order")
    found = list(r.scan_iter(match="p*", count=100))
    check(len(set(found)) == 2_000, f"{label} scan_iter found {len(set(found))}")
    check(len(set(r.keys("p1?"))) == 10, f"{label} keys")


def server(r, label):
    r.flushall()
    r.set("a", 1)
    check(r.dbsize() == 1, f"{label} dbsize")
    check(r.randomkey() == b"a", f"{label} randomkey")
    info = r.info()
    check(tuple(int(n) for n in str(info["redis_version"]).split(".")[:2]) >= (7, 0), f"{label} version {info.get('redis_version')}")
    check(info["role"] == "master" and info["loading"] == 0, f"{label} info")
    # A node sums its cores' figures from time to time, not at each INFO.
    deadline = time.monotonic() + 5
    while r.info().get("db0", {}).get("keys") != 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    check(r.info().get("db0", {}).get("keys") == 1, f"{label} info keyspace: {r.info().get('db0')}")
    check("get" in r.command() and r.command_count() > 50, f"{label} command")
    check(r.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}, f"{label} config get")
    check(r.client_id() > 0, f"{label} client id")
    check(r.client_setname("checker") is True and r.client_getname() in ("checker", b"checker"), f"{label} client name")
    check(any(str(c["id"]) == str(r.client_id()) for c in r.client_list()), f"{label} client list")
    check(len(r.time()) == 2, f"{label} time")
    check(r.memory_usage("a") > 0, f"{label} memory usage")
    check(r.echo("x") == b"x", f"{label} echo")
    check(isinstance(r.slowlog_get(), list), f"{label} slowlog")
    expect_error(lambda: r.execute_command("NOSUCH"), "unknown command", f"{label} unknown command")
    if not PLAIN_ONLY:
        expect_error(lambda: r.incr("a"), "not served", f"{label} refused command")
        expect_error(lambda: r.set("a", 1, nx=True), "", f"{label} set nx")
        expect_error(lambda: r.pipeline(transaction=True).set("a", 1).execute(), "pipeline(transaction=False)", f"{label} MULTI says what instead")


def cluster(protocol):
    label = f"cluster RESP{protocol}"
    r = RedisCluster(host=HOST, port=PORT, protocol=protocol)
    nodes = r.get_primaries()
    check(len(nodes) >= 1 and len({node.port for node in nodes}) == len(nodes), f"{label} nodes {nodes}")
    check(all(node.port > PORT for node in nodes), f"{label} nodes are core ports")
    r.flushall()
    for n in range(1_000):
        r.set(f"c{n}", n)
    check(all(r.get(f"c{n}") == str(n).encode() for n in range(1_000)), f"{label} get")
    check(sum(r.dbsize(target_nodes=[node]) for node in nodes) == 1_000, f"{label} dbsize by core")
    check(r.mset_nonatomic({f"n{n}": n for n in range(100)}) is not None, f"{label} mset_nonatomic")
    check(r.mget_nonatomic([f"n{n}" for n in range(100)]) == [str(n).encode() for n in range(100)], f"{label} mget_nonatomic")
    check(len(set(r.scan_iter(match="c*", count=50))) == 1_000, f"{label} scan_iter")
    pipe = r.pipeline()
    for n in range(500):
        pipe.get(f"c{n}")
    check(pipe.execute() == [str(n).encode() for n in range(500)], f"{label} pipeline")
    check(r.delete(*[f"{{t}}{n}" for n in range(3)], "{t}x") == 0, f"{label} delete of nothing")
    check(r.mget("{t}a", "{t}b") == [None, None], f"{label} mget of one slot")
    check(r.cluster_info()["cluster_state"] == "ok", f"{label} cluster info")
    check(r.keyslot("foo") == r.cluster_keyslot("foo") == 12182, f"{label} keyslot")
    r.close()


async def asynchronous():
    async with redis.asyncio.Redis(host=HOST, port=PORT) as r:
        await r.flushall()
        await asyncio.gather(*[r.set(f"a{n}", n) for n in range(50)])
        values = await asyncio.gather(*[r.get(f"a{n}") for n in range(50)])
        check(values == [str(n).encode() for n in range(50)], "asyncio gather")


def plain(protocol):
    label = f"RESP{protocol}"
    r = redis.Redis(host=HOST, port=PORT, protocol=protocol, client_name="redis-py")
    for part in (strings, expiry, pipelines, server):
        part(r, label)
    r.close()


for protocol in (2, 3):
    attempt(f"RESP{protocol}", lambda: plain(protocol))
    if not PLAIN_ONLY:
        attempt(f"cluster RESP{protocol}", lambda: cluster(protocol))
attempt("asyncio", lambda: asyncio.run(asynchronous()))
attempt("default protocol", lambda: check(redis.Redis(host=HOST, port=PORT).ping() is True, "default protocol"))
finish()
