//! CONFIG GET and SET as clients see them.

use super::super::{Config, Environment, Sources};
use super::parameters::{get, is_hot, names, set};
use super::*;

fn config(text: &str) -> Config {
    let environment = Environment { affinity: vec![0, 1], memory_bytes: 1 << 30 };
    Config::build(&Sources::parse("a.toml", text).unwrap(), &environment).unwrap()
}

fn read(config: &Config, name: &str) -> String {
    let found = get(config, &config.runtime, |candidate| candidate == name);
    assert_eq!(found.len(), 1, "{name}");
    found[0].1.clone()
}

fn change(config: &Config, pairs: &[(&str, &str)]) -> Result<RuntimeConfig, String> {
    let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    set(config, &config.runtime, &pairs)
}

#[test]
fn names_are_sorted_and_lower_case() {
    let names = names();
    assert!(names.is_sorted_by(|left, right| left < right));
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
}

#[test]
fn what_clients_ask_for() {
    let config = config("memory-limit = \"512mb\"");
    let expected = [
        ("save", ""),
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("databases", "1"),
        ("maxmemory", "536870912"),
        ("maxmemory-policy", "noeviction"),
        ("cluster-enabled", "yes"),
        ("maxclients", "10000"),
        ("io-threads", "2"),
        ("port", "7379"),
        ("bind", "127.0.0.1"),
        ("requirepass", ""),
        ("loglevel", "notice"),
        ("latency-tracking", "yes"),
        ("client-output-buffer-limit", "normal 268435456 67108864 60 slave 0 0 0 pubsub 0 0 0"),
    ];
    for (name, value) in expected {
        assert_eq!(read(&config, name), value, "{name}");
    }
    let all = get(&config, &config.runtime, |_| true);
    assert_eq!(all.len(), names().len());
    let memory = super::tests::config("durability = \"memory\"\nannounce = \"off\"");
    assert_eq!(read(&memory, "appendonly"), "no");
    assert_eq!(read(&memory, "appendfsync"), "no");
    assert_eq!(read(&memory, "cluster-enabled"), "no");
    assert_eq!(read(&super::tests::config("durability = \"interval\""), "appendfsync"), "everysec");
}

#[test]
fn hot_parameters_change_and_read_back() {
    let mut config = config("");
    let pairs = [
        ("maxclients", "100"),
        ("TIMEOUT", "5"),
        ("tcp-keepalive", "60"),
        ("requirepass", "secret"),
        ("proto-max-bulk-len", "2mb"),
        ("slowlog-log-slower-than", "-1"),
        ("slowlog-max-len", "3"),
        ("latency-tracking", "no"),
        ("relaxed-commands", "yes"),
        ("loglevel", "debug"),
        ("client-output-buffer-limit", "normal 64mb 0 0 pubsub 0 0 0"),
    ];
    config.runtime = change(&config, &pairs).unwrap();
    assert_eq!(config.runtime.log_level, LogLevel::Trace);
    assert_eq!(config.runtime.bulk_bytes_max, 2 << 20);
    for (name, value) in
        [("timeout", "5"), ("requirepass", "secret"), ("loglevel", "debug"), ("relaxed-commands", "yes")]
    {
        assert_eq!(read(&config, name), value);
    }
    // What can be set can be set to what is read, too.
    for (name, value) in get(&config, &config.runtime, is_hot) {
        assert_eq!(change(&config, &[(name, &value)]).as_ref(), Ok(&config.runtime), "{name} {value}");
    }
    assert!(change(&config, &[("requirepass", "")]).unwrap().requirepass.is_none());
}

#[test]
fn refusals_are_redis_texts() {
    let config = config("");
    let failed =
        |name: &str, why: &str| format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
    let cases = [
        (&[("nonsense", "1")][..], "ERR Unknown option or number of arguments for CONFIG SET - 'nonsense'".to_owned()),
        (&[("port", "1")], failed("port", "can't set immutable config")),
        (&[("port", "7379")], failed("port", "can't set immutable config")),
        (&[("timeout", "1"), ("timeout", "2")], failed("timeout", "duplicate parameter")),
        (&[("timeout", "x")], failed("timeout", "argument couldn't be parsed into an integer")),
        (&[("maxclients", "0")], failed("maxclients", "argument must be between 1 and 1000000 inclusive")),
        (&[("latency-tracking", "1")], failed("latency-tracking", "argument must be 'yes' or 'no'")),
        (&[("proto-max-bulk-len", "x")], failed("proto-max-bulk-len", "argument must be a memory value")),
        (
            &[("proto-max-bulk-len", "1gb")],
            failed("proto-max-bulk-len", "argument must be between 1048576 and 33554432 inclusive"),
        ),
        (
            &[("loglevel", "loud")],
            failed("loglevel", "argument(s) must be one of the following: debug, verbose, notice, warning, nothing"),
        ),
        (
            &[("client-output-buffer-limit", "normal 1mb 0 0")],
            failed("client-output-buffer-limit", "1048576 is outside 33554432 to 4294967296"),
        ),
        (
            &[("client-output-buffer-limit", "normal 1mb 0")],
            failed("client-output-buffer-limit", "Wrong number of arguments in buffer limit configuration."),
        ),
        (
            &[("client-output-buffer-limit", "other 1mb 0 0")],
            failed("client-output-buffer-limit", "Invalid client class specified in buffer limit configuration."),
        ),
    ];
    for (pairs, expected) in cases {
        assert_eq!(change(&config, pairs), Err(expected), "{pairs:?}");
    }
    assert!(change(&config, &[("maxclients", "1000000")]).unwrap_err().contains("try with"));
    assert!(set(&config, &config.runtime, &[(b"requirepass", b"\xff")]).unwrap_err().contains("UTF-8"));
}

#[test]
fn fixed_parameters_accept_what_they_are() {
    let config = config("");
    for (name, value) in
        [("save", ""), ("maxmemory-policy", "noeviction"), ("appendonly", "yes"), ("appendfsync", "always")]
    {
        assert_eq!(change(&config, &[(name, value)]).as_ref(), Ok(&config.runtime));
        assert!(!is_hot(name));
    }
    assert!(change(&config, &[("maxmemory-policy", "allkeys-lru")]).unwrap_err().contains("nothing is ever evicted"));
    assert!(change(&config, &[("save", "900 1")]).unwrap_err().contains("the log itself is the data"));
}

#[test]
fn all_or_nothing() {
    let config = config("");
    assert!(change(&config, &[("timeout", "9"), ("port", "1")]).is_err());
    assert_eq!(config.runtime.timeout_s, 0);
}

#[test]
fn a_reachable_node_keeps_its_password() {
    let reachable = config("listen = \"0.0.0.0:7379\"\nrequirepass = \"x\"");
    assert!(change(&reachable, &[("requirepass", "")]).unwrap_err().contains("--insecure"));
    assert!(change(&reachable, &[("requirepass", "y")]).is_ok());
}
