//! The `redis` crate, unmodified, against a node with two cores: blocking, tokio, and both cluster clients.
//!
//! Other languages' clients are run by `cargo xtask clients`. This is the only test that names an executor.

mod support;

use redis::cluster::ClusterClient;
use redis::{AsyncCommands, Commands, Connection, ErrorKind, RedisResult, Value};
use std::collections::{BTreeMap, HashSet};
use support::directory::Directory;
use support::node::{Node, Options};

fn node(name: &str) -> (Directory, Node) {
    let directory = Directory::new(name);
    let node = Options::new(directory.path()).start();
    (directory, node)
}

fn address(node: &Node, resp3: bool) -> String {
    format!("redis://127.0.0.1:{}/{}", node.port, if resp3 { "?protocol=resp3" } else { "" })
}

fn connect(node: &Node, resp3: bool) -> Connection {
    let client = redis::Client::open(address(node, resp3)).expect("a valid address");
    client.get_connection().expect("the node accepts this client")
}

#[test]
fn blocking_client_in_both_protocols() -> RedisResult<()> {
    let (_directory, node) = node("client-blocking");
    for resp3 in [false, true] {
        let mut connection = connect(&node, resp3);
        let () = redis::cmd("FLUSHALL").query(&mut connection)?;
        let () = connection.set("name", "annulus")?;
        assert_eq!(connection.get::<_, String>("name")?, "annulus");
        assert_eq!(connection.get::<_, Option<String>>("none")?, None);
        let () = connection.set_ex("short", "x", 100)?;
        assert!((90..=100).contains(&connection.ttl::<_, i64>("short")?));
        let () = connection.mset(&[("a", 1), ("b", 2), ("c", 3)])?;
        let values: Vec<Option<i64>> = connection.mget(&["a", "none", "c"])?;
        assert_eq!(values, [Some(1), None, Some(3)]);
        assert_eq!(connection.del::<_, i64>(&["a", "b", "none"])?, 2);
        let keys: HashSet<String> = connection.scan()?.collect::<RedisResult<_>>()?;
        assert_eq!(keys, ["name", "short", "c"].map(String::from).into());
        assert_eq!(redis::cmd("DBSIZE").query::<i64>(&mut connection)?, 3);
        let error = redis::cmd("NOSUCH").query::<Value>(&mut connection).expect_err("no such command");
        assert_eq!(error.kind(), ErrorKind::Server(redis::ServerErrorKind::ResponseError));
    }
    Ok(())
}

#[test]
fn pipelines_keep_their_order_across_cores() -> RedisResult<()> {
    let (_directory, node) = node("client-pipeline");
    let mut connection = connect(&node, true);
    let mut pipeline = redis::pipe();
    for number in 0..2_000 {
        pipeline.set(format!("key-{number}"), number).ignore();
        pipeline.get(format!("key-{number}"));
    }
    let values: Vec<i64> = pipeline.query(&mut connection)?;
    assert_eq!(values, (0..2_000).collect::<Vec<i64>>());
    Ok(())
}

#[test]
fn tokio_client_multiplexes() -> RedisResult<()> {
    let (_directory, node) = node("client-tokio");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = redis::Client::open(address(&node, true))?;
        let connection = client.get_multiplexed_async_connection().await?;
        let mut tasks = Vec::new();
        for task in 0..20 {
            let mut connection = connection.clone();
            tasks.push(tokio::spawn(async move {
                for number in 0..100 {
                    let key = format!("task-{task}-{number}");
                    let () = connection.set(&key, number).await?;
                    assert_eq!(connection.get::<_, i64>(&key).await?, number);
                }
                RedisResult::Ok(())
            }));
        }
        for task in tasks {
            task.await.expect("no task panics")?;
        }
        let mut connection = connection;
        assert_eq!(redis::cmd("DBSIZE").query_async::<i64>(&mut connection).await?, 2_000);
        Ok(())
    })
}

#[test]
fn cluster_client_lands_on_every_core() -> RedisResult<()> {
    let (_directory, node) = node("client-cluster");
    let client = ClusterClient::new(vec![address(&node, true)])?;
    let mut connection = client.get_connection()?;
    let keys: Vec<String> = (0..1_000).map(|number| format!("key-{number}")).collect();
    for key in &keys {
        let () = connection.set(key, key)?;
    }
    for key in &keys {
        assert_eq!(connection.get::<_, String>(key)?, *key);
    }
    let mut pipeline = redis::cluster::cluster_pipe();
    keys.iter().for_each(|key| {
        pipeline.get(key);
    });
    assert_eq!(pipeline.query::<Vec<String>>(&mut connection)?, keys);
    let mut sizes = BTreeMap::new();
    for core in 0..node.cores {
        let mut client = support::resp::Client::connect(node.core_port(core));
        sizes.insert(core, client.words("DBSIZE").integer());
    }
    assert_eq!(sizes.values().sum::<i64>(), 1_000, "core ports count their own keys: {sizes:?}");
    assert!(sizes.values().all(|&size| size > 0), "every core holds some: {sizes:?}");
    Ok(())
}

#[test]
fn async_cluster_client() -> RedisResult<()> {
    let (_directory, node) = node("client-cluster-async");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = ClusterClient::new(vec![address(&node, false)])?;
        let mut connection = client.get_async_connection().await?;
        for number in 0..300 {
            let key = format!("{{tag-{}}}-{number}", number % 7);
            let () = connection.set(&key, number).await?;
            assert_eq!(connection.get::<_, i64>(&key).await?, number);
            assert_eq!(connection.del::<_, i64>(&key).await?, 1);
        }
        Ok(())
    })
}

/// What cluster clients are told covers every slot once, with each core as a node of its own.
#[test]
fn topology_covers_all_slots() {
    let (_directory, node) = node("client-topology");
    let mut client = node.client();
    let reply = client.words("CLUSTER SLOTS");
    let mut covered = vec![0u8; 16_384];
    let mut ports = HashSet::new();
    for range in reply.items() {
        let range = range.items();
        (range[0].integer()..=range[1].integer()).for_each(|slot| covered[slot as usize] += 1);
        assert_eq!(range[2].items()[0].bytes(), b"127.0.0.1", "the address that the client reached");
        ports.insert(range[2].items()[1].integer());
    }
    assert!(covered.iter().all(|&count| count == 1), "every slot once");
    let expected = (0..node.cores).map(|core| i64::from(node.core_port(core))).collect();
    assert_eq!(ports, expected);
    let nodes = client.words("CLUSTER NODES");
    let nodes = String::from_utf8_lossy(nodes.bytes()).into_owned();
    assert_eq!(nodes.lines().count(), node.cores, "{nodes}");
    assert_eq!(nodes.matches("myself").count(), 1, "{nodes}");
    let information = client.words("CLUSTER INFO");
    let information = String::from_utf8_lossy(information.bytes()).into_owned();
    assert!(information.contains("cluster_state:ok\r\n"), "{information}");
    assert!(information.contains("cluster_slots_ok:16384\r\n"), "{information}");
}
