//! A command's syntax, one line of text in the table, as the arguments that COMMAND DOCS describes.
//!
//! ```text
//! sequence    = element…
//! element     = item ["[" the same again "...]"]            repeated
//! item        = name | TOKEN | TOKEN name | [TOKEN] group
//! group       = "[" choice "]"  optional  |  "<" choice ">"
//! choice      = sequence ("|" sequence)…
//! ```
//!
//! It reads only the table's own text, so that a mistake in it is a bug: the functions panic, and a test
//! parses every row.

use annulus_net::resp::Protocol;
use annulus_net::resp::writer as write;

use super::{bulk, field, statuses};

/// One argument, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    name: String,
    kind: Kind,
    token: Option<String>,
    optional: bool,
    multiple: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A value, and the name of its type.
    Value(&'static str),
    PureToken,
    OneOf(Vec<Argument>),
    Block(Vec<Argument>),
}

/// The arguments of a syntax.
///
/// # Panics
/// When the syntax is none.
pub(super) fn parse(syntax: &str) -> Vec<Argument> {
    let spaced =
        ["[", "]", "<", ">", "|"].iter().fold(syntax.to_owned(), |text, mark| text.replace(mark, &format!(" {mark} ")));
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    let arguments = sequence(&mut rest);
    assert!(rest.is_empty(), "{syntax}: {rest:?} is left over");
    arguments
}

/// Appends the arguments as COMMAND DOCS has them.
pub(super) fn write(out: &mut Vec<u8>, protocol: Protocol, arguments: &[Argument]) {
    write::array_header(out, arguments.len());
    for argument in arguments {
        argument.write(out, protocol);
    }
}

fn sequence(words: &mut &[&str]) -> Vec<Argument> {
    let mut arguments: Vec<Argument> = Vec::new();
    while let Some(&word) = words.first() {
        match word {
            "]" | ">" | "|" | "..." => break,
            "[" => optional(words, &mut arguments),
            "<" => {
                *words = &words[1..];
                arguments.push(group(words, ">", None));
            }
            word => {
                *words = &words[1..];
                arguments.push(item(words, word));
            }
        }
    }
    arguments
}

fn item(words: &mut &[&str], word: &str) -> Argument {
    if !is_token(word) {
        return value(word, None);
    }
    match words.first() {
        Some(&"<") => {
            *words = &words[1..];
            group(words, ">", Some(word))
        }
        Some(&next) if !is_token(next) && !matches!(next, "[" | "]" | ">" | "|" | "...") => {
            *words = &words[1..];
            value(next, Some(word))
        }
        _ => Argument { kind: Kind::PureToken, token: Some(word.to_owned()), ..value(&word.to_lowercase(), None) },
    }
}

/// A group in brackets: optional, or what stands before it once more and often.
fn optional(words: &mut &[&str], before: &mut Vec<Argument>) {
    *words = &words[1..];
    let mut ahead = *words;
    let repeated = sequence(&mut ahead);
    if ahead.first() != Some(&"...") {
        let group = group(words, "]", None);
        before.push(Argument { optional: true, ..group });
        return;
    }
    assert_eq!(ahead.get(1), Some(&"]"));
    *words = &ahead[2..];
    let start = before.len().checked_sub(repeated.len());
    let start = start.expect("what is repeated stands before");
    let same = before[start..].iter().map(|argument| &argument.name);
    assert!(same.eq(repeated.iter().map(|argument| &argument.name)), "{repeated:?}");
    let mut last = before.split_off(start);
    let whole = if last.len() == 1 { last.swap_remove(0) } else { block(last) };
    before.push(Argument { multiple: true, ..whole });
}

/// What stands up to the closing mark, as one argument.
fn group(words: &mut &[&str], close: &str, token: Option<&str>) -> Argument {
    let mut choices = vec![sequence(words)];
    while words.first() == Some(&"|") {
        *words = &words[1..];
        choices.push(sequence(words));
    }
    assert_eq!(words.first(), Some(&close));
    *words = &words[1..];
    let mut choices: Vec<Argument> = choices.into_iter().map(single).collect();
    if choices.len() == 1 && token.is_none() {
        return choices.swap_remove(0);
    }
    let name = token.map_or_else(|| joined(&choices), str::to_lowercase);
    let token = token.map(str::to_owned);
    Argument { name, kind: Kind::OneOf(choices), token, optional: false, multiple: false }
}

fn single(mut sequence: Vec<Argument>) -> Argument {
    assert!(!sequence.is_empty());
    if sequence.len() == 1 { sequence.swap_remove(0) } else { block(sequence) }
}

fn block(arguments: Vec<Argument>) -> Argument {
    let name = joined(&arguments);
    Argument { name, kind: Kind::Block(arguments), token: None, optional: false, multiple: false }
}

fn joined(arguments: &[Argument]) -> String {
    let names: Vec<&str> = arguments.iter().map(|argument| argument.name.as_str()).collect();
    names.join("-")
}

fn value(name: &str, token: Option<&str>) -> Argument {
    let kind = match name {
        "key" => "key",
        "pattern" => "pattern",
        "count" | "cursor" | "end" | "first" | "index" | "last" | "milliseconds" | "protover" | "seconds" | "slot"
        | "start" => "integer",
        "client-id" => "integer",
        name if name.starts_with("unix-time") => "unix-time",
        _ => "string",
    };
    let token = token.map(str::to_owned);
    Argument { name: name.to_owned(), kind: Kind::Value(kind), token, optional: false, multiple: false }
}

fn is_token(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase())
}

impl Argument {
    fn write(&self, out: &mut Vec<u8>, protocol: Protocol) {
        let (kind, parts) = match &self.kind {
            Kind::Value(kind) => (*kind, None),
            Kind::PureToken => ("pure-token", None),
            Kind::OneOf(choices) => ("oneof", Some(choices)),
            Kind::Block(parts) => ("block", Some(parts)),
        };
        let is_key = kind == "key";
        let flags = [(self.optional, "optional"), (self.multiple, "multiple")];
        let flags = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name);
        let flagged = self.optional || self.multiple;
        let optional = [parts.is_none(), is_key, self.token.is_some(), flagged, parts.is_some()];
        let fields = 2 + optional.iter().filter(|present| **present).count();
        write::map_header(out, protocol, fields);
        field(out, "name", &self.name);
        field(out, "type", kind);
        if parts.is_none() {
            field(out, "display_text", &self.name);
        }
        if is_key {
            bulk(out, "key_spec_index");
            write::integer(out, 0);
        }
        if let Some(token) = &self.token {
            field(out, "token", token);
        }
        if flagged {
            bulk(out, "flags");
            statuses(out, protocol, flags);
        }
        if let Some(parts) = parts {
            bulk(out, "arguments");
            write(out, protocol, parts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arguments as text again: `?` optional, `*` multiple, `(…)` a block, `<…>` a choice.
    fn shape(arguments: &[Argument]) -> String {
        let one = |argument: &Argument| {
            let token = argument.token.as_deref().map(|token| format!("{token}:")).unwrap_or_default();
            let body = match &argument.kind {
                Kind::Value(kind) => format!("{}/{kind}", argument.name),
                Kind::PureToken => String::new(),
                Kind::OneOf(choices) => format!("<{}>", shape(choices)),
                Kind::Block(parts) => format!("({})", shape(parts)),
            };
            let optional = if argument.optional { "?" } else { "" };
            let multiple = if argument.multiple { "*" } else { "" };
            format!("{token}{body}{optional}{multiple}")
        };
        arguments.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn shapes() {
        let cases = [
            ("", ""),
            ("key value", "key/key value/string"),
            ("key [key ...]", "key/key*"),
            ("key value [key value ...]", "(key/key value/string)*"),
            ("[name [name ...]]", "name/string?*"),
            ("[EX seconds | KEEPTTL]", "<EX:seconds/integer KEEPTTL:>?"),
            ("[GET] cursor [MATCH pattern]", "GET:? cursor/integer MATCH:pattern/pattern?"),
            ("<a | [ID client-id] [TYPE <ON | OFF>]>", "<a/string (ID:client-id/integer? TYPE:<ON: OFF:>?)>"),
            ("[protover [AUTH user pass]]", "(protover/integer (AUTH:user/string pass/string)?)?"),
        ];
        for (syntax, expected) in cases {
            assert_eq!(shape(&parse(syntax)), expected, "{syntax}");
        }
    }
}
