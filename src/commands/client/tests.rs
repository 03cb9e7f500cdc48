//! CLIENT: filters, lines of CLIENT LIST, names.

use annulus_net::limits::Limits;
use annulus_net::ring::ConnectionId;

use super::*;

fn session(id: u64) -> Session {
    let addresses = ("10.0.0.1:5000".parse().unwrap(), "10.0.0.2:7379".parse().unwrap());
    let mut session = Session::new(id, ConnectionId::from_index(3), addresses, Limits::PRODUCTION, true, 1_000_000);
    session.name = b"worker".to_vec();
    session.last_command = "client|list";
    session
}

fn args(text: &str) -> Vec<&[u8]> {
    text.split_ascii_whitespace().map(str::as_bytes).collect()
}

#[test]
fn names_are_printable() {
    assert!(is_plain(b"") && is_plain(b"a!~"));
    for bad in ["a b", "a\n", "\u{7f}", "ä"] {
        assert!(!is_plain(bad.as_bytes()), "{bad:?}");
    }
}

#[test]
fn a_line_has_the_fields_that_clients_parse() {
    let mut text = String::new();
    describe(&session(7), 1_005_500, &mut text);
    let start = "id=7 addr=10.0.0.1:5000 laddr=10.0.0.2:7379 fd=3 name=worker age=5 idle=5 flags=N db=0 sub=0 ";
    assert!(text.starts_with(start), "{text}");
    assert!(text.contains(" cmd=client|list user=default redir=-1 resp=2 lib-name= lib-ver= "), "{text}");
    assert!(text.ends_with('\n'));
    assert!(text.trim_end().split(' ').all(|field| field.contains('=')), "{text}");
}

#[test]
fn list_filters() {
    assert!(Filter::of_list(&args("")).unwrap().fits(&session(1), 0));
    assert!(Filter::of_list(&args("TYPE normal")).unwrap().fits(&session(1), 0));
    assert!(!Filter::of_list(&args("type PUBSUB")).unwrap().fits(&session(1), 0));
    let some = Filter::of_list(&args("ID 3 1")).unwrap();
    assert!(some.fits(&session(1), 0) && !some.fits(&session(2), 0));
    let bad = [
        ("TYPE x", "ERR Unknown client type 'x'"),
        ("ID", "ERR syntax error"),
        ("ID a", "ERR Invalid client ID"),
        ("ID -1", "ERR Invalid client ID"),
        ("NAME x", "ERR syntax error"),
    ];
    for (text, expected) in bad {
        assert_eq!(Filter::of_list(&args(text)).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn kill_filters() {
    let fits = |text: &str, id| {
        let filter = Filter::of_kill(&args(text), Some(1)).unwrap();
        filter.fits(&session(id), 1_010_000)
    };
    assert!(fits("ID 2", 2) && !fits("ID 2", 3));
    assert!(!fits("TYPE normal", 1) && fits("TYPE normal SKIPME no", 1) && fits("TYPE normal", 2));
    assert!(fits("ADDR 10.0.0.1:5000", 2) && !fits("ADDR 10.0.0.1:5001", 2));
    assert!(fits("LADDR 10.0.0.2:7379", 2) && !fits("LADDR 10.0.0.1:5000", 2));
    assert!(fits("USER default MAXAGE 10", 2) && !fits("MAXAGE 11", 2));
    let bad = [
        ("ID 0", "ERR client-id should be greater than 0"),
        ("ID", "ERR syntax error"),
        ("USER root", "ERR No such user 'root'"),
        ("SKIPME maybe", "ERR syntax error"),
        ("NOTID 3", "ERR syntax error"),
        ("WHAT 3", "ERR syntax error"),
        ("MAXAGE x", "ERR maxage is not an integer or out of range"),
    ];
    for (text, expected) in bad {
        assert_eq!(Filter::of_kill(&args(text), Some(1)).unwrap_err(), expected, "{text}");
    }
    // What the cores get.
    assert!(!Filter::of_kill(&args("TYPE normal NOTID 2"), None).unwrap().fits(&session(2), 0));
}
