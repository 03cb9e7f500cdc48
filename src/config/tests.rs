//! What the configuration promises: defaults, ranges, places of errors, relations, the listing.

use std::time::Duration;

use super::*;

const GIB: u64 = 1 << 30;

const _: () = {
    const fn crosses_cores<T: Send + Sync>() {}
    crosses_cores::<Config>();
    crosses_cores::<RuntimeConfig>();
};

fn environment() -> Environment {
    Environment { affinity: vec![0, 1, 4, 5], memory_bytes: 10 * GIB }
}

fn from_file(text: &str) -> Result<Config, ConfigError> {
    Config::build(&Sources::parse("a.toml", text)?, &environment())
}

fn refusal(text: &str) -> String {
    from_file(text).unwrap_err().to_string()
}

#[test]
fn defaults() {
    let config = Config::build(&Sources::none(), &environment()).unwrap();
    assert!(config.data.is_absolute() && config.data.ends_with("annulus-data"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:7379");
    assert_eq!(config.http.unwrap().to_string(), "127.0.0.1:9379");
    assert_eq!(config.cores, [0, 1, 4, 5]);
    assert_eq!(config.durability, Durability::Sync);
    assert_eq!(config.memory_limit_bytes, 8 * GIB);
    assert_eq!(config.cache_bytes, 2 * GIB);
    assert_eq!(config.hot_log_bytes, None);
    assert_eq!(config.partitions, 1024);
    assert_eq!(config.preempt_timer, Duration::from_micros(250));
    assert_eq!(config.runtime, RuntimeConfig::default());
}

#[test]
fn every_key_is_read_from_the_file() {
    let config = from_file(
        r#"
data = "/var/lib/annulus"
listen = "0.0.0.0:7000"
cores = "0,4-5"
durability = "interval"
interval = "50ms"
cache = 1048576
memory-limit = "2gb"
hot-log-bytes = "512 MiB"
http = "off"
insecure = false
requirepass = "secret"
maxclients = 20
timeout = 30
tcp-keepalive = 0
proto-max-bulk-len = "32mb"
client-output-buffer-limit = "128mb 64mb 10"
shutdown-timeout = "3s"
slowlog-log-slower-than = -1
slowlog-max-len = 7
latency-tracking = "no"
relaxed-commands = true
announce-host = "db-1.example.org"
announce = "node"
partitions = 16384
log-level = "debug"
preempt-timer = "100us"
background-load = true
cluster = "c-1"
secret-file = "/etc/secret"
seeds = ["db1:7379", "[::1]:7000"]
found = 3
zone = "rack-1"
peer-listen = "127.0.0.1:17001"
peer-announce = "db1:17002"
copies = 5
read-quorum = 2
write-quorum = 4
durable-quorum = 1
deadline = "2s"
"#,
    )
    .unwrap();
    assert_eq!(config.data.to_str(), Some("/var/lib/annulus"));
    assert_eq!(config.cores, [0, 4, 5]);
    assert_eq!((config.durability, config.interval), (Durability::Interval, Duration::from_millis(50)));
    assert_eq!((config.cache_bytes, config.memory_limit_bytes), (1 << 20, 2 * GIB));
    assert_eq!((config.hot_log_bytes, config.http), (Some(512 << 20), None));
    assert_eq!((config.announce, config.partitions), (Announce::Node, 16_384));
    assert_eq!(config.announce_host.as_deref(), Some("db-1.example.org"));
    assert_eq!((config.shutdown_timeout, config.background_load), (Duration::from_secs(3), true));
    let runtime = &config.runtime;
    assert!(runtime.requirepass.as_ref().unwrap().matches(b"secret"));
    assert_eq!((runtime.maxclients, runtime.timeout_s, runtime.tcp_keepalive_s), (20, 30, 0));
    assert_eq!((runtime.slowlog_slower_than_us, runtime.slowlog_entries_max), (-1, 7));
    assert_eq!((runtime.latency_tracking, runtime.log_level), (false, LogLevel::Debug));
    assert!(runtime.relaxed_commands);
    let output = OutputLimit { hard_bytes: 128 << 20, soft_bytes: 64 << 20, soft_seconds: 10 };
    assert_eq!(runtime.output_limit, output);
    let cluster = config.cluster.as_ref().unwrap();
    assert_eq!((cluster.name.as_str(), cluster.secret_file.to_str()), ("c-1", Some("/etc/secret")));
    let seeds: Vec<(&str, u16)> = cluster.seeds.iter().map(|seed| (seed.host.as_str(), seed.peer_port())).collect();
    assert_eq!(seeds, [("db1", 17_379), ("::1", 17_000)]);
    assert_eq!((cluster.found, cluster.zone.unwrap().name()), (Some(3), "rack-1"));
    assert_eq!((config.ports().peers(), config.ports().gossip()), (cluster.peer_listen, Some(cluster.peer_listen)));
    let deadline = Duration::from_secs(2);
    assert_eq!(config.quorums, QuorumConfig { copies: 5, read: 2, write: 4, durable: 1, deadline });
    // No key of the table is left a default here, or this test does not know it.
    assert!(config.listing().iter().all(|(_, _, origin)| *origin != Origin::Default), "{:?}", config.listing());
}

#[test]
fn errors_name_file_line_and_key() {
    assert_eq!(
        refusal("listen = \"127.0.0.1:7379\"\n\nmax-clients = 5\n"),
        "a.toml:3: unknown key `max-clients`; did you mean `maxclients`?"
    );
    assert_eq!(refusal("zzz = 1"), "a.toml:1: unknown key `zzz`");
    assert_eq!(refusal("# one\ninterval = \"5ms\""), "a.toml:2: interval: 5ms is outside 10ms to 1s");
    assert_eq!(refusal("\ncache = true"), "a.toml:2: cache: true is not a value of this key");
    assert!(refusal("[data]\nx = 1").starts_with("a.toml:1: data: a table is not"), "{}", refusal("[data]\nx = 1"));
    assert!(
        refusal("cores = 2\ncores = 3").starts_with("a.toml:2: duplicate key"),
        "{}",
        refusal("cores = 2\ncores = 3")
    );
    assert!(refusal("cores = 2\nlisten = \n").starts_with("a.toml:2: "), "{}", refusal("cores = 2\nlisten = \n"));
    assert!(refusal("requirepass = 1234").contains("must be a string in quotes"));
}

#[test]
fn values_out_of_range_are_refused() {
    let cases = [
        ("durability = \"fast\"", "`fast` is not one of sync, interval, memory"),
        ("interval = \"2s\"", "outside 10ms to 1s"),
        ("interval = 100", "write a number and us, ms, s or m"),
        ("cache = \"lots\"", "is not a size"),
        ("cache = \"9gb\"", "more than half of memory-limit"),
        ("cache = \"99999999999tb\"", "is not a size"),
        ("memory-limit = \"10mb\"", "below 64MiB, the least for 4 cores"),
        ("hot-log-bytes = \"1mb\"", "outside 64MiB to 32GiB for 4 cores"),
        ("partitions = 1000", "not a power of two"),
        ("partitions = 32768", "not a power of two up to 16384"),
        ("partitions = 2", "4 cores are more than"),
        ("partitions = 0", "not a power of two"),
        ("maxclients = 0", "outside 1 to"),
        ("maxclients = -1", "not a whole number"),
        ("proto-max-bulk-len = \"64mb\"", "outside 1048576 to 33554432"),
        ("client-output-buffer-limit = \"1mb\"", "outside 33554432 to"),
        ("client-output-buffer-limit = \"64mb 65mb 1\"", "outside 0 to 67108864"),
        ("client-output-buffer-limit = \"64mb 65mb\"", "HARD SOFT SECONDS"),
        ("shutdown-timeout = \"0s\"", "outside 100ms to 600s"),
        ("preempt-timer = \"1us\"", "outside 100µs to 10ms"),
        ("log-level = \"loud\"", "not one of error, warn, info"),
        ("announce-host = \"0.0.0.0\"", "wildcard"),
        ("announce-host = \"a b\"", "not a host name"),
        ("data = \"\"", "empty"),
        ("slowlog-log-slower-than = -2", "-1 for none"),
        ("latency-tracking = \"maybe\"", "not true or false"),
    ];
    for (text, expected) in cases {
        let refused = refusal(text);
        assert!(refused.starts_with("a.toml:1: ") || text.starts_with("partitions = 2"), "{refused}");
        assert!(refused.contains(expected), "{text}: {refused}");
    }
}

#[test]
fn addresses_and_ports() {
    let cases = [
        ("listen = \"127.0.0.1\"", "not HOST:PORT"),
        ("listen = \":7379\"", "the host is missing"),
        ("listen = \"127.0.0.1:0\"", "port 0"),
        ("listen = \"127.0.0.1:70000\"", "from 1 to 65535"),
        ("listen = \"127.0.0.1:60000\"", "too high"),
        ("listen = \"127.0.0.1:64000\"", "too high"),
        ("http = \"127.0.0.1:7379\"", "used by the node itself"),
        ("http = \"127.0.0.1:7383\"", "used by the node itself"),
        ("http = \"127.0.0.1:17379\"", "used by the node itself"),
    ];
    for (text, expected) in cases {
        assert!(refusal(text).contains(expected), "{text}: {}", refusal(text));
    }
    let ports = from_file("listen = \"[::1]:7000\"\nhttp = \"127.0.0.1:7005\"").unwrap().ports();
    assert_eq!(ports.core(3).to_string(), "[::1]:7004");
    assert_eq!(ports.peers().port(), 17_000);
    assert_eq!(ports.bound().len(), 6);
    assert!(from_file("listen = \"localhost:7000\"").unwrap().is_loopback());
}

#[test]
fn strangers_need_a_password() {
    let refused = refusal("listen = \"0.0.0.0:7379\"");
    assert!(refused.contains("`requirepass`") && refused.contains("--insecure"), "{refused}");
    assert!(from_file("listen = \"0.0.0.0:7379\"\nrequirepass = \"x\"").is_ok());
    assert!(from_file("listen = \"0.0.0.0:7379\"\ninsecure = true").is_ok());
    assert!(from_file("listen = \"127.3.2.1:7379\"").is_ok());
    assert!(from_file("listen = \"[::ffff:127.0.0.1]:7379\"").is_ok());
    assert!(refusal("listen = \"0.0.0.0:7379\"\nrequirepass = \"\"").contains("no password"));
}

#[test]
fn a_cluster_is_whole_or_not_there() {
    let with = |rest: &str| format!("cluster = \"c\"\nsecret-file = \"/s\"\n{rest}");
    let cluster = from_file(&with("seeds = \"db1:7000, db2:7000\"")).unwrap().cluster.unwrap();
    assert_eq!((cluster.seeds[1].to_string().as_str(), cluster.found), ("db2:7000", None));
    assert_eq!(cluster.peer_listen.to_string(), "127.0.0.1:17379");
    assert!(from_file("").unwrap().cluster.is_none() && from_file("").unwrap().ports().gossip().is_none());
    assert!(refusal("cluster = \"c\"").contains("a cluster has a secret: write at least 16"));
    for lonely in
        ["secret-file = \"/s\"", "seeds = \"a:1\"", "found = 1", "zone = \"z\"", "peer-listen = \"127.0.0.1:17379\""]
    {
        let key = lonely.split(' ').next().unwrap();
        assert_eq!(refusal(lonely), format!("a.toml:1: {key}: it is of a cluster: name that with `cluster`"));
    }
    let cases = [
        ("found = 0", "0 nodes found nothing"),
        ("found = 65", "65 is more than 64"),
        ("seeds = \"db1\"", "`db1` is not HOST:PORT"),
        ("seeds = \"db1:7379,\"", "`` is not HOST:PORT"),
        ("seeds = \"db1:60000\"", "the port is from 1 to 55535"),
        ("seeds = \"0.0.0.0:7379\"", "wildcard"),
        ("seeds = [true]", "true is not a value"),
        ("zone = \"a b\"", "is no zone"),
        ("zone = \"\"", "is no zone"),
        ("peer-listen = \"127.0.0.1:9000\"", "port 9000 is not above 10000"),
        ("peer-listen = \"0.0.0.0:17379\"", "other nodes must be told one: set `announce-host`"),
        ("http = \"127.0.0.1:17379\"", "used by the node itself"),
        ("listen = \"127.0.0.1:20000\"\npeer-listen = \"127.0.0.1:20004\"", "port 20004 is for clients"),
    ];
    for (text, expected) in cases {
        let refused = refusal(&with(text));
        assert!(refused.contains(expected), "{text}: {refused}");
    }
    for name in ["", "a b", "ü", &"n".repeat(65)] {
        assert!(refusal(&format!("cluster = \"{name}\"")).contains("is no name"), "{name}");
    }
    assert!(from_file(&with("announce-host = \"db1\"\npeer-listen = \"0.0.0.0:17379\"")).is_ok());
}

#[test]
fn quorums_follow_the_copies() {
    let of = |text: &str| {
        let QuorumConfig { copies, read, write, durable, .. } = from_file(text).unwrap().quorums;
        (copies, read, write, durable)
    };
    assert_eq!(of(""), (3, 2, 2, 2));
    assert_eq!(of("copies = 1"), (1, 1, 1, 1));
    assert_eq!(of("copies = 5\nwrite-quorum = 4"), (5, 3, 4, 4));
    assert_eq!(of("durability = \"interval\""), (3, 2, 2, 0));
    assert_eq!(of("durability = \"interval\"\ndurable-quorum = 3"), (3, 2, 2, 3));
    let cases = [
        ("copies = 0", "0 is outside 1 to 16"),
        ("copies = 17", "17 is outside 1 to 16"),
        ("read-quorum = 4", "4 is outside 1 to 3, the number of copies"),
        ("write-quorum = 0", "0 is outside 1 to 3"),
        ("durable-quorum = 300", "300 is outside 0 to 3"),
        ("durable-quorum = 1\ndurability = \"memory\"", "nothing is ever on stable storage"),
        ("deadline = \"1ms\"", "outside 10ms to 60s"),
    ];
    for (text, expected) in cases {
        assert!(refusal(text).contains(expected), "{text}: {}", refusal(text));
    }
}

#[test]
fn flags_override_the_file_and_are_named() {
    let mut sources = Sources::parse("a.toml", "cores = 3\ninterval = \"20ms\"").unwrap();
    sources.flag("cores", Raw::Text("1".to_owned()));
    let config = Config::build(&sources, &environment()).unwrap();
    assert_eq!(config.cores, [0]);
    assert_eq!(config.interval, Duration::from_millis(20));
    sources.flag("cores", Raw::Text("9".to_owned()));
    let refused = Config::build(&sources, &environment()).unwrap_err().to_string();
    assert_eq!(refused, "--cores: 9 cores are wanted, but this process may use 4 (0-1,4-5)");
}

#[test]
fn lists_of_cpus() {
    let affinity = [0, 1, 4, 5];
    assert_eq!(cores::parse("all", &affinity), Ok(vec![0, 1, 4, 5]));
    assert_eq!(cores::parse("3", &affinity), Ok(vec![0, 1, 4]));
    assert_eq!(cores::parse("5,0-1", &affinity), Ok(vec![5, 0, 1]));
    assert_eq!(cores::parse("4,", &affinity), Ok(vec![4]));
    assert_eq!(cores::parse("4-4", &affinity), Ok(vec![4]));
    for bad in ["", ",", "-", "0", "0-", "1-0", "0,0", "0-2", "9,", "x", "1,x", "0-99999999999999999999", "0-8192"] {
        assert!(cores::parse(bad, &affinity).is_err(), "{bad}");
    }
    for list in [&[0][..], &[3], &[0, 1, 2], &[0, 2, 3, 7]] {
        assert_eq!(cores::parse(&cores::format(list), &[0, 1, 2, 3, 7]).as_deref(), Ok(list));
    }
}

#[test]
fn hot_log_follows_the_live_bytes() {
    let config = from_file("cores = 2").unwrap();
    assert_eq!(config.hot_log_bytes_per_core(0), 128 << 20);
    assert_eq!(config.hot_log_bytes_per_core(20 * GIB), 512 << 20);
    assert_eq!(config.hot_log_bytes_per_core(u64::MAX), 8 * GIB);
    assert_eq!(from_file("cores = 2\nhot-log-bytes = \"64mb\"").unwrap().hot_log_bytes_per_core(GIB), 32 << 20);
}

#[test]
fn the_listing_is_one_line_a_section_and_hides_the_password() {
    let config = from_file("requirepass = \"hush\"\ncache = \"1gb\"").unwrap();
    let sections = listing::sections(&config);
    let names: Vec<&str> = sections.iter().map(|(section, _)| *section).collect();
    assert_eq!(names, ["storage", "memory", "network", "cluster", "clients", "cores", "observability"]);
    assert_eq!(sections[1].1, "memory-limit=8GiB cache=1GiB (a.toml:2)");
    assert!(sections[2].1.contains("requirepass=(set) (a.toml:1)"));
    assert!(!format!("{sections:?} {config:?}").contains("hush"));
}

#[test]
fn passwords() {
    let password = Password::new("pässword".to_owned());
    assert!(password.matches("pässword".as_bytes()));
    for wrong in ["", "p", "pässworD", "pässwordpässword", "pässword\0"] {
        assert!(!password.matches(wrong.as_bytes()), "{wrong}");
    }
}

#[test]
fn sizes_and_durations_round_trip() {
    for bytes in [0, 1, 1023, 1024, 1_500_000, 3 << 20, 5 << 30, 7 << 40, u64::MAX] {
        assert_eq!(parse::bytes_text(&parse::format_bytes(bytes)), Some(bytes));
    }
    assert_eq!(parse::format_bytes(1536), "1536B");
    for text in ["250us", "100ms", "10s"] {
        let duration = parse::duration(&Raw::Text(text.to_owned())).unwrap();
        assert_eq!(parse::format_duration(duration), text);
    }
}
