"""redis-py's cluster client, unmodified, against three nodes whose base ports on 127.0.0.1 are $ANNULUS_PORTS.

Run by `cargo xtask clients`. One node is killed with SIGKILL and started again by `annulus dev`, which is
$ANNULUS_BINARY and runs the nodes in $ANNULUS_DIR. Every check prints what failed; the last line counts.
"""

import collections
import itertools
import os
import subprocess
import threading
import time

import redis
from checks import attempt, check, finish
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry

HOST = "127.0.0.1"
PORTS = [int(port) for port in os.environ["ANNULUS_PORTS"].split(",")]
CORES = int(os.environ["ANNULUS_CORES"])
SLOTS = 16_384
VICTIM = 2
# While the dead node is announced every attempt fails at once: more of them than it takes the others to notice.
RETRIES = 5_000
# Writes that the cluster may call in doubt while a node dies; the client is told, and sends them again.
DOUBTS_MAX = 5
BATCH = 1_000


def connect(protocol):
    nodes = [ClusterNode(HOST, port) for port in PORTS]
    return RedisCluster(startup_nodes=nodes, protocol=protocol, retry=Retry(NoBackoff(), RETRIES), socket_timeout=10)


def node(number, protocol=3):
    """A plain client of one node's base port."""
    return redis.Redis(host=HOST, port=PORTS[number], protocol=protocol)


def keys_of(label, count):
    return [f"py:{label}:{n}" for n in range(count)]


def topology(r, label):
    told = [node(number, 2).execute_command("CLUSTER SLOTS") for number in range(len(PORTS))]
    check(all(slots == told[0] for slots in told), f"{label} every node tells the same slots")
    covered = collections.Counter()
    announced = {port + 1 + core for port in PORTS for core in range(CORES)}
    primaries = set()
    owners = collections.Counter()
    for first, last, *endpoints in told[0]:
        covered.update(range(first, last + 1))
        primaries.add(endpoints[0][1])
        owners.update({endpoint[1]: last + 1 - first for endpoint in endpoints})
    check(len(covered) == SLOTS and set(covered.values()) == {1}, f"{label} {len(covered)} slots covered")
    check(set(owners) == announced, f"{label} owners {owners}, announced: {announced}")
    # Of one slot of each primary the replicas are not told of.
    check(sum(owners.values()) >= SLOTS * len(PORTS) - 2 * len(announced), f"{label} owners of all slots {owners}")
    check(primaries == announced, f"{label} cores that are primaries: {primaries}, announced: {announced}")
    check({n.port for n in r.get_primaries()} == announced, f"{label} the client knows {r.get_primaries()}")
    check(len(r.nodes_manager.slots_cache) == SLOTS, f"{label} the client knows all slots")
    states = [node(number).execute_command("CLUSTER INFO") for number in range(len(PORTS))]
    check(all(state["cluster_state"] == "ok" for state in states), f"{label} cluster state {states}")
    names = [sorted(node(number).execute_command("CLUSTER NODES")) for number in range(len(PORTS))]
    check(all(len(n) == len(announced) and n == names[0] for n in names), f"{label} CLUSTER NODES {names}")


def strings(r, label):
    keys = keys_of(f"{label}:k", 500)
    values = [str(n).encode() for n in range(500)]
    check(all(r.set(key, value) is True for key, value in zip(keys, values)), f"{label} set")
    check([r.get(key) for key in keys] == values, f"{label} get")
    check(len({r.keyslot(key) for key in keys}) > 400, f"{label} keys of many slots")
    check(r.mget_nonatomic(keys + ["py:none"]) == values + [None], f"{label} mget across slots")
    check(r.exists(*keys, "py:none") == 500, f"{label} exists across slots")
    check(r.delete(*keys[:400], "py:none") == 400, f"{label} del across slots")
    check(r.mset_nonatomic(dict(zip(keys, values))) is not None, f"{label} mset across slots")
    check(r.mget_nonatomic(keys) == values, f"{label} mget after mset")
    plain = node(0)
    check(plain.mget(keys) == values, f"{label} mget across slots at one node")
    check(plain.mset(dict.fromkeys(keys, b"plain")) is True, f"{label} mset across slots at one node")
    check(r.mget_nonatomic(keys) == [b"plain"] * 500, f"{label} what one node was told")
    check(r.unlink(*keys) == 500 and plain.mget(keys) == [None] * 500, f"{label} unlink")
    tagged = [f"{{{label}}}:{n}" for n in range(50)]
    check(len({r.keyslot(key) for key in tagged}) == 1, f"{label} one slot for a hash tag")
    check(r.mset({key: n for n, key in enumerate(tagged)}) is True, f"{label} mset with a hash tag")
    check(r.mget(tagged) == [str(n).encode() for n in range(50)], f"{label} mget with a hash tag")
    check(r.delete(*tagged) == 50, f"{label} del with a hash tag")
    large = os.urandom(1 << 20)
    check(r.set(keys[0], large) is True and node(1).get(keys[0]) == large, f"{label} 1 MiB")
    r.delete(keys[0])


def pipelines(r, label):
    keys = keys_of(f"{label}:p", 500)
    pipe = r.pipeline()
    for n, key in enumerate(keys):
        pipe.set(key, n)
        pipe.get(key)
    replies = pipe.execute()
    check(replies[0::2] == [True] * 500, f"{label} pipelined set")
    check(replies[1::2] == [str(n).encode() for n in range(500)], f"{label} pipelined get, in order")
    for key in keys:
        pipe.delete(key)
    check(pipe.execute() == [1] * 500, f"{label} pipelined del")


def expiry(r, label):
    keys = keys_of(f"{label}:e", 60)
    for key in keys:
        r.set(key, "v", ex=100)
    check(all(90 <= r.ttl(key) <= 100 for key in keys), f"{label} ttl")
    check(all(r.expire(key, 200) == 1 and 190 <= r.ttl(key) <= 200 for key in keys), f"{label} expire")
    check(all(190 <= node(n).ttl(keys[0]) <= 200 for n in range(len(PORTS))), f"{label} ttl at every node")
    check(all(r.persist(key) == 1 and r.ttl(key) == -1 for key in keys), f"{label} persist")
    for key in keys:
        r.set(key, "v", px=30)
    time.sleep(0.05)
    check(all(r.get(key) is None for key in keys), f"{label} expired")
    check(all(node(n).exists(*keys) == 0 for n in range(len(PORTS))), f"{label} expired at every node")


def scans(r, label):
    keys = [key.encode() for key in keys_of(f"{label}:s", 1_000)]
    for key in keys:
        r.set(key, "v")
    pattern = f"py:{label}:s:*"
    found = list(r.scan_iter(match=pattern, count=100))
    check(sorted(found) == sorted(keys), f"{label} scan_iter told {len(found)} keys, {len(set(found))} of them once or more")
    counted = r.dbsize(target_nodes=RedisCluster.PRIMARIES)
    check(counted == node(1).dbsize(), f"{label} dbsize of all cores {counted}, of one node {node(1).dbsize()}")
    check(sorted(node(2).scan_iter(match=pattern, count=500)) == sorted(keys), f"{label} scan of one node finds all")
    check(sorted(r.keys(pattern, target_nodes=RedisCluster.PRIMARIES)) == sorted(keys), f"{label} keys")
    check(r.delete(*keys) == len(keys), f"{label} del of what was scanned")


def siblings(r, label):
    for key in keys_of(f"{label}:d", 20):
        check(r.execute_command("DYN.GET", key)[1:] == [], f"{label} DYN.GET of nothing")
        r.execute_command("DYN.PUT", key, "milk")
        r.execute_command("DYN.PUT", key, "bread", "CONTEXT", "")
        context, *values = r.execute_command("DYN.GET", key)
        check(values == [b"bread", b"milk"], f"{label} two siblings: {values}")
        told = [node(n).execute_command("DYN.GET", key)[1:] for n in range(len(PORTS))]
        check(told == [values] * len(PORTS), f"{label} siblings at every node: {told}")
        check(r.get(key) == b"bread", f"{label} get shows the newest sibling")
        after = r.execute_command("DYN.PUT", key, "milk,bread", "CONTEXT", context)
        check(r.execute_command("DYN.GET", key)[1:] == [b"milk,bread"], f"{label} one value again")
        # Whoever comes late with a context that is older stands beside what it has not seen.
        node(1).execute_command("DYN.PUT", key, "late", "CONTEXT", context)
        newest, *values = r.execute_command("DYN.GET", key)
        check(sorted(values) == [b"late", b"milk,bread"], f"{label} an older context: {values}")
        check(isinstance(after, bytes) and newest != context, f"{label} contexts are tokens")
        r.execute_command("DYN.DEL", key, "CONTEXT", newest)
        check(r.get(key) is None and node(2).get(key) is None, f"{label} DYN.DEL")


def across_nodes(r, label):
    """What is written through any node is read through any other at once, because R + W > N."""
    pairs = itertools.product(range(len(PORTS)), repeat=2)
    for (writer, reader), n in itertools.product(pairs, range(10)):
        key, value = f"py:{label}:x:{n}", f"{writer}{reader}{n}".encode()
        node(writer).set(key, value)
        if node(reader).get(key) != value or r.get(key) != value:
            check(False, f"{label} {key} written at node {writer} is not at node {reader}")
    check(True, f"{label} written at one node, read at another")


def figures():
    """Sums over all nodes, when their cores have published what they counted."""
    time.sleep(0.5)
    told = [node(number).info("stats") for number in range(len(PORTS))]
    return [sum(stats[name] for stats in told) for name in ("forwarded_requests", "total_commands_processed")]


def forwards(r, label):
    """A client that has learnt the topology needs no server's help; a plain one needs it for every other key."""
    keys = keys_of(f"{label}:f", 1_000)
    r.get(keys[0])
    before = figures()
    for key in keys:
        r.set(key, "v")
        r.get(key)
    forwarded, commands = (after - was for after, was in zip(figures(), before))
    check(commands >= 2_000, f"{label} the nodes counted {commands} of 2000 commands")
    check(forwarded * 100 < 2_000, f"{label} the nodes forwarded {forwarded} of 2000 commands of a cluster client")
    print(f"{label}: {forwarded} of 2000 commands forwarded for the cluster client")
    plain, before = node(0), figures()
    for key in keys:
        plain.get(key)
    forwarded = figures()[0] - before[0]
    print(f"{label}: {forwarded} of 1000 commands forwarded for a plain client")
    check(CORES == 1 or 100 < forwarded < 1_000, f"{label} the nodes forwarded {forwarded} of 1000 of a plain client")


class Load(threading.Thread):
    """Writes keys of its own and reads them again until told to stop; knows what was acknowledged."""

    def __init__(self, number):
        super().__init__()
        self.label, self.stopped = f"py:load{number}", threading.Event()
        self.acknowledged, self.operations, self.errors, self.doubts = {}, 0, collections.Counter(), 0
        self.gap_s = 0.0
        self.client = connect(2 + number % 2)

    def run(self):
        for n in itertools.count():
            if self.stopped.is_set():
                break
            started = time.monotonic()
            try:
                self.step(n)
            except redis.RedisError as error:
                self.errors[f"{type(error).__name__} {error}"[:200]] += 1
            self.gap_s = max(self.gap_s, time.monotonic() - started)

    def step(self, n):
        key, value = f"{self.label}:{n}", f"v{n}".encode()
        self.write(lambda: self.client.set(key, value), {key: value})
        if n % 10 == 0:
            batch = {f"{self.label}:{n}:{part}": f"v{n}:{part}".encode() for part in range(10)}
            pipe = self.client.pipeline()
            for item in batch.items():
                pipe.set(*item)
            self.write(lambda: pipe.execute() and pipe, batch)
        earlier = f"{self.label}:{n // 2}"
        if earlier in self.acknowledged:
            self.operations += 1
            if self.client.get(earlier) != self.acknowledged[earlier]:
                self.errors["a read found another value"] += 1

    def write(self, call, written):
        try:
            call()
        except redis.ResponseError as error:
            # A pipeline's error says first which of its commands it is of.
            if "INDOUBT " not in str(error):
                raise
            # No other value was ever given to these keys.
            self.doubts += 1
            for item in written.items():
                self.client.set(*item)
        self.operations += len(written)
        self.acknowledged.update(written)


def dev(command):
    directory = os.environ["ANNULUS_DIR"]
    subprocess.run([os.environ["ANNULUS_BINARY"], "dev", command, str(VICTIM), "--dir", directory], check=True)


def wait_members(number, up):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if node(number).info("cluster")["cluster_members_up"] == up:
                return
        except redis.RedisError:
            pass
        time.sleep(0.05)
    check(False, f"node {number} does not see {up} members up")


def failures(label):
    loads = [Load(number) for number in range(2)]
    for load in loads:
        load.start()
    time.sleep(1)
    moments = [(sum(load.operations for load in loads), "before")]
    for command, up in [("kill", len(PORTS) - 1), ("heal", len(PORTS))]:
        dev(command)
        wait_members(0, up)
        time.sleep(2)
        moments.append((sum(load.operations for load in loads), command))
    wait_members(VICTIM, len(PORTS))
    for load in loads:
        load.stopped.set()
        load.join()
    for (count, _), (more, phase) in itertools.pairwise(moments):
        check(more - count > 100, f"{label} {more - count} operations after {phase}")
    for load in loads:
        check(not load.errors, f"{label} errors of {load.operations} operations: {dict(load.errors)}")
        check(load.doubts <= DOUBTS_MAX, f"{label} {load.doubts} writes in doubt")
        verify(load, label)


def verify(load, label):
    acknowledged, lost = load.acknowledged, 0
    fresh = connect(3)
    items = list(acknowledged.items())
    # A core refuses with BUSY what is more than it can have under way.
    batches = [dict(items[at : at + BATCH]) for at in range(0, len(items), BATCH)]
    for mget in [fresh.mget_nonatomic] + [node(number).mget for number in range(len(PORTS))]:
        for batch in batches:
            lost += sum(value != expected for value, expected in zip(mget(list(batch)), batch.values()))
    check(len(acknowledged) > 500, f"{label} {len(acknowledged)} writes are too few to show anything")
    check(lost == 0, f"{label} {lost} acknowledged writes were not found")
    print(
        f"{load.label}: {load.operations} operations, {len(acknowledged)} writes acknowledged, {lost} lost, "
        f"{load.doubts} in doubt, {sum(load.errors.values())} errors, longest operation {load.gap_s * 1000:.0f} ms"
    )


for protocol in (2, 3):
    label = f"RESP{protocol}"
    client = connect(protocol)
    for part in (topology, strings, pipelines, expiry, scans, siblings, across_nodes, forwards):
        attempt(f"{label} {part.__name__}", lambda: part(client, label))
attempt("failures", lambda: failures("a node dies:"))
finish()
