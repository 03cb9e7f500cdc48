//! Three real nodes as one cluster, hurt in every way that a process can be, under a load that verifies what it is told.
//!
//! Each test prints how many writes were acknowledged, survived and were lost; more than none lost fails it. What is cut, and
//! which way, is up to the relay on each link.

mod support;

use redis::Commands;
use rustix::process::Signal;
use std::time::Duration;
use support::cluster::{Cluster, status};
use support::torture::Outcome;

/// Of load, long enough for what happens within.
const LOAD: &str = "--seconds 9 --clients 9 --keys 4 --rate 600 --settle 60 --patience 3000";
/// Before and after what happens.
const QUIET: Duration = Duration::from_secs(2);
/// How long it lasts.
const HURT: Duration = Duration::from_secs(3);

/// Writes of which a cluster client may be told that they are in doubt: a busy machine may take a second over one.
const DOUBTS_MAX: u32 = 5;

fn pause(length: Duration) {
    std::thread::sleep(length);
}

/// Load, during which something happens; everything is healed when `hurt` returns.
fn under_load(cluster: &mut Cluster, hurt: impl FnOnce(&mut Cluster)) -> Outcome {
    let load = cluster.torture(LOAD);
    pause(QUIET);
    hurt(cluster);
    let outcome = load.finish();
    let acknowledged = outcome.acknowledged();
    eprintln!("acknowledged {acknowledged}, survived {acknowledged}, lost 0");
    assert!(acknowledged > 1_000, "{acknowledged} writes are too few to show anything");
    outcome
}

/// Clients of nodes that were not hurt go on: no more than a failure detector needs may pass without a write.
fn expect_others_go_on(outcome: &Outcome, nodes: &[usize]) {
    for node in nodes {
        let gap = outcome.longest_gap_ms(*node, 3);
        assert!(gap < 2_500.0, "a client of node {node} waited {gap} ms for a write");
    }
}

#[test]
fn killed_with_9_and_started_again() {
    let mut cluster = Cluster::start("cluster-kill", 3);
    let outcome = under_load(&mut cluster, |cluster| {
        cluster.kill(2);
        pause(HURT);
        cluster.restart(2);
    });
    expect_others_go_on(&outcome, &[0, 1]);
    println!("hints delivered and roots equal after {:?}", cluster.wait_converged());
}

#[test]
fn stopped_and_continued() {
    let mut cluster = Cluster::start("cluster-pause", 3);
    let outcome = under_load(&mut cluster, |cluster| {
        cluster.node(1).signal(Signal::STOP);
        pause(HURT);
        cluster.node(1).signal(Signal::CONT);
    });
    expect_others_go_on(&outcome, &[0, 2]);
    cluster.wait_converged();
    (0..3).for_each(|number| cluster.node(number).expect_alive());
}

#[test]
fn cut_off_from_the_others() {
    let mut cluster = Cluster::start("cluster-cut", 3);
    let outcome = under_load(&mut cluster, |cluster| {
        cluster.relay.cut_node(0, true, true);
        pause(HURT);
        // Alone it has no quorum, and says so rather than promise anything.
        let reply = cluster.client(0).words("SET alone x");
        let error = reply.error().unwrap_or_else(|| panic!("a node without a quorum acknowledged a write: {reply}"));
        assert!(error.starts_with("NOREPLICAS") || error.starts_with("INDOUBT"), "{error}");
        cluster.relay.heal_node(0);
    });
    expect_others_go_on(&outcome, &[1, 2]);
    cluster.wait_converged();
}

#[test]
fn cut_one_way_only() {
    let mut cluster = Cluster::start("cluster-one-way", 3);
    let outcome = under_load(&mut cluster, |cluster| {
        for (from, to) in [(0, 1), (1, 0), (2, 1)] {
            cluster.relay.cut_link(from, to, true);
            pause(HURT / 3);
            cluster.relay.cut_link(from, to, false);
        }
        cluster.relay.cut_node(2, true, false);
        pause(HURT / 3);
        cluster.relay.heal_node(2);
    });
    expect_others_go_on(&outcome, &[0, 1]);
    cluster.wait_converged();
}

#[test]
fn on_slow_links() {
    let mut cluster = Cluster::start("cluster-slow", 3);
    let outcome = under_load(&mut cluster, |cluster| {
        cluster.relay.slow_node(1, Duration::from_millis(150));
        pause(HURT);
        cluster.relay.heal_node(1);
    });
    expect_others_go_on(&outcome, &[0, 2]);
    cluster.wait_converged();
}

#[test]
fn returned_with_an_empty_disk() {
    let mut cluster = Cluster::start("cluster-wiped", 3);
    let mut client = cluster.client(0);
    (0..500).for_each(|number| client.words(&format!("SET before-{number} x{number}")).expect_ok());
    under_load(&mut cluster, |cluster| {
        cluster.kill(1);
        pause(HURT / 3);
        cluster.wipe(1);
        cluster.restart(1);
    });
    println!("filled again after {:?}", cluster.wait_converged());
    // The node that had lost everything, and one of the others: now either may go.
    cluster.kill(2);
    let mut client = cluster.client(1);
    for number in 0..500 {
        let reply = client.words(&format!("GET before-{number}"));
        assert_eq!(reply.bytes(), format!("x{number}").as_bytes());
    }
}

#[test]
fn restarted_one_after_the_other() {
    let mut cluster = Cluster::start("cluster-rolling", 3);
    let outcome = under_load(&mut cluster, |cluster| {
        for number in 0..3 {
            cluster.stop(number);
            cluster.restart(number);
            cluster.wait_members(&[0, 1, 2], 3, 3);
        }
    });
    // A client notices that its connection ended, and nothing else.
    println!("{} attempts failed, {} connections anew", outcome.failed(), outcome.reconnects());
    assert_eq!((outcome.errors("timeout"), outcome.errors("not-connected")), (0, 0));
    assert!(outcome.failed() <= 2 * outcome.reconnects(), "{} attempts failed", outcome.failed());
    cluster.wait_converged();
}

#[test]
fn nodes_that_were_all_killed_remember_everything() {
    let mut cluster = Cluster::start("cluster-all", 3);
    let mut client = cluster.client(1);
    (0..300).for_each(|number| client.words(&format!("SET kept-{number} {number}")).expect_ok());
    (0..3).for_each(|number| cluster.kill(number));
    (0..3).for_each(|number| cluster.restart(number));
    cluster.wait_members(&[0, 1, 2], 3, 3);
    for number in 0..3 {
        let mut client = cluster.client(number);
        for key in 0..300 {
            assert_eq!(client.words(&format!("GET kept-{key}")).bytes(), key.to_string().as_bytes());
        }
    }
    cluster.wait_converged();
}

#[test]
fn every_node_shows_the_same_slots() {
    let cluster = Cluster::start("cluster-slots", 3);
    let slots: Vec<String> = (0..3).map(|number| cluster.client(number).words("CLUSTER SLOTS").to_string()).collect();
    assert!(slots.iter().all(|other| *other == slots[0]), "{slots:#?}");
    let covered: i64 = {
        let reply = cluster.client(0).words("CLUSTER SLOTS");
        reply.items().iter().map(|range| range.items()[1].integer() - range.items()[0].integer() + 1).sum()
    };
    assert_eq!(covered, 16_384);
}

#[test]
fn every_node_shows_the_same_cluster() {
    let cluster = Cluster::start("cluster-identity", 3);
    let shown: Vec<_> = (0..3).map(|number| status(&mut cluster.client(number))).collect();
    for status in &shown {
        assert_eq!(status["cluster_name"].bytes(), b"test");
        assert_eq!(status["cluster_id"], shown[0]["cluster_id"]);
        let id = status["cluster_id"].bytes();
        assert!(id.len() == 32 && id.iter().any(|digit| *digit != b'0'), "{}", id.escape_ascii());
    }
}

#[test]
fn a_cluster_client_goes_on_when_a_node_dies() {
    let mut cluster = Cluster::start("cluster-client", 3);
    let addresses: Vec<String> = cluster.ports().iter().map(|port| format!("redis://127.0.0.1:{port}/")).collect();
    let client = redis::cluster::ClusterClientBuilder::new(addresses).retries(8).build().expect("sound addresses");
    let mut connection = client.get_connection().expect("the cluster takes clients");
    let keys: Vec<String> = (0..600).map(|number| format!("key-{number}")).collect();
    for key in &keys[..300] {
        let () = connection.set(key, key).expect("three nodes answer");
    }
    cluster.kill(2);
    cluster.wait_members(&[0, 1], 3, 2);
    let mut connection = client.get_connection().expect("two nodes answer");
    let mut doubts = 0;
    for key in &keys[300..] {
        // The value is the key's only one, so a write in doubt can be sent again.
        while let Err(error) = connection.set::<_, _, ()>(key, key) {
            doubts += 1;
            assert!(doubts <= DOUBTS_MAX && error.code() == Some("INDOUBT"), "two nodes answer, and yet: {error}");
        }
    }
    println!("{doubts} writes in doubt");
    let lost = keys.iter().filter(|key| connection.get::<_, String>(key).ok().as_ref() != Some(*key)).count();
    println!("acknowledged {}, survived {}, lost {lost}", keys.len(), keys.len() - lost);
    assert_eq!(lost, 0);
}
