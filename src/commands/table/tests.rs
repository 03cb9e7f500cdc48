//! The table: every row sane, every text as Redis writes it.

use std::collections::HashSet;

use super::*;

fn with_subcommands() -> impl Iterator<Item = &'static Row> {
    all().flat_map(|row| std::iter::once(row).chain(row.subcommands))
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn every_command_has_one_row() {
    let names: HashSet<&str> = with_subcommands().map(|row| row.name).collect();
    assert_eq!(names.len(), with_subcommands().count());
    // Redis 7.2 has 241 commands and 129 subcommands.
    let of_redis = |row: &&Row| !row.name.starts_with("dyn.");
    assert_eq!(all().filter(of_redis).count(), 241);
    assert_eq!(with_subcommands().filter(of_redis).count(), 241 + 129);
    for name in ["set", "lpush", "zadd", "eval", "waitaof", "bitfield_ro", "georadiusbymember_ro"] {
        assert!(names.contains(name), "{name}");
    }
}

#[test]
fn names_are_found_in_any_case_and_nothing_else_is() {
    for row in all() {
        let capitals = row.name.to_uppercase();
        let mut mixed = row.name.as_bytes().to_vec();
        mixed[0].make_ascii_uppercase();
        for name in [row.name.as_bytes(), capitals.as_bytes(), &mixed] {
            assert!(std::ptr::eq(lookup(name).expect(row.name), row));
        }
        let longer = [row.name.as_bytes(), b"\0"].concat();
        assert!(lookup(&longer).is_none());
        let flipped: Vec<u8> = row.name.bytes().map(|byte| byte ^ 0x80).collect();
        assert!(lookup(&flipped).is_none());
    }
    for name in ["", "foo", "ge", "gett", "client|id", &"a".repeat(100_000)] {
        assert!(lookup(name.as_bytes()).is_none());
    }
}

#[test]
fn rows_are_sane() {
    for row in with_subcommands() {
        let name = row.name;
        assert_eq!(name, name.to_lowercase());
        assert_ne!(row.arity, 0, "{name}");
        assert!(!(row.writes() && row.has(flag::READONLY)), "{name}");
        let least = usize::from(row.arity.unsigned_abs());
        assert!(row.check_arity(least) && !row.check_arity(least - 1), "{name}");
        assert_eq!(row.check_arity(least + 1), row.arity < 0, "{name}");
        if let Some(keys) = row.keys {
            assert!(keys.last < 0 || keys.last >= i8::try_from(keys.first).expect("small"), "{name}");
            assert!(row.key_positions(least).all(|at| at < least), "{name}");
        }
        match row.service {
            Service::Served(_) => served_is_sane(row),
            Service::Refused(Refusal { why, instead }) => {
                assert!(!why.is_empty() && !instead.is_empty(), "{name}");
                assert!(!why.ends_with('.') && !instead.ends_with('.'), "{name}");
                assert_eq!(row.route, Route::Session, "{name}");
            }
        }
        for subcommand in row.subcommands {
            assert_eq!(subcommand.name.split_once('|').map(|(container, _)| container), Some(name));
            assert!(subcommand.subcommands.is_empty());
            assert!(row.command().is_some() || subcommand.command().is_none(), "{}", subcommand.name);
        }
    }
}

fn served_is_sane(row: &Row) {
    let name = row.name;
    assert!(row.summary.ends_with('.'), "{name}");
    assert!(!row.complexity.is_empty(), "{name}");
    assert_eq!(row.keys.is_some(), row.access != 0, "{name}");
    assert!(!row.syntax.contains("  "), "{name}");
    if let Some(keys) = row.keys {
        assert!(row.arity.unsigned_abs() > keys.first, "{name}");
    }
    match (row.route, row.keys) {
        (Route::OneKey | Route::Protocol, Some(keys)) => {
            assert_eq!(i16::from(keys.first), i16::from(keys.last), "{name}")
        }
        (Route::Gather(_), Some(keys)) => assert_eq!(keys.last, -1, "{name}"),
        (Route::Slot, None) => assert!(row.check_arity(row.arity.unsigned_abs().max(3).into()), "{name}"),
        (Route::Session | Route::EveryCore(_) | Route::Cursor, None) => {}
        (route, keys) => panic!("{name}: {route:?} and {keys:?}"),
    }
}

#[test]
fn every_served_command_has_its_own_code() {
    let commands: Vec<Command> = with_subcommands().filter_map(Row::command).collect();
    for &command in Command::ALL {
        let rows = commands.iter().filter(|other| **other == command).count();
        assert!(rows == 1 || (command == Command::Help && rows > 1), "{command:?}");
        assert_eq!(Command::ALL[command.index()], command);
    }
}

#[test]
fn keys_stand_where_the_rows_say() {
    let positions =
        |name: &[u8], arguments| -> Vec<usize> { lookup(name).expect("known").key_positions(arguments).collect() };
    assert_eq!(positions(b"get", 2), [1]);
    assert_eq!(positions(b"mget", 4), [1, 2, 3]);
    assert_eq!(positions(b"mset", 5), [1, 3]);
    assert_eq!(positions(b"mset", 4), [1, 3]);
    assert_eq!(positions(b"blpop", 4), [1, 2]);
    assert_eq!(positions(b"ping", 2), []);
    for row in with_subcommands() {
        for arguments in 1..8 {
            assert!(row.key_positions(arguments).all(|at| at < arguments), "{}", row.name);
        }
    }
    let usage = resolve(b"MEMORY", Some(b"Usage")).expect("known");
    assert_eq!(usage.key_positions(3).collect::<Vec<_>>(), [2]);
}

#[test]
fn subcommands_are_resolved() {
    let name = |name: &str, argument: Option<&str>| match resolve(name.as_bytes(), argument.map(str::as_bytes)) {
        Ok(row) => row.name,
        Err(Unknown::Command) => "?",
        Err(Unknown::Subcommand(row)) => match row.name {
            "client" => "client|?",
            other => other,
        },
    };
    assert_eq!(name("GET", Some("id")), "get");
    assert_eq!(name("Client", Some("iD")), "client|id");
    assert_eq!(name("client", None), "client");
    assert_eq!(name("client", Some("nothing")), "client|?");
    assert_eq!(name("client|id", None), "?");
    assert_eq!(name("acl", Some("whoami")), "acl|whoami");
    assert_eq!(name("acl", Some("nothing")), "acl");
    assert_eq!(resolve_full_name(b"CONFIG|GET").map(|row| row.name), Some("config|get"));
    assert!(resolve_full_name(b"config|").is_none());
    assert!(resolve_full_name(b"get|x").is_none());
}

#[test]
fn categories_follow_from_flags() {
    let categories = |name: &[u8]| -> Vec<&str> {
        names(resolve_full_name(name).expect("known").categories(), category::NAMES).collect()
    };
    assert_eq!(categories(b"get"), ["read", "string", "fast"]);
    assert_eq!(categories(b"flushall"), ["keyspace", "write", "slow", "dangerous"]);
    assert_eq!(categories(b"client"), ["slow"]);
    assert_eq!(categories(b"client|kill"), ["admin", "slow", "dangerous", "connection"]);
    assert_eq!(categories(b"blpop"), ["write", "list", "slow", "blocking"]);
    assert_eq!(names(flag::WRITE | flag::FAST, flag::NAMES).collect::<Vec<_>>(), ["write", "fast"]);
}

#[test]
fn errors_in_redis_words() {
    let row = |name: &[u8]| resolve_full_name(name).expect("known");
    let none = || std::iter::empty();
    assert_eq!(text(|out| wrong_arity(out, row(b"GET"))), "-ERR wrong number of arguments for 'get' command\r\n");
    assert_eq!(
        text(|out| wrong_arity(out, row(b"client|id"))),
        "-ERR wrong number of arguments for 'client|id' command\r\n"
    );
    assert_eq!(
        text(|out| unknown_subcommand(out, row(b"client"), b"Foo\r\n")),
        "-ERR unknown subcommand 'Foo  '. Try CLIENT HELP.\r\n"
    );
    assert_eq!(
        text(|out| unknown_command(out, b"Foo", none())),
        "-ERR unknown command 'Foo', with args beginning with: \r\n"
    );
    let arguments: [&[u8]; 3] = [b"a", b"b\nc\0d", b""];
    assert_eq!(
        text(|out| unknown_command(out, b"foo\0bar", arguments.into_iter())),
        "-ERR unknown command 'foo', with args beginning with: 'a' 'b c' '' \r\n"
    );
    // As Redis 7 answers it: 128 bytes of the name, and arguments until 128 bytes are quoted.
    let long = "x".repeat(200);
    let arguments = [b"abc".as_slice(), long.as_bytes(), b"never"];
    assert_eq!(
        text(|out| unknown_command(out, long.as_bytes(), arguments.into_iter())),
        format!("-ERR unknown command '{}', with args beginning with: 'abc' '{}' \r\n", &long[..128], &long[..122])
    );
}

#[test]
fn refusals_name_the_command_and_the_way_out() {
    let multi = text(|out| refused(out, lookup(b"multi").expect("known")));
    assert!(multi.starts_with("-ERR MULTI is not served by Annulus: keys live on different"), "{multi}");
    assert!(multi.ends_with("pipeline(transaction=False)\r\n"), "{multi}");
    let tracking = resolve(b"client", Some(b"tracking")).expect("known");
    assert!(text(|out| refused(out, tracking)).starts_with("-ERR CLIENT TRACKING is not served"));
    let option = text(|out| refuse(out, "SET NX", &refusals::COMPARE_AND_SET));
    assert!(option.starts_with("-ERR SET NX is not served by Annulus: replicas"), "{option}");
}

#[test]
fn the_readme_is_checked() {
    let table = markdown();
    assert!(table.contains("| GET | `key` | Returns the value of a key. |\n"));
    assert!(table.contains("| CLIENT NO-EVICT | `<ON \\| OFF>` |"));
    assert!(table.contains("MULTI, EXEC") || table.contains("DISCARD, EXEC, MULTI"));
    assert!(table.lines().all(|line| line.is_empty() || line.starts_with('|') && line.ends_with('|')));
    let good = format!("# Title\n<!-- commands:begin -->\n\n{table}\n<!-- commands:end -->\nmore");
    assert_eq!(check_readme(&good), Ok(()));
    let bad = good.replace("| GET |", "| GOT |");
    let error = check_readme(&bad).expect_err("differs");
    assert!(error.contains("found\n| GOT |") && error.contains("expected\n| GET |"), "{error}");
    assert!(check_readme("none").is_err());
    assert!(check_readme(&good.replace("<!-- commands:begin -->\n\n|", "<!-- commands:begin -->\n")).is_err());
}
