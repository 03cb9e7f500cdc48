//! The orderly end: clients get their last replies, and what was acknowledged is found again.

use super::*;

/// The same disk after a crash, opened anew.
fn reopened(cluster: &Cluster, cores: u16) -> Cluster {
    let disk = &cluster.cores[0].disk;
    disk.crash();
    Cluster::open(disk.clone(), cores, 0, limits(), cluster.incarnation + 1)
}

#[test]
fn a_drain_ends_with_everything_durable() {
    for seed in 0..10 {
        let mut cluster = Cluster::open(MemoryDisk::new(seed), 2, 0, limits(), 1);
        let clients: Vec<usize> = [0, 1, 0].map(|core| cluster.connect(core)).to_vec();
        cluster.completions_max = 0;
        for client in &clients {
            let writes: String = (0..50).map(|at| format!("SET c{client}:{at} v{at};")).collect();
            cluster.say(*client, &format!("{writes} MSET m{client} 1 n{client} 2; DEL c{client}:0"));
        }
        for _ in 0..3 {
            cluster.turn(0);
            cluster.turn(1);
        }
        assert!(clients.iter().all(|client| cluster.clients[*client].output.is_empty()));
        assert!(cluster.in_flight() > 0);
        cluster.completions_max = 1;
        cluster.drain();
        for client in &clients {
            assert_eq!(cluster.replies(*client).len(), 52);
            assert!(cluster.clients[*client].closed);
        }
        assert_eq!((cluster.in_flight(), cluster.node.clients()), (0, 0));
        assert!(cluster.cores.iter_mut().all(|core| !core.shard.may_connect(0)));
        let mut again = reopened(&cluster, 2);
        let asks = again.connect(0);
        again.expect(asks, "DBSIZE", &[&format!(":{}|", 3 * 51)]);
        for client in &clients {
            for at in 1..50 {
                again.expect(asks, &format!("GET c{client}:{at}"), &[&bulk(&format!("v{at}"))]);
            }
            again.expect(asks, &format!("EXISTS c{client}:0 m{client} n{client}"), &[":2|"]);
        }
    }
}

#[test]
fn shutdown_drains_the_node() {
    let mut cluster = Cluster::new(2, 0);
    let [client, other] = [0, 1].map(|core| cluster.connect(core));
    cluster.say(other, &format!("SET {} 1", key_of(0, 0)));
    cluster.say(client, "SET k v; SHUTDOWN NOSAVE");
    cluster.settle();
    assert_eq!(cluster.node.phase(), Phase::Draining);
    cluster.drain();
    assert_eq!((cluster.replies(client), cluster.replies(other)), (vec!["+OK|".to_owned()], vec!["+OK|".to_owned()]));
}

#[test]
fn clients_that_never_read_are_abandoned() {
    let mut cluster = Cluster::new(1, 4 << 20);
    let slow = cluster.connect(0);
    cluster.expect(slow, &format!("SET k {}", "v".repeat(500_000)), &["+OK|"]);
    cluster.clients[slow].reads = false;
    cluster.say(slow, &"GET k;".repeat(20));
    cluster.settle();
    cluster.node.enter(Phase::Draining);
    cluster.settle();
    assert_eq!(cluster.cores[0].shard.progress(), Progress::Drain);
    cluster.begin(0);
    cluster.cores[0].shard.abandon_clients();
    cluster.end(0);
    cluster.drain();
}

#[test]
fn what_was_acknowledged_survives_a_crash_without_an_end() {
    for seed in 0..10 {
        let mut cluster = Cluster::open(MemoryDisk::new(seed), 2, 0, limits(), 1);
        let client = cluster.connect(0);
        cluster.completions_max = 1;
        let writes: String = (0..100).map(|at| format!("SET k{at} v{at};")).collect();
        cluster.say(client, &writes);
        cluster.bytes_max = 200;
        for turn in 0..24 {
            cluster.turn(turn % 2);
        }
        let acknowledged = cluster.replies(client).len();
        assert!((5..95).contains(&acknowledged), "{acknowledged}");
        let mut again = reopened(&cluster, 2);
        let asks = again.connect(1);
        for at in 0..acknowledged {
            again.expect(asks, &format!("GET k{at}"), &[&bulk(&format!("v{at}"))]);
        }
    }
}
