//! DYN.ADMIN: every core has its part in the reply, whichever is asked.

use super::*;

/// The value behind each `name` in a reply.
fn values<'a>(reply: &'a str, name: &str) -> Vec<&'a str> {
    let parts: Vec<&str> = reply.split('|').collect();
    let is_text = |part: &str| part.starts_with('$');
    let names = (0..parts.len()).filter(|at| parts[*at] == name);
    names.map(|at| if is_text(parts[at + 1]) { parts[at + 2] } else { parts[at + 1] }).collect()
}

/// Two cores, three keys on the first and five on the second.
fn filled() -> (Cluster, [usize; 2]) {
    let mut cluster = Cluster::new(2, 1 << 20);
    let clients = [cluster.connect(0), cluster.connect(1)];
    let keys = (0..3).map(|number| key_of(0, number)).chain((0..5).map(|number| key_of(1, number)));
    let commands: String = keys.map(|key| format!("SET {key} v;")).collect();
    assert_eq!(cluster.ask(clients[0], &commands), ["+OK|"; 8]);
    (cluster, clients)
}

#[test]
fn status_of_the_node_and_of_every_core() {
    let (mut cluster, clients) = filled();
    for client in clients {
        let reply = cluster.ask(client, "DYN.ADMIN STATUS").remove(0);
        assert!(
            reply
                .starts_with("*6|$4|node|*40|$7|node_id|$12|00000000004d|$12|cluster_name|$-1|$10|cluster_id|$32|0909"),
            "{reply}"
        );
        assert!(reply.contains("|$5|cores|*2|*16|$4|core|:0|$4|keys|:3|"), "{reply}");
        for (name, expected) in [
            ("incarnation", vec![":1"; 2]),
            ("version", vec![env!("CARGO_PKG_VERSION")]),
            ("phase", vec!["ready"]),
            ("durability", vec!["sync"]),
            ("partitions", vec![":1024", ":1024"]),
            ("clients", vec![":2"]),
            ("members_active", vec![":1"]),
            ("copies", vec![":1"]),
            ("copies_wanted", vec![":3"]),
            ("write_quorum", vec![":1"]),
            ("role", vec!["active"]),
            ("core", vec![":0", ":1"]),
            ("keys", vec![":3", ":5"]),
            ("disk_level", vec!["ample"; 2]),
            ("read_only", vec![":0"; 2]),
        ] {
            assert_eq!(values(&reply, name), expected, "{name} in {reply}");
        }
        let segments: Vec<u32> = values(&reply, "log_segments").iter().map(|text| text[1..].parse().unwrap()).collect();
        assert!(segments.iter().all(|segments| *segments > 0), "{reply}");
    }
    let reply = cluster.ask(clients[1], "HELLO 3; DYN.ADMIN STATUS").remove(1);
    assert!(reply.starts_with("%3|$4|node|%20|") && reply.contains("|$5|cores|*2|%8|$4|core|:0|"), "{reply}");
    assert_eq!(values(&reply, "read_only"), ["#f", "#f"]);
}

#[test]
fn partitions_in_order_from_their_cores() {
    let (mut cluster, clients) = filled();
    for client in clients {
        let reply = cluster.ask(client, "DYN.ADMIN PARTITIONS").remove(0);
        assert!(reply.starts_with("*1024|*18|$9|partition|:0|$4|core|:0|$4|keys|:"), "{reply}");
        let numbers: Vec<String> = (0..1024).map(|number| format!(":{number}")).collect();
        assert_eq!(values(&reply, "partition"), numbers);
        let of_core = |core: &str| -> u32 {
            let keys = values(&reply, "core").into_iter().zip(values(&reply, "keys"));
            keys.filter(|(of, _)| *of == core).map(|(_, keys)| keys[1..].parse::<u32>().unwrap()).sum()
        };
        assert_eq!((of_core(":0"), of_core(":1")), (3, 5));
        let some = cluster.ask(client, "DYN.ADMIN PARTITIONS 510 513; dyn.admin partitions 512").join("");
        assert_eq!(values(&some, "partition"), [":510", ":511", ":512", ":513", ":512"]);
        assert_eq!(values(&some, "core"), [":0", ":0", ":1", ":1", ":1"]);
    }
    cluster.expect(clients[0], "FLUSHALL; DBSIZE", &["+OK|", ":0|"]);
    let reply = cluster.ask(clients[1], "DYN.ADMIN PARTITIONS").remove(0);
    assert!(values(&reply, "keys").iter().all(|keys| *keys == ":0"));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let mut cluster = Cluster::new(2, 0);
    let client = cluster.connect(0);
    for (command, error) in [
        ("DYN.ADMIN", "-ERR wrong number of arguments for 'dyn.admin' command|"),
        ("DYN.ADMIN NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try DYN.ADMIN HELP.|"),
        ("DYN.ADMIN STATUS now", "-ERR wrong number of arguments for 'dyn.admin|status' command|"),
        ("DYN.ADMIN PARTITIONS 1 2 3", "-ERR wrong number of arguments for 'dyn.admin|partitions' command|"),
        ("DYN.ADMIN PARTITIONS 1024", "-ERR partition 1024 is out of range: they are numbered from 0 to 1023|"),
        ("DYN.ADMIN PARTITIONS 0 x", "-ERR value is not an integer or out of range|"),
        ("DYN.ADMIN PARTITIONS 2 1", "-ERR the range of partitions ends before it begins: 2 to 1|"),
    ] {
        // An error's text has a bar of its own.
        assert_eq!(cluster.ask(client, command).join(""), error, "{command}");
    }
    assert!(cluster.ask(client, "DYN.ADMIN HELP")[0].contains("|+PARTITIONS [first [last]]|"));
    cluster.expect(client, "CLIENT REPLY OFF; DYN.ADMIN STATUS; DYN.ADMIN PARTITIONS; CLIENT REPLY ON", &["+OK|"]);
    assert!(cluster.cores.iter().all(|core| core.shard.gathers.is_empty()));
    cluster.expect(client, "CONFIG SET requirepass secret", &["+OK|"]);
    let stranger = cluster.connect(1);
    cluster.expect(stranger, "DYN.ADMIN STATUS", &["-NOAUTH Authentication required.|"]);
    assert!(cluster.ask(stranger, "AUTH secret; DYN.ADMIN STATUS")[1].starts_with("*6|$4|node|"));
}
