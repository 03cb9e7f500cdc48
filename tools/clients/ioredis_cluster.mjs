// ioredis' cluster client, unmodified, against three nodes whose base ports on 127.0.0.1 are $ANNULUS_PORTS.
//
// Run by `cargo xtask clients`. One node is killed with SIGKILL and started again by `annulus dev`, which is $ANNULUS_BINARY
// and runs the nodes in $ANNULUS_DIR. Every check prints what failed; the last line counts.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis, Cluster } from "ioredis";
import { attempt, check, finish } from "./checks.mjs";

const host = "127.0.0.1";
const ports = process.env.ANNULUS_PORTS.split(",").map(Number);
const cores = Number(process.env.ANNULUS_CORES);
const victim = 2;
// Each may be told once, while a node dies, that a write is in doubt, and sends it again.
const writers = 8;
const doubtsMax = writers;
const announced = ports.flatMap((port) => [...Array(cores).keys()].map((core) => port + 1 + core)).sort();
const count = (length) => [...Array(length).keys()];
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// Plain clients of the nodes' base ports.
const plain = ports.map((port) => new Redis({ host, port, lazyConnect: true }));
plain.forEach((redis) => redis.on("error", () => {}));

async function connect(protocol = 3) {
  const options = {
    // Every 100 ms, for as long as it may take the other nodes to notice that one has died.
    maxRedirections: 100,
    redisOptions: { protocol, connectTimeout: 5000 },
  };
  const cluster = new Cluster(
    ports.map((port) => ({ host, port })),
    options,
  );
  await new Promise((resolve, reject) => {
    cluster.once("ready", resolve);
    cluster.once("error", reject);
  });
  return cluster;
}

async function topology(cluster) {
  const told = await Promise.all(plain.map((redis) => redis.cluster("SLOTS")));
  check(
    told.every((slots) => same(slots, told[0])),
    "every node tells the same slots",
  );
  const covered = Array(16384).fill(0);
  const primaries = new Set();
  for (const [first, last, primary] of told[0]) {
    for (let slot = first; slot <= last; slot += 1) covered[slot] += 1;
    primaries.add(primary[1]);
  }
  check(
    covered.every((times) => times === 1),
    "every slot is covered once",
  );
  check(same([...primaries].sort(), announced), `primaries ${[...primaries]}, announced ${announced}`);
  const known = cluster.nodes("master").map((node) => node.options.port);
  check(same([...new Set(known)].sort(), announced), `the client knows the primaries ${known}`);
  check(cluster.slots.length === 16384 && cluster.slots.every((nodes) => nodes.length > 0), "it knows all slots");
  const infos = await Promise.all(plain.map((redis) => redis.cluster("INFO")));
  check(
    infos.every((info) => info.includes("cluster_state:ok") && info.includes("cluster_slots_ok:16384")),
    `cluster info ${infos}`,
  );
}

async function strings(cluster) {
  const keys = count(1000).map((n) => `js:k${n}`);
  check((await Promise.all(keys.map((key, n) => cluster.set(key, n)))).every((reply) => reply === "OK"), "set");
  const values = await Promise.all(keys.map((key) => cluster.get(key)));
  check(same(values, keys.map((_, n) => String(n))), "get");
  check(same(await plain[0].mget(keys), values), "mget across slots at one node");
  check((await plain[1].mset(keys.flatMap((key) => [key, "plain"]))) === "OK", "mset across slots at one node");
  const told = await Promise.all(keys.map((key) => cluster.get(key)));
  check(told.every((value) => value === "plain"), "what one node was told");
  check((await plain[2].del(keys.slice(0, 500))) === 500, "del across slots at one node");
  const gone = await Promise.all(keys.map((key) => cluster.exists(key)));
  check(gone.every((found, n) => found === (n < 500 ? 0 : 1)), "exists");
  const bytes = Buffer.from([0, 255, 13, 10, 36]);
  await cluster.set("js:bytes", bytes);
  check(bytes.equals(await plain[1].getBuffer("js:bytes")), "any bytes");
  const tagged = count(50).map((n) => `{js:tag}${n}`);
  check((await cluster.mset(tagged.flatMap((key, n) => [key, n]))) === "OK", "mset with a hash tag");
  check(same(await cluster.mget(tagged), tagged.map((_, n) => String(n))), "mget with a hash tag");
  check((await cluster.del(tagged)) === 50, "del with a hash tag");
}

async function pipelines(cluster) {
  const pipeline = cluster.pipeline();
  for (let n = 0; n < 500; n += 1) pipeline.set(`{js:p}${n}`, n).get(`{js:p}${n}`);
  const replies = await pipeline.exec();
  check(replies.length === 1000 && replies.every(([error]) => error === null), "pipeline of one slot");
  check(replies.every(([, reply], n) => reply === (n % 2 ? String((n - 1) / 2) : "OK")), "pipeline, in order");
  const auto = new Cluster([{ host, port: ports[1] }], { enableAutoPipelining: true });
  await Promise.all(count(500).map((n) => auto.set(`js:auto${n}`, n)));
  const values = await Promise.all(count(500).map((n) => auto.get(`js:auto${n}`)));
  check(values.every((value, n) => value === String(n)), "auto pipelining across slots");
  auto.disconnect();
}

async function expiry(cluster) {
  const keys = count(50).map((n) => `js:e${n}`);
  await Promise.all(keys.map((key) => cluster.set(key, "v", "EX", 100)));
  const ttls = await Promise.all(keys.map((key) => cluster.ttl(key)));
  check(ttls.every((ttl) => ttl > 90 && ttl <= 100), `ttl ${ttls}`);
  check((await cluster.expire(keys[0], 200)) === 1 && (await plain[2].ttl(keys[0])) > 190, "expire");
  check((await cluster.persist(keys[0])) === 1 && (await plain[1].ttl(keys[0])) === -1, "persist");
  await Promise.all(keys.map((key) => cluster.set(key, "v", "PX", 30)));
  await sleep(50);
  for (const redis of [cluster, ...plain]) {
    const found = await Promise.all(keys.map((key) => redis.get(key)));
    check(found.every((value) => value === null), "expired");
  }
}

async function scans(cluster) {
  const keys = count(1000).map((n) => `js:scan:${n}`).sort();
  await Promise.all(keys.map((key) => cluster.set(key, "v")));
  const found = [];
  for (const node of cluster.nodes("master")) {
    for await (const batch of node.scanStream({ match: "js:scan:*", count: 100 })) found.push(...batch);
  }
  check(same(found.sort(), keys), `the cores' scans told ${found.length} keys, ${new Set(found).size} of them once or more`);
  const sizes = await Promise.all(cluster.nodes("master").map((node) => node.dbsize()));
  const whole = await plain[0].dbsize();
  check(sizes.reduce((sum, size) => sum + size, 0) === whole, `dbsize by core ${sizes}, of one node ${whole}`);
  check(sizes.every((size) => size > 0), `every core has some: ${sizes}`);
}

async function siblings(cluster) {
  for (const n of count(20)) {
    const key = `js:d${n}`;
    await cluster.call("DYN.PUT", key, "milk");
    await cluster.call("DYN.PUT", key, "bread", "CONTEXT", "");
    const [context, ...values] = await cluster.callBuffer("DYN.GET", key);
    check(same(values.map(String), ["bread", "milk"]), `two siblings: ${values}`);
    const told = await Promise.all(plain.map((redis) => redis.call("DYN.GET", key)));
    check(told.every(([, ...others]) => same(others, ["bread", "milk"])), `siblings at every node: ${told}`);
    await cluster.call("DYN.PUT", key, "milk,bread", "CONTEXT", context);
    const [newest, ...after] = await plain[1].callBuffer("DYN.GET", key);
    check(same(after.map(String), ["milk,bread"]), `one value again: ${after}`);
    await cluster.call("DYN.DEL", key, "CONTEXT", newest);
    check((await cluster.get(key)) === null, "DYN.DEL");
  }
}

async function acrossNodes(cluster) {
  for (const writer of plain.keys()) {
    for (const n of count(30)) {
      const [key, value] = [`js:x${n}`, `${writer}:${n}`];
      await plain[writer].set(key, value);
      const told = await Promise.all([cluster, ...plain].map((redis) => redis.get(key)));
      check(told.every((other) => other === value), `${key} written at node ${writer}: ${told}`);
    }
  }
}

// Sums over all nodes, when their cores have published what they counted.
async function figures() {
  await sleep(500);
  const told = await Promise.all(plain.map((redis) => redis.info("stats")));
  return ["forwarded_requests", "total_commands_processed"].map((name) =>
    told.reduce((sum, info) => sum + Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)[1]), 0),
  );
}

async function forwards(cluster) {
  const keys = count(1000).map((n) => `js:f${n}`);
  let before = await figures();
  await Promise.all(keys.map((key) => cluster.set(key, "v")));
  await Promise.all(keys.map((key) => cluster.get(key)));
  const [forwarded, commands] = (await figures()).map((after, n) => after - before[n]);
  console.log(`${forwarded} of 2000 commands forwarded for the cluster client`);
  check(commands >= 2000, `the nodes counted ${commands} of 2000 commands`);
  check(forwarded * 100 < 2000, `the nodes forwarded ${forwarded} of 2000 commands of a cluster client`);
  before = await figures();
  await Promise.all(keys.map((key) => plain[0].get(key)));
  const helped = (await figures())[0] - before[0];
  console.log(`${helped} of 1000 commands forwarded for a plain client`);
  check(cores === 1 || (helped > 100 && helped < 1000), `the nodes forwarded ${helped} of 1000 of a plain client`);
}

// Writes keys of its own and reads them again until told to stop; knows what was acknowledged.
class Load {
  acknowledged = new Map();
  operations = 0;
  doubts = 0;
  longest = 0;
  errors = [];
  isStopped = false;

  constructor(cluster, name) {
    this.cluster = cluster;
    this.name = name;
  }

  async run() {
    for (let n = 0; !this.isStopped; n += 1) {
      const started = performance.now();
      try {
        await this.step(n);
      } catch (error) {
        this.errors.push(error.message);
      }
      this.longest = Math.max(this.longest, performance.now() - started);
    }
  }

  async step(n) {
    const [key, value] = [`js:${this.name}:${n}`, `v${n}`];
    await this.cluster.set(key, value).catch((error) => {
      if (!error.message.startsWith("INDOUBT")) throw error;
      // No other value was ever given to this key.
      this.doubts += 1;
      return this.cluster.set(key, value);
    });
    this.acknowledged.set(key, value);
    const earlier = `js:${this.name}:${Math.floor(n / 2)}`;
    if (this.acknowledged.has(earlier)) {
      const found = await this.cluster.get(earlier);
      if (found !== this.acknowledged.get(earlier)) this.errors.push(`${earlier} was ${found}`);
    }
    this.operations += 2;
  }
}

const dev = (command) =>
  promisify(execFile)(process.env.ANNULUS_BINARY, ["dev", command, String(victim), "--dir", process.env.ANNULUS_DIR]);

async function waitMembers(number, up) {
  const deadline = performance.now() + 60000;
  while (performance.now() < deadline) {
    const info = await plain[number].info("cluster").catch(() => "");
    if (info.includes(`cluster_members_up:${up}\r\n`)) return;
    await sleep(50);
  }
  check(false, `node ${number} does not see ${up} members up`);
}

async function failures(cluster) {
  const loads = count(writers).map((n) => new Load(cluster, `load${n}`));
  const running = loads.map((load) => load.run());
  const operations = () => loads.reduce((sum, load) => sum + load.operations, 0);
  await sleep(1000);
  const moments = [0, operations()];
  for (const [command, up] of [
    ["kill", ports.length - 1],
    ["heal", ports.length],
  ]) {
    await dev(command);
    await waitMembers(0, up);
    await sleep(2000);
    moments.push(operations());
  }
  await waitMembers(victim, ports.length);
  loads.forEach((load) => (load.isStopped = true));
  await Promise.all(running);
  moments.slice(1).forEach((sum, n) => check(sum - moments[n] > 100, `${sum - moments[n]} operations in phase ${n}`));
  const acknowledged = new Map(loads.flatMap((load) => [...load.acknowledged]));
  const errors = loads.flatMap((load) => load.errors);
  const doubts = loads.reduce((sum, load) => sum + load.doubts, 0);
  check(errors.length === 0, `${errors.length} errors of ${operations()} operations: ${errors.slice(0, 3)}`);
  check(doubts <= doubtsMax, `${doubts} writes in doubt`);
  const lost = await verify(acknowledged);
  const longest = Math.max(...loads.map((load) => load.longest)).toFixed(0);
  console.log(
    `${operations()} operations, ${acknowledged.size} writes acknowledged, ${lost} lost, ${doubts} in doubt, ` +
      `${errors.length} errors, longest step ${longest} ms`,
  );
}

async function verify(acknowledged) {
  const [keys, fresh] = [[...acknowledged.keys()], await connect()];
  let lost = 0;
  // A core refuses with BUSY what is more than it can have under way.
  for (let at = 0; at < keys.length; at += 1000) {
    const batch = keys.slice(at, at + 1000);
    const told = [await Promise.all(batch.map((key) => fresh.get(key)))];
    for (const redis of plain) told.push(await redis.mget(batch));
    lost += told.flatMap((values) => values.filter((value, n) => value !== acknowledged.get(batch[n]))).length;
  }
  check(keys.length > 500, `${keys.length} writes are too few to show anything`);
  check(lost === 0, `${lost} acknowledged writes were not found`);
  fresh.disconnect();
  return lost;
}

for (const protocol of [2, 3]) {
  await attempt(`RESP${protocol}`, async () => {
    console.log(`RESP${protocol}`);
    const cluster = await connect(protocol);
    for (const part of [topology, strings, pipelines, expiry, scans, siblings, acrossNodes, forwards]) {
      await attempt(part.name, () => part(cluster));
    }
    cluster.disconnect();
  });
}
await attempt("failures", async () => failures(await connect()));
finish();
