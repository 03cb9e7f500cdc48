//! Who does not belong to a cluster: refused on both sides with a reason, and the cluster goes on undisturbed.
//!
//! Strangers come from addresses without a relay: a relay would not change what they are told.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use support::cluster::{Cluster, Place, status, write_secret};
use support::node::{Node, Options};
use support::random::Random;
use support::resp::Reply;
use support::wait_until;

/// How long a stranger tries.
const TRIES: Duration = Duration::from_secs(3);

/// Writes through every node, and a count of members that has not changed.
fn expect_undisturbed(cluster: &mut Cluster, nodes: usize) {
    for number in 0..nodes {
        cluster.node(number).expect_alive();
        let mut client = cluster.client(number);
        for key in 0..50 {
            client.words(&format!("SET sound-{key} {number}")).expect_ok();
            assert_eq!(client.words(&format!("GET sound-{key}")).bytes(), number.to_string().as_bytes());
        }
        assert_eq!(status(&mut client)["members_active"], Reply::Integer(nodes as i64), "nobody was let in");
    }
}

/// Waits until a process has said one of these words.
fn wait_said(node: &Node, words: &[&str]) {
    wait_until(&format!("one of {words:?} to be said"), || {
        let said = node.said().to_lowercase();
        words.iter().any(|word| said.contains(word))
    });
}

/// A stranger that is refused: both sides say why, and it owns nothing.
fn refused(cluster: &mut Cluster, options: &Options, words: &[&str]) {
    let mut stranger = options.spawn();
    stranger.wait_ready();
    wait_said(&stranger, words);
    let is_said = |cluster: &mut Cluster| (0..3).any(|number| said(cluster, number, words));
    wait_until("the cluster to say why", || is_said(cluster));
    expect_undisturbed(cluster, 3);
    assert!(
        status(&mut stranger.client()).get("members_active") != Some(&Reply::Integer(4)),
        "it belongs to the cluster"
    );
    stranger.stop();
}

fn said(cluster: &mut Cluster, number: usize, words: &[&str]) -> bool {
    let said = cluster.node(number).said().to_lowercase();
    words.iter().any(|word| said.contains(word))
}

#[test]
#[ignore = "needs the peers"]
fn a_wrong_secret() {
    let mut cluster = Cluster::start("strangers-secret", 3);
    let secret = cluster.path().join("another-secret");
    write_secret(&secret, "a secret of somebody else, as long as ours");
    let place = cluster.place_beside();
    let options = cluster.options_at(&place, "test", &secret);
    refused(&mut cluster, &options, &["secret"]);
}

#[test]
#[ignore = "needs the peers"]
fn a_node_of_another_cluster() {
    let mut cluster = Cluster::start("strangers-name", 3);
    let secret = cluster.path().join("secret");
    let place = cluster.place_beside();
    let options = cluster.options_at(&place, "other", &secret);
    refused(&mut cluster, &options, &["cluster name", "another cluster", "other cluster", "cluster's name"]);
}

#[test]
#[ignore = "needs the peers"]
fn two_nodes_with_one_identity() {
    let mut cluster = Cluster::start("strangers-id", 3);
    // A copy of a directory, such as somebody makes to "add a node".
    cluster.stop(2);
    let place = cluster.place_beside();
    copy(&cluster.places[2].data, &place.data);
    cluster.restart(2);
    cluster.wait_members(&[0, 1, 2], 3, 3);
    let secret = cluster.path().join("secret");
    let mut twin = cluster.options_at(&place, "test", &secret).spawn();
    std::thread::sleep(TRIES);
    // It ends, or it is refused and says so; either way the cluster still has three members and takes writes.
    if !twin.has_ended() {
        wait_said(&twin, &["same node", "same id", "identity", "already", "incarnation", "generation"]);
        twin.kill();
    }
    cluster.wait_members(&[0, 1, 2], 3, 3);
    expect_undisturbed(&mut cluster, 3);
}

#[test]
#[ignore = "needs the peers"]
fn two_nodes_that_announce_one_address() {
    let mut cluster = Cluster::start("strangers-address", 3);
    let Place { port, peers, data } = cluster.place_beside();
    let claimed = support::cluster::Place {
        port,
        peers: annulus::dev::relay::RelayedNode { front: cluster.places[1].peers.front, real: peers.real },
        data,
    };
    let secret = cluster.path().join("secret");
    let mut stranger = cluster.options_at(&claimed, "test", &secret).spawn();
    std::thread::sleep(TRIES);
    expect_undisturbed_members(&mut cluster);
    if !stranger.has_ended() {
        stranger.kill();
    }
    cluster.wait_members(&[0, 1, 2], 3, 3);
    expect_undisturbed(&mut cluster, 3);
}

/// As long as a stranger claims an address, writes go on.
fn expect_undisturbed_members(cluster: &mut Cluster) {
    for number in 0..3 {
        let mut client = cluster.client(number);
        (0..50).for_each(|key| client.words(&format!("SET claimed-{key} x")).expect_ok());
    }
}

#[test]
#[ignore = "needs the peers"]
fn garbage_on_the_ports_of_peers() {
    let mut cluster = Cluster::start("strangers-garbage", 3);
    let seed = Random::seed_from_environment();
    println!("ANNULUS_SEED={seed}");
    let mut random = Random::new(seed);
    let target = cluster.places[0].peers.real;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let began = Instant::now();
    let mut sent = 0;
    while began.elapsed() < TRIES {
        let bytes = garbage(&mut random);
        let _ = socket.send_to(&bytes[..bytes.len().min(1400)], target);
        if let Ok(mut stream) = TcpStream::connect(target) {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
            let _ = stream.write_all(&bytes);
            let _ = stream.read(&mut [0; 64]);
        }
        sent += 1;
    }
    println!("{sent} times garbage");
    assert!(sent > 20, "hardly anything was sent");
    expect_undisturbed(&mut cluster, 3);
    cluster.wait_members(&[0, 1, 2], 3, 3);
}

/// Random bytes, a long line, zeros, or the beginning of something else's protocol.
fn garbage(random: &mut Random) -> Vec<u8> {
    let length = 1 + random.below(3000) as usize;
    match random.below(5) {
        0 => vec![0; length],
        1 => vec![0xff; length],
        2 => b"*1\r\n$4\r\nPING\r\n".to_vec(),
        3 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        _ => (0..length).map(|_| random.bits() as u8).collect(),
    }
}

#[test]
#[ignore = "needs the peers"]
fn connections_that_say_nothing() {
    let mut cluster = Cluster::start("strangers-silent", 3);
    let target = cluster.places[0].peers.real;
    let silent: Vec<TcpStream> = (0..200).filter_map(|_| TcpStream::connect(target).ok()).collect();
    std::thread::sleep(TRIES);
    expect_undisturbed(&mut cluster, 3);
    // A peer still gets in beside them: a restarted node has to dial.
    cluster.kill(1);
    cluster.restart(1);
    cluster.wait_members(&[0, 1, 2], 3, 3);
    expect_undisturbed(&mut cluster, 3);
    drop(silent);
}

/// A seed that takes connections and datagrams and never answers, and one that is not there.
#[test]
#[ignore = "needs the peers"]
fn a_seed_that_never_answers() {
    // Seeds are written with the port of clients: 10000 below that of peers.
    let silent = (0..200)
        .find_map(|offset| TcpListener::bind(("127.0.3.1", 35_000 + offset)).ok())
        .expect("a port of an address of our own is free");
    let address = silent.local_addr().expect("it is bound");
    let _deaf = UdpSocket::bind(address).expect("the same port for datagrams");
    let seed = SocketAddr::new(address.ip(), address.port() - 10_000);
    let cluster = Cluster::start_with("strangers-seed", 3, |mut options, _| {
        let at = options.arguments.iter().position(|argument| argument == "--seeds").expect("it has seeds");
        options.arguments[at + 1] = format!("{seed},127.0.3.2:25001,{}", options.arguments[at + 1]);
        options
    });
    cluster.wait_members(&[0, 1, 2], 3, 3);
    let mut cluster = cluster;
    expect_undisturbed(&mut cluster, 3);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("the copy's directory can be made");
    for entry in std::fs::read_dir(from).expect("the directory can be read") {
        let entry = entry.expect("the directory can be read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a file has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("the file can be copied");
        }
    }
}
