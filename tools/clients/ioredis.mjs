// ioredis, unmodified, against a node on 127.0.0.1:$ANNULUS_PORT: plain and cluster.
//
// Run by `cargo xtask clients`. Every check prints what failed; the last line counts.
import { Redis, Cluster } from "ioredis";
import { attempt, check, expectError, finish } from "./checks.mjs";

const host = "127.0.0.1";
const port = Number(process.env.ANNULUS_PORT);
const plainOnly = process.env.ANNULUS_PLAIN_ONLY === "1";

async function plain() {
  const redis = new Redis({ host, port, connectionName: "ioredis", maxRetriesPerRequest: 1 });
  check((await redis.ping()) === "PONG", "ping");
  await redis.flushall();
  check((await redis.set("k", "v")) === "OK", "set");
  check((await redis.get("k")) === "v", "get");
  check((await redis.get("missing")) === null, "get of nothing");
  const bytes = Buffer.from([0, 255, 13, 10, 36]);
  await redis.set("bytes", bytes);
  check(bytes.equals(await redis.getBuffer("bytes")), "any bytes");
  await redis.mset("a", "1", "b", "2");
  check(JSON.stringify(await redis.mget("a", "missing", "b")) === '["1",null,"2"]', "mget");
  check((await redis.del("a", "b", "missing")) === 2, "del");
  await redis.set("k", "v", "EX", 100);
  const ttl = await redis.ttl("k");
  check(ttl > 90 && ttl <= 100, `ttl ${ttl}`);
  check((await redis.persist("k")) === 1 && (await redis.ttl("k")) === -1, "persist");
  check((await redis.getdel("k")) === "v", "getdel");
  const pipeline = redis.pipeline();
  for (let n = 0; n < 1000; n += 1) pipeline.set(`p${n}`, n).get(`p${n}`);
  const replies = await pipeline.exec();
  check(replies.length === 2000 && replies.every(([error]) => error === null), "pipeline");
  check(replies.every(([, reply], n) => reply === (n % 2 ? String((n - 1) / 2) : "OK")), "pipeline, in order");
  const keys = new Set();
  for await (const batch of redis.scanStream({ match: "p*", count: 100 })) batch.forEach((key) => keys.add(key));
  check(keys.size === 1000, `scanStream found ${keys.size}`);
  const auto = new Redis({ host, port, enableAutoPipelining: true });
  const values = await Promise.all([...Array(200).keys()].map((n) => auto.get(`p${n}`)));
  check(values.every((value, n) => value === String(n)), "auto pipelining");
  auto.disconnect();
  check((await redis.info()).includes("loading:0"), "info");
  check((await redis.dbsize()) >= 1000, "dbsize");
  await expectError(redis.call("NOSUCH"), "unknown command", "unknown command");
  if (!plainOnly) await expectError(redis.incr("p1"), "not served", "refused command");
  await redis.quit();
}

async function cluster() {
  const nodes = new Cluster([{ host, port }], { redisOptions: { maxRetriesPerRequest: 1 } });
  await new Promise((resolve, reject) => {
    nodes.once("ready", resolve);
    nodes.once("error", reject);
  });
  const primaries = nodes.nodes("master");
  check(primaries.length >= 1, "cluster: nodes");
  check(primaries.every((node) => node.options.port > port), "cluster: nodes are core ports");
  for (const node of primaries) await node.flushall();
  await Promise.all([...Array(1000).keys()].map((n) => nodes.set(`c${n}`, n)));
  const values = await Promise.all([...Array(1000).keys()].map((n) => nodes.get(`c${n}`)));
  check(values.every((value, n) => value === String(n)), "cluster: get");
  const sizes = await Promise.all(primaries.map((node) => node.dbsize()));
  check(sizes.reduce((sum, size) => sum + size, 0) === 1000, `cluster: dbsize by core ${sizes}`);
  const pipeline = nodes.pipeline();
  for (let n = 0; n < 100; n += 1) pipeline.set(`{tag}${n}`, n);
  check((await pipeline.exec()).every(([error]) => error === null), "cluster: pipeline of one slot");
  check((await nodes.del("{tag}1", "{tag}2", "{tag}none")) === 2, "cluster: del of one slot");
  nodes.disconnect();
}

await attempt("plain", plain);
if (!plainOnly) await attempt("cluster", cluster);
finish();
