//! What the command line means.
//!
//! Invariant: every flag is given once here, or in the tests of its subcommand.

use super::*;
use crate::config::{Durability, LogLevel};

fn parse(line: &str) -> Result<Invocation, Refusal> {
    let environment = Environment { affinity: vec![0, 1], memory_bytes: 1 << 30 };
    parse_from(line.split_whitespace().map(OsString::from), || Ok(environment))
}

fn refused(line: &str) -> String {
    let refusal = parse(line).unwrap_err();
    assert_eq!(refusal.code, EXIT_USAGE, "{refusal:?}");
    refusal.text
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_flag_reaches_the_configuration() {
    let line = "annulus serve --data /tmp/d --listen 0.0.0.0:7000 --cores 1 --durability memory --cache 64mb \
                --memory-limit 256mb --hot-log-bytes 128mb --http off --insecure --log-level debug \
                --announce-host db1 --cluster c --secret-file s --seeds db2:7000 --found 3 --zone z \
                --peer-listen 0.0.0.0:17001 --copies 2 --read-quorum 1 --write-quorum 2 --durable-quorum 0 --deadline 2s";
    let Invocation::Serve(config) = parse(line).unwrap() else { panic!("not serve") };
    assert_eq!(config.data.to_str(), Some("/tmp/d"));
    assert_eq!((config.listen.to_string().as_str(), config.cores.len()), ("0.0.0.0:7000", 1));
    assert_eq!((config.durability, config.http), (Durability::Memory, None));
    assert_eq!((config.cache_bytes, config.memory_limit_bytes), (64 << 20, 256 << 20));
    assert_eq!(config.hot_log_bytes, Some(128 << 20));
    assert!(config.insecure);
    assert_eq!(config.runtime.log_level, LogLevel::Debug);
    assert_eq!(config.announce_host.as_deref(), Some("db1"));
    let cluster = config.cluster.unwrap();
    assert_eq!((cluster.name.as_str(), cluster.found, cluster.seeds.len()), ("c", Some(3), 1));
    assert_eq!((cluster.zone.unwrap().name(), cluster.peer_listen.port()), ("z", 17_001));
    let quorums = config.quorums;
    assert_eq!((quorums.copies, quorums.read, quorums.write, quorums.durable), (2, 1, 2, 0));
    assert_eq!(quorums.deadline.as_secs(), 2);
}

#[test]
fn commands() {
    assert!(matches!(parse("annulus serve").unwrap(), Invocation::Serve(_)));
    assert!(matches!(parse("annulus check --cores 1").unwrap(), Invocation::Check(_)));
    assert!(matches!(parse("annulus version").unwrap(), Invocation::Version));
    assert!(matches!(parse("annulus completions bash").unwrap(), Invocation::Completions(Shell::Bash)));
    let help = parse("annulus help serve").unwrap_err();
    assert_eq!(help.code, 0);
    assert!(help.text.contains("--hot-log-bytes <BYTES>"));
    assert!(parse("annulus --help").unwrap_err().text.contains("Exit codes: 0 done"));
}

#[test]
fn questions_to_a_node() {
    let Invocation::Admin(question) = parse("annulus admin status").unwrap() else { panic!("not admin") };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((question.endpoint.as_str(), question.json), ("127.0.0.1:7379", false));
    assert_eq!(question.words, words("status"));
    let line = "annulus admin --endpoint db1:7380 --password-file /etc/pw partitions 3 9 --json";
    let Invocation::Admin(question) = parse(line).unwrap() else { panic!("not admin") };
    assert_eq!((question.endpoint.as_str(), question.json), ("db1:7380", true));
    assert_eq!(question.password_file.as_deref(), Some(std::path::Path::new("/etc/pw")));
    assert_eq!(question.words, words("partitions 3 9"));
    assert!(refused("annulus admin --endpoint 7379 status").contains("HOST:PORT"));
    assert!(refused("annulus admin --endpoint :7379 status").contains("--endpoint"));
    assert!(refused("annulus admin").contains("QUESTION"));
    let Invocation::Admin(question) = parse("annulus admin join --node 10.0.0.7:7379").unwrap() else {
        panic!("not admin")
    };
    assert_eq!(question.words, words("join 10.0.0.7:7379"));
    for line in ["status --node 1", "leave 1 --node 2", "restore s --data d --node 1"] {
        let text = refused(&format!("annulus admin {line}"));
        assert!(text.contains("--node is for join and leave alone"), "{line}: {text}");
    }
}

#[test]
fn restoring() {
    let restored = |line: &str| match parse(line).unwrap() {
        Invocation::Restore(restore) => restore,
        other => panic!("{other:?}"),
    };
    let all = restored("annulus admin restore /backup/monday --data /data");
    assert_eq!(
        (all.snapshot.to_str(), all.data.to_str(), all.partition),
        (Some("/backup/monday"), Some("/data"), None)
    );
    assert_eq!(restored("annulus admin restore s --data d --partition 7").partition, Some(7));
    for line in ["annulus admin restore s", "annulus admin restore --data d", "annulus admin restore a b --data d"] {
        assert!(refused(line).contains("restore wants one SNAPSHOT and --data DIR"), "{line}");
    }
    assert!(refused("annulus admin status --data d").contains("--data is for restore alone"));
    assert!(refused("annulus admin restore s --partition 7").contains("--data"));
}

#[test]
fn refusals_name_the_flag() {
    assert_eq!(
        refused("annulus serve --cores 3"),
        "error: --cores: 3 cores are wanted, but this process may use 2 (0-1)"
    );
    assert!(refused("annulus serve --durability never").contains("--durability: `never` is not one of"));
    assert!(refused("annulus serve --listen 0.0.0.0:7379").starts_with("error: --listen: 0.0.0.0:7379 can be reached"));
    assert!(refused("annulus serve --config /nonexistent/a.toml").contains("/nonexistent/a.toml: cannot be opened"));
    assert!(refused("annulus serve --found 0 --cluster c --secret-file s").contains("--found: 0 nodes found nothing"));
    assert!(refused("annulus serve --seeds a:1").contains("--seeds: it is of a cluster"));
    assert!(refused("annulus serve --nonsense").contains("--nonsense"));
    assert!(refused("annulus frobnicate").contains("frobnicate"));
    assert!(refused("annulus").contains("Usage: annulus"));
}

#[test]
fn flags_override_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "cores = 2\nhttp = \"off\"\n").unwrap();
    let line = format!("annulus serve --config {} --cores 1", file.path().display());
    let Invocation::Serve(config) = parse(&line).unwrap() else { panic!("not serve") };
    assert_eq!((config.cores.len(), config.http), (1, None));
    std::fs::write(file.path(), "cores = 2\nhtpt = \"off\"\n").unwrap();
    assert!(refused(&line).contains(":2: unknown key `htpt`; did you mean `http`?"));
}

#[test]
fn completions_and_version() {
    let mut script = Vec::new();
    write_completions(Shell::Bash, &mut script);
    assert!(String::from_utf8(script).unwrap().contains("--memory-limit"));
    assert!(version_text().starts_with("annulus 0."));
}
