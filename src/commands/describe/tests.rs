//! COMMAND: the shapes that clients parse.

use annulus_net::resp::Protocol::{self, Resp2, Resp3};

use super::*;

/// A reply as text: `[array] {map} ~(set) +status "bulk" 1 null -error`.
fn shown(reply: &[u8]) -> String {
    let mut rest = reply;
    let text = value(&mut rest);
    assert!(rest.is_empty(), "more than one reply");
    text
}

fn value(rest: &mut &[u8]) -> String {
    let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a line");
    let line = str::from_utf8(&rest[1..end]).expect("text");
    let kind = rest[0];
    *rest = &rest[end + 2..];
    let mut elements = |count: usize| -> String { (0..count).map(|_| value(rest)).collect::<Vec<_>>().join(" ") };
    let count = || -> usize { line.parse().expect("a count") };
    match kind {
        b'+' => format!("+{line}"),
        b'-' => format!("-{line}"),
        b':' => line.to_owned(),
        b'_' => "null".to_owned(),
        b'$' if line == "-1" => "null".to_owned(),
        b'$' => {
            let (text, after) = rest.split_at(count());
            *rest = after.strip_prefix(b"\r\n").expect("an end");
            format!("{:?}", str::from_utf8(text).expect("text"))
        }
        b'*' => format!("[{}]", elements(count())),
        b'~' => format!("~({})", elements(count())),
        b'%' => format!("{{{}}}", elements(2 * count())),
        kind => panic!("{}", char::from(kind)),
    }
}

fn ask(protocol: Protocol, request: &str) -> String {
    let args: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
    let row = table::resolve(args[0], args.get(1).copied()).expect("known");
    assert!(row.check_arity(args.len()), "{request}");
    let mut out = Vec::new();
    answer(&mut out, protocol, row.command().expect("served"), &args);
    shown(&out)
}

#[test]
fn entries_have_ten_elements() {
    let get = r#"["get" 2 ~(+readonly +fast) 1 1 1 ~(+@read +@string +@fast) ~() ~({"flags" ~(+RO +access) "begin_search" {"type" "index" "spec" {"index" 1}} "find_keys" {"type" "range" "spec" {"lastkey" 0 "keystep" 1 "limit" 0}}}) ~()]"#;
    assert_eq!(ask(Resp3, "COMMAND INFO get"), format!("[{get}]"));
    let plain = get.replace("~(", "[").replace('{', "[").replace(['}', ')'], "]");
    assert_eq!(ask(Resp2, "COMMAND INFO Get lpush foo config|nothing"), format!("[{plain} null null null]"));
    let mset = ask(Resp2, "COMMAND INFO mset");
    assert!(mset.contains(
        r#"1 -1 2 [+@write +@string +@slow] ["request_policy:multi_shard" "response_policy:all_succeeded"]"#
    ));
    assert!(mset.contains(r#""spec" ["lastkey" -1 "keystep" 2 "limit" 0]"#), "{mset}");
    let usage = ask(Resp2, "COMMAND INFO memory|usage");
    assert!(usage.contains(r#"["memory|usage" -3 [+readonly] 2 2 1"#), "{usage}");
    assert!(usage.contains(r#"["index" 2]] "find_keys" ["type" "range" "spec" ["lastkey" 0"#), "{usage}");
    let memory = ask(Resp2, "COMMAND INFO memory");
    assert!(memory.contains(r#"["memory|help" 2"#) && !memory.contains("memory|doctor"), "{memory}");
}

#[test]
fn only_what_is_served_is_described() {
    let all = ask(Resp2, "COMMAND");
    assert_eq!(all, ask(Resp2, "COMMAND INFO"));
    assert!(all.contains(r#"["get" 2"#) && !all.contains("lpush") && !all.contains("client|tracking"));
    assert_eq!(ask(Resp2, "COMMAND COUNT"), table::served().count().to_string());
}

#[test]
fn docs() {
    assert_eq!(
        ask(Resp3, "COMMAND DOCS getset foo lpush"),
        r#"{"getset" {"summary" "Sets the value of a key and returns the one before." "since" "1.0.0" "group" "string" "complexity" "O(1)" "doc_flags" ~(+deprecated) "deprecated_since" "6.2.0" "replaced_by" "`SET` with the `GET` argument" "arguments" [{"name" "key" "type" "key" "display_text" "key" "key_spec_index" 0} {"name" "value" "type" "string" "display_text" "value"}]}}"#
    );
    assert_eq!(ask(Resp2, "COMMAND DOCS foo"), "[]");
    let scan = ask(Resp2, "COMMAND DOCS scan");
    assert!(scan.contains(
        r#"["name" "pattern" "type" "pattern" "display_text" "pattern" "token" "MATCH" "flags" [+optional]]"#
    ));
    let client = ask(Resp3, "COMMAND DOCS client");
    assert!(client.contains(r#""subcommands" {"client|getname" {"summary""#), "{client}");
    assert!(client.contains(r#"{"name" "on" "type" "pure-token" "display_text" "on" "token" "ON"}"#), "{client}");
    // Parses every row's syntax, in both protocols.
    assert_eq!(
        ask(Resp3, "COMMAND DOCS").matches("\"summary\"").count(),
        ask(Resp2, "COMMAND DOCS").matches("\"summary\"").count()
    );
}

#[test]
fn lists() {
    let everything = ask(Resp2, "COMMAND LIST");
    assert!(everything.contains("\"config|get\"") && !everything.contains("config|rewrite"));
    assert_eq!(ask(Resp2, "COMMAND LIST FILTERBY PATTERN GET?X"), r#"["getex"]"#);
    assert_eq!(ask(Resp2, "COMMAND LIST filterby module x"), "[]");
    assert_eq!(ask(Resp2, "COMMAND LIST FILTERBY ACLCAT nothing"), "[]");
    let reads = ask(Resp2, "COMMAND LIST FILTERBY ACLCAT Read");
    assert!(reads.contains("\"memory|usage\"") && reads.contains("\"get\"") && !reads.contains("\"set\""));
    assert_eq!(ask(Resp2, "COMMAND LIST FILTERBY PATTERN"), "-ERR syntax error");
    assert_eq!(ask(Resp2, "COMMAND LIST x"), "-ERR syntax error");
}

#[test]
fn keys_of_commands() {
    assert_eq!(ask(Resp2, "COMMAND GETKEYS MGET a b"), r#"["a" "b"]"#);
    assert_eq!(ask(Resp2, "COMMAND GETKEYS mset a 1 b 2"), r#"["a" "b"]"#);
    assert_eq!(ask(Resp2, "COMMAND GETKEYS memory usage k"), r#"["k"]"#);
    assert_eq!(ask(Resp2, "COMMAND GETKEYS ping"), "-ERR The command has no key arguments");
    assert_eq!(ask(Resp2, "COMMAND GETKEYS get"), "-ERR Invalid number of arguments specified for command");
    for request in ["COMMAND GETKEYS foo a", "COMMAND GETKEYS lpush k v", "COMMAND GETKEYS client foo"] {
        assert_eq!(ask(Resp2, request), "-ERR Invalid command specified");
    }
    assert_eq!(ask(Resp3, "COMMAND GETKEYSANDFLAGS SET k v"), r#"[["k" ~(+OW +update)]]"#);
    assert_eq!(ask(Resp2, "COMMAND GETKEYSANDFLAGS SET k v get"), r#"[["k" [+RW +access +update]]]"#);
    assert_eq!(ask(Resp2, "COMMAND GETKEYSANDFLAGS DEL k"), r#"[["k" [+RM +delete]]]"#);
}

#[test]
fn help_lists_subcommands() {
    let mut out = Vec::new();
    help(&mut out, table::lookup(b"memory").expect("known"));
    assert_eq!(
        shown(&out),
        "[+MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are: +USAGE key [SAMPLES count] \
         +    Estimates the bytes that a key takes. +HELP +    Prints this help.]"
    );
}
