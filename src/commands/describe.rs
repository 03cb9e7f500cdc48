//! COMMAND's replies and the HELP of every container, rendered from the table of commands.
//!
//! Only what is served is listed. The shapes are Redis 7.2's: maps and sets in RESP3, arrays in RESP2.

mod arguments;
mod keys;
#[cfg(test)]
mod tests;

use annulus_net::resp::Protocol;
use annulus_net::resp::writer as write;

use super::Args;
use super::table::{self, Command, Row, access, category, flag};
use crate::glob;

/// Answers COMMAND or one of its subcommands, whose arity has been checked, in one reply.
///
/// # Panics
/// When the command is another.
pub fn answer(out: &mut Vec<u8>, protocol: Protocol, command: Command, args: Args<'_>) {
    match command {
        Command::Command => info(out, protocol, &[]),
        Command::CommandCount => integer(out, table::served().count()),
        Command::CommandInfo => info(out, protocol, &args[2..]),
        Command::CommandDocs => docs(out, protocol, &args[2..]),
        Command::CommandList => list(out, &args[2..]),
        Command::CommandGetKeys => keys::keys(out, &args[2..]),
        Command::CommandGetKeysAndFlags => keys::keys_and_flags(out, protocol, &args[2..]),
        other => panic!("{other:?} is not answered here"),
    }
}

/// Answers the HELP of a container.
pub fn help(out: &mut Vec<u8>, container: &Row) {
    let title = container.title();
    let mut lines = vec![format!("{title} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for row in container.served_subcommands().filter(|row| row.command() != Some(Command::Help)) {
        let heading = format!("{} {}", row.last_name().to_uppercase(), row.syntax);
        lines.push(heading.trim_end().to_owned());
        lines.push(format!("    {}", row.summary));
    }
    lines.push("HELP".to_owned());
    lines.push("    Prints this help.".to_owned());
    write::array_header(out, lines.len());
    lines.iter().for_each(|line| write::simple(out, line));
}

fn info(out: &mut Vec<u8>, protocol: Protocol, names: Args<'_>) {
    if names.is_empty() {
        write::array_header(out, table::served().count());
        table::served().for_each(|row| entry(out, protocol, row));
        return;
    }
    write::array_header(out, names.len());
    for name in names {
        match served_row(name) {
            Some(row) => entry(out, protocol, row),
            None => write::null(out, protocol),
        }
    }
}

/// One command as COMMAND INFO describes it: ten elements.
fn entry(out: &mut Vec<u8>, protocol: Protocol, row: &Row) {
    write::array_header(out, 10);
    bulk(out, row.name);
    write::integer(out, i64::from(row.arity));
    statuses(out, protocol, table::names(row.flags, flag::NAMES));
    let (first, last, step) = row.keys.map_or((0, 0, 0), |keys| (keys.first, keys.last, keys.step));
    write::integer(out, i64::from(first));
    write::integer(out, i64::from(last));
    write::integer(out, i64::from(step));
    let categories = table::names(row.categories(), category::NAMES);
    write::set_header(out, protocol, categories.clone().count());
    categories.for_each(|name| write::simple(out, &format!("@{name}")));
    write::set_header(out, protocol, row.tips.len());
    row.tips.iter().for_each(|tip| bulk(out, tip));
    key_specification(out, protocol, row);
    write::set_header(out, protocol, row.served_subcommands().count());
    row.served_subcommands().for_each(|row| entry(out, protocol, row));
}

fn key_specification(out: &mut Vec<u8>, protocol: Protocol, row: &Row) {
    let Some(keys) = row.keys else {
        write::set_header(out, protocol, 0);
        return;
    };
    write::set_header(out, protocol, 1);
    write::map_header(out, protocol, 3);
    bulk(out, "flags");
    statuses(out, protocol, table::names(row.access, access::NAMES));
    bulk(out, "begin_search");
    let first = i64::from(keys.first);
    specification(out, protocol, "index", &[("index", first)]);
    bulk(out, "find_keys");
    // Redis counts the last key from the first, but from the end when negative.
    let last = i64::from(keys.last);
    let last = if last < 0 { last } else { last - first };
    let range = [("lastkey", last), ("keystep", i64::from(keys.step)), ("limit", 0)];
    specification(out, protocol, "range", &range);
}

fn specification(out: &mut Vec<u8>, protocol: Protocol, kind: &str, fields: &[(&str, i64)]) {
    write::map_header(out, protocol, 2);
    bulk(out, "type");
    bulk(out, kind);
    bulk(out, "spec");
    write::map_header(out, protocol, fields.len());
    for (name, value) in fields {
        bulk(out, name);
        write::integer(out, *value);
    }
}

fn docs(out: &mut Vec<u8>, protocol: Protocol, names: Args<'_>) {
    let rows: Vec<&Row> = match names {
        [] => table::served().collect(),
        names => names.iter().filter_map(|name| served_row(name)).collect(),
    };
    write::map_header(out, protocol, rows.len());
    for row in rows {
        bulk(out, row.name);
        documentation(out, protocol, row);
    }
}

fn documentation(out: &mut Vec<u8>, protocol: Protocol, row: &Row) {
    let arguments = arguments::parse(row.syntax);
    let subcommands = row.served_subcommands().count();
    let optional = 3 * usize::from(row.deprecated.is_some());
    let optional = optional + usize::from(!arguments.is_empty()) + usize::from(subcommands > 0);
    write::map_header(out, protocol, 4 + optional);
    field(out, "summary", row.summary);
    field(out, "since", row.since);
    field(out, "group", row.group.name());
    field(out, "complexity", row.complexity);
    if let Some((since, replaced_by)) = row.deprecated {
        bulk(out, "doc_flags");
        statuses(out, protocol, std::iter::once("deprecated"));
        field(out, "deprecated_since", since);
        field(out, "replaced_by", replaced_by);
    }
    if !arguments.is_empty() {
        bulk(out, "arguments");
        arguments::write(out, protocol, &arguments);
    }
    if subcommands > 0 {
        bulk(out, "subcommands");
        write::map_header(out, protocol, subcommands);
        for subcommand in row.served_subcommands() {
            bulk(out, subcommand.name);
            documentation(out, protocol, subcommand);
        }
    }
}

fn list(out: &mut Vec<u8>, filter: Args<'_>) {
    let is = |word: &[u8], expected: &str| word.eq_ignore_ascii_case(expected.as_bytes());
    match *filter {
        [] => listed(out, |_| true),
        [by, kind, value] if is(by, "FILTERBY") && is(kind, "MODULE") => {
            // There are no modules, so that none has a command, whatever its name.
            let _ = value;
            listed(out, |_| false);
        }
        [by, kind, value] if is(by, "FILTERBY") && is(kind, "ACLCAT") => {
            let number = category::NAMES.iter().position(|name| is(value, name));
            let bit = number.map_or(0, |number| 1 << number);
            listed(out, |row| row.categories() & bit != 0);
        }
        [by, kind, value] if is(by, "FILTERBY") && is(kind, "PATTERN") => {
            listed(out, |row| glob::matches_ignoring_case(value, row.name.as_bytes()));
        }
        _ => write::error(out, "ERR syntax error"),
    }
}

fn listed(out: &mut Vec<u8>, filter: impl Fn(&Row) -> bool) {
    let with_subcommands = |row: &'static Row| std::iter::once(row).chain(row.served_subcommands());
    let rows: Vec<&Row> = table::served().flat_map(with_subcommands).filter(|row| filter(row)).collect();
    write::array_header(out, rows.len());
    rows.iter().for_each(|row| bulk(out, row.name));
}

fn served_row(name: &[u8]) -> Option<&'static Row> {
    table::resolve_full_name(name).filter(|row| row.command().is_some())
}

fn statuses<'a>(out: &mut Vec<u8>, protocol: Protocol, names: impl Iterator<Item = &'a str> + Clone) {
    write::set_header(out, protocol, names.clone().count());
    names.for_each(|name| write::simple(out, name));
}

fn field(out: &mut Vec<u8>, name: &str, text: &str) {
    bulk(out, name);
    bulk(out, text);
}

fn bulk(out: &mut Vec<u8>, text: &str) {
    write::bulk(out, text.as_bytes());
}

fn integer(out: &mut Vec<u8>, count: usize) {
    write::integer(out, i64::try_from(count).expect("commands are few"));
}
