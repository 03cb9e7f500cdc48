//! What the commands ask for, and what their answers look like.

use annulus_object::{Actor, Clock, SiblingRef, encode_object};

use super::*;
use crate::consistency::Count;

const HASH: u128 = 77;
const NOW: u64 = 1_700_000_000_000;

fn dot(clock: u64) -> Dot {
    Dot::new(Clock::from_raw(clock).unwrap(), Actor::new(clock, 1))
}

fn context(clocks: &[u64]) -> Context {
    let mut context = Context::default();
    clocks.iter().for_each(|clock| context.insert(dot(*clock)));
    context
}

fn object(siblings: &[(u64, Option<&str>, u64)]) -> Vec<u8> {
    let clocks: Vec<u64> = siblings.iter().map(|sibling| sibling.0).collect();
    let siblings = siblings.iter().map(|&(clock, value, expires_at_ms)| SiblingRef {
        dot: dot(clock),
        expires_at_ms,
        value: value.map(str::as_bytes),
        value_dot: None,
    });
    let mut out = Vec::new();
    encode_object(&context(&clocks), siblings, &mut out);
    out
}

fn text_of(token: &Token) -> String {
    let mut text = Vec::new();
    token.encode(HASH, &mut text);
    String::from_utf8(text).unwrap()
}

fn circumstances() -> Circumstances {
    let mut consistency = Consistency::default();
    consistency.set(Count::W, 3);
    Circumstances { hash: HASH, now_ms: NOW, consistency, bounds: Bounds { copies: 3, is_memory: false } }
}

fn ask<T>(text: &str, look: impl FnOnce(Result<Parsed<'_>, String>) -> T) -> T {
    let args: Vec<&[u8]> = text.split(' ').map(|arg| if arg == "\"\"" { b"" } else { arg.as_bytes() }).collect();
    let row = crate::commands::table::lookup(args[0]).expect(text);
    assert!(row.check_arity(args.len()), "{text}");
    look(parse(row.command().expect(text), &args, circumstances()))
}

fn refusal(text: &str) -> String {
    ask(text, |parsed| parsed.expect_err(text))
}

fn reply(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap().replace("\r\n", "|")
}

#[test]
fn a_command_is_read_with_its_options() {
    let base = circumstances().consistency;
    let with = |counts: &[(Count, u8)]| {
        let mut consistency = base;
        counts.iter().for_each(|(count, nodes)| consistency.set(*count, *nodes));
        consistency
    };
    ask("DYN.GET k", |parsed| assert_eq!(parsed, Ok(Parsed { wanted: Wanted::Read, consistency: base })));
    ask("dyn.get k r 3 PR 0", |parsed| {
        assert_eq!(parsed.unwrap().consistency, with(&[(Count::R, 3), (Count::Pr, 0)]));
    });
    ask("DYN.PUT k v", |parsed| {
        let wanted = Wanted::Write { value: Some(b"v"), expires_at_ms: 0, seen: None, is_repeatable: false };
        assert_eq!(parsed, Ok(Parsed { wanted, consistency: base }));
    });
    let token = Token { context: context(&[5, 9]), own: Some(dot(7)) };
    ask(&format!("DYN.PUT k v EX 10 W 1 CONTEXT {} DW 0 PW 2", text_of(&token)), |parsed| {
        let wanted =
            Wanted::Write { value: Some(b"v"), expires_at_ms: NOW + 10_000, seen: Some(token), is_repeatable: false };
        let consistency = with(&[(Count::W, 1), (Count::Pw, 2), (Count::Dw, 0)]);
        assert_eq!(parsed, Ok(Parsed { wanted, consistency }));
    });
    ask("DYN.DEL k CONTEXT \"\" R 1", |parsed| {
        let wanted =
            Wanted::Write { value: None, expires_at_ms: 0, seen: Some(Token::default()), is_repeatable: false };
        assert_eq!(parsed, Ok(Parsed { wanted, consistency: with(&[(Count::R, 1)]) }));
    });
    ask("DYN.PUT k v CONTEXT \"\" REPEATABLE yes", |parsed| {
        let seen = Some(Token::default());
        let wanted = Wanted::Write { value: Some(b"v"), expires_at_ms: 0, seen, is_repeatable: true };
        assert_eq!(parsed, Ok(Parsed { wanted, consistency: base }));
    });
    ask("DYN.PUT k v PXAT 5", |parsed| {
        let wanted = Wanted::Write { value: None, expires_at_ms: 0, seen: None, is_repeatable: false };
        assert_eq!(parsed.unwrap().wanted, wanted, "it has expired");
    });
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        ("DYN.GET k R 0", "ERR R must be an integer from 1 to 3: a key has 3 copies"),
        ("DYN.GET k PR 4", "ERR PR must be an integer from 0 to 3: a key has 3 copies"),
        ("DYN.PUT k v W two", "ERR W must be an integer from 1 to 3: a key has 3 copies"),
        ("DYN.GET k R", "ERR syntax error"),
        ("DYN.GET k R 1 r 2", "ERR syntax error"),
        ("DYN.PUT k v EX 1 PX 1", "ERR syntax error"),
        ("DYN.PUT k v CONTEXT \"\" CONTEXT \"\"", "ERR syntax error"),
        ("DYN.PUT k v CONTEXT \"\" REPEATABLE 1", "ERR REPEATABLE must be yes or no"),
        ("DYN.PUT k v CONTEXT \"\" REPEATABLE no REPEATABLE no", "ERR syntax error"),
        (
            "DYN.PUT k v REPEATABLE yes",
            "ERR REPEATABLE needs a CONTEXT: without one it would replace what is written meanwhile",
        ),
        ("DYN.GET k W 1", "ERR DYN.GET has no option 'W'; it has R and PR"),
        ("DYN.GET k CONTEXT x", "ERR DYN.GET has no option 'CONTEXT'; it has R and PR"),
        (
            "DYN.PUT k v R 1",
            "ERR DYN.PUT has no option 'R'; it has CONTEXT, REPEATABLE, W, PW, DW, EX, PX, EXAT and PXAT",
        ),
        ("DYN.DEL k EX 1", "ERR DYN.DEL has no option 'EX'; it has CONTEXT, R, W, PR, PW and DW"),
        ("DYN.PUT k v EX 0", "ERR invalid expire time in 'dyn.put' command"),
        ("DYN.PUT k v EX x", "ERR value is not an integer or out of range"),
        ("DYN.PUT k v CONTEXT !", "ERR the context is not base64url: read the key with DYN.GET for another"),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), expected, "{text}");
    }
    let mut other = Vec::new();
    Token::default().encode(HASH + 1, &mut other);
    let other = String::from_utf8(other).unwrap();
    let expected = "ERR the context is damaged, or belongs to another key: read the key with DYN.GET for another";
    assert_eq!(refusal(&format!("DYN.DEL k CONTEXT {other}")), expected);
}

#[test]
fn all_siblings_that_live_are_shown_the_newest_first() {
    let siblings = [(5, Some("old"), 0), (6, Some("gone"), NOW), (7, None, 0), (8, Some("new"), NOW + 1)];
    let seen = text_of(&Token { context: context(&[5, 6, 7, 8]), own: None });
    let expected = format!("*3|${}|{seen}|$3|new|$3|old|", seen.len());
    assert_eq!(reply(|out| write_found(out, &object(&siblings), HASH, NOW)), expected);
    let nothing = text_of(&Token::default());
    let expected = format!("*1|${}|{nothing}|", nothing.len());
    assert_eq!(reply(|out| write_found(out, b"", HASH, NOW)), expected);
    let deleted = reply(|out| write_found(out, &object(&[(7, None, 0)]), HASH, NOW));
    assert!(deleted.starts_with("*1|") && !deleted.contains(&nothing), "it has a past: {deleted}");
}

#[test]
fn a_write_gives_the_context_of_the_next() {
    let mut encoded = Vec::new();
    context(&[5]).encode(&mut encoded);
    for (is_alone, own) in [(true, None), (false, Some(dot(9)))] {
        let token = text_of(&Token { context: context(&[5]), own });
        let expected = format!("${}|{token}|", token.len());
        assert_eq!(reply(|out| write_written(out, (dot(9), is_alone, &encoded), HASH)), expected);
        let expected = format!("|1|$7|context|{expected}");
        assert_eq!(reply(|out| write_written_attribute(out, (dot(9), is_alone, &encoded), HASH)), expected);
    }
    let token = text_of(&Token { context: context(&[7]), own: None });
    let expected = format!("|1|$7|context|${}|{token}|", token.len());
    assert_eq!(reply(|out| write_found_attribute(out, &object(&[(7, None, 0)]), HASH)), expected);
}

#[test]
fn only_get_and_set_carry_attributes_and_only_for_who_asked() {
    let mut consistency = Consistency::default();
    assert!(!has_attribute(Command::Get, consistency));
    consistency.attributes = true;
    assert!(has_attribute(Command::Get, consistency) && has_attribute(Command::Set, consistency));
    assert!(!has_attribute(Command::StrLen, consistency) && !has_attribute(Command::DynGet, consistency));
}
