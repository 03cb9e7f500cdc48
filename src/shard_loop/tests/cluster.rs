//! What clients and operators are told of a cluster, and what operators can do in it.

use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::Role;
use annulus_cluster::node::{MapChange, Refusal};

use super::*;
use crate::cluster_view::example;
use crate::limits;
use crate::operation::{NotDone, Operation};

const OWN: u8 = 77;

/// A node with two cores in a cluster of three; the third does not answer, and a fourth has not been let in.
fn three() -> Cluster {
    let cluster = Cluster::new(2, 0);
    publish(&cluster, 2, false);
    cluster
}

fn publish(cluster: &Cluster, number: u64, third_is_up: bool) {
    let members = [
        example::member(1, 3, Role::Active, true),
        example::member(2, 1, Role::Active, third_is_up),
        example::member(3, 1, Role::Joining, true),
        example::member(OWN, 2, Role::Active, true),
    ];
    cluster.node.view.publish(example::view(OWN, number, 1024, 3, &members));
}

/// What operators wait for, all of one core.
fn operations(cluster: &mut Cluster, core: usize) -> Vec<Operation> {
    let wanted = std::mem::take(&mut cluster.operations);
    assert!(wanted.iter().all(|(of, _)| *of == core));
    wanted.into_iter().map(|(_, operation)| operation).collect()
}

#[test]
fn every_core_tells_of_the_newest_view() {
    let mut cluster = three();
    let clients = [cluster.connect(0), cluster.connect(1)];
    let nodes: Vec<String> = clients.map(|client| cluster.ask(client, "CLUSTER NODES").remove(0)).to_vec();
    assert_eq!(nodes[0].matches("master").count(), 7);
    assert!(nodes.iter().all(|told| told.matches("myself").count() == 1));
    assert_eq!(nodes[0].replace("myself,", ""), nodes[1].replace("myself,", ""));
    assert_eq!(nodes[0].matches("fail?").count(), 1);
    let slots = cluster.ask(clients[0], "CLUSTER SLOTS").remove(0);
    assert!(!slots.contains("10.0.0.2|"), "nobody is sent to who does not answer");
    assert_eq!(cluster.ask(clients[1], "CLUSTER SLOTS").remove(0), slots);
    let made = cluster.node.topologies.made();
    (0..100).for_each(|_| assert_eq!(cluster.ask(clients[0], "CLUSTER SLOTS").remove(0), slots));
    assert_eq!(cluster.node.topologies.made(), made, "once for each view");
    publish(&cluster, 3, true);
    assert!(cluster.ask(clients[0], "CLUSTER SLOTS").remove(0).contains("10.0.0.2|"));
    let told = cluster.ask(clients[0], "CLUSTER INFO; INFO replication; INFO cluster; INFO annulus").join("");
    for line in [
        "cluster_state:ok",
        "cluster_known_nodes:7",
        "cluster_map_epoch:1000000",
        "connected_slaves:2",
        "cluster_members:4",
        "cluster_members_active:3",
        "in_force_n:3",
        "in_force_w:2",
    ] {
        assert!(told.contains(&format!("|{line}|")), "{line} in {told}");
    }
}

#[test]
fn each_core_is_a_shard_and_has_no_links_alone() {
    let mut cluster = three();
    let clients = [cluster.connect(0), cluster.connect(1)];
    for command in ["CLUSTER MYSHARDID", "CLUSTER MYID"] {
        let ids = clients.map(|client| cluster.ask(client, command).remove(0));
        assert!(ids[0] != ids[1] && ids.iter().all(|id| id.starts_with("$40|")), "{ids:?}");
    }
    cluster.expect(clients[0], "CLUSTER LINKS", &["*0|"]);
}

#[test]
fn members_and_ring() {
    let mut cluster = three();
    let client = cluster.connect(1);
    cluster.node.skews.note(NodeId::new(1), -61_000);
    let members = cluster.ask(client, "DYN.ADMIN MEMBERS").remove(0);
    assert!(members.starts_with("*4|*24|$4|node|$12|000000000001|$4|self|:0|$4|role|$6|active|$2|up|:1|"), "{members}");
    assert!(members.contains("|$4|node|$12|00000000004d|$4|self|:1|"), "{members}");
    let status = cluster.ask(client, "DYN.ADMIN STATUS").remove(0);
    assert!(status.contains("|$13|clock_skew_ms|:-61000|") && status.contains("|$10|members_up|:2|"), "{status}");
    let ring = cluster.ask(client, "HELLO 3; DYN.ADMIN RING").remove(1);
    assert!(ring.starts_with("%2|$4|ring|%8|$9|map_epoch|:1000000|$11|fingerprint|$16|"), "{ring}");
    assert!(ring.contains("|$15|too_few_members|#f|$7|members|:3|$5|zones|:1|$5|nodes|*3|%8|"), "{ring}");
    assert_eq!(ring.matches("|$10|partitions|:1024|").count(), 4, "three copies on three nodes: {ring}");
    assert_eq!(ring.matches("|$15|percent_of_fair|:100|").count(), 3, "{ring}");
}

#[test]
fn what_is_in_sync_is_told_of_every_other_owner() {
    let mut cluster = three();
    let client = cluster.connect(0);
    let sync = cluster.ask(client, "DYN.ADMIN SYNC").remove(0);
    assert!(sync.starts_with("*2048|*24|$9|partition|:0|$4|core|:0|$4|node|$12|00000000000"), "{sync}");
    let some = cluster.ask(client, "DYN.ADMIN SYNC 511 512").remove(0);
    assert!(some.starts_with("*4|*24|$9|partition|:511|$4|core|:0|"), "{some}");
    assert!(some.contains("|$9|partition|:512|$4|core|:1|") && some.contains("|$15|in_sync_unix_ms|$-1|"), "{some}");
    cluster.expect(client, "DYN.ADMIN HINTS", &["*0|"]);
    let mut alone = Cluster::new(2, 0);
    let client = alone.connect(0);
    alone.expect(client, "DYN.ADMIN SYNC", &["*0|"]);
    let refused = alone.ask(client, "DYN.ADMIN SYNC 1 2 3; DYN.ADMIN SYNC 2 1").join("");
    assert!(refused.contains("'dyn.admin|sync'") && refused.contains("ends before it begins"), "{refused}");
}

#[test]
fn an_operators_wish_is_answered_by_the_control_plane() {
    let mut cluster = three();
    cluster.node.note_control();
    let clients = [cluster.connect(1), cluster.connect(1)];
    cluster.say(clients[0], "DYN.ADMIN JOIN 10.0.0.3:7379; PING");
    cluster.say(clients[1], "DYN.ADMIN LEAVE");
    cluster.settle();
    let wanted = operations(&mut cluster, 1);
    assert_eq!(
        wanted.iter().map(|operation| (operation.node.raw(), operation.change)).collect::<Vec<_>>(),
        [(3, MapChange::Join), (u64::from(OWN), MapChange::Leave)]
    );
    let shard = &mut cluster.cores[1].shard;
    shard.on_operated(wanted[1].token, Err(NotDone::Refused(Refusal::Removed)));
    shard.on_operated(wanted[0].token, Ok(()));
    cluster.settle();
    assert_eq!(cluster.replies(clients[0]), ["+OK|", "+PONG|"]);
    assert_eq!(cluster.replies(clients[1]), ["-ERR the node was removed|"]);
    let unknown = "-ERR no node 4 is known here: DYN.ADMIN MEMBERS lists ids and addresses|";
    let too_many = "-ERR name one node, by its id or its address|";
    cluster.expect(clients[0], "DYN.ADMIN JOIN 4; DYN.ADMIN LEAVE 1 2", &[unknown, too_many]);
}

#[test]
fn without_a_control_plane_nobody_joins_and_too_many_are_told_so() {
    let mut cluster = three();
    let client = cluster.connect(0);
    let no_cluster = "-ERR this node belongs to no cluster: start it with a cluster's name and secret|";
    cluster.expect(client, "DYN.ADMIN JOIN; PING", &[no_cluster, "+PONG|"]);
    cluster.node.note_control();
    let commands = "DYN.ADMIN JOIN;".repeat(limits::OPERATIONS_MAX + 1);
    cluster.say(client, &commands);
    cluster.settle();
    let wanted = operations(&mut cluster, 0);
    assert_eq!(wanted.len(), limits::OPERATIONS_MAX);
    wanted.iter().for_each(|operation| cluster.cores[0].shard.on_operated(operation.token, Ok(())));
    cluster.settle();
    let replies = cluster.replies(client);
    assert_eq!(replies.iter().filter(|reply| *reply == "+OK|").count(), limits::OPERATIONS_MAX);
    assert!(replies.last().is_some_and(|reply| reply.starts_with("-BUSY ")), "{replies:?}");
}
