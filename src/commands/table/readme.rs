//! The table of commands as the README prints it.

use super::{Refusal, Row, Service, all, served};

const BEGIN: &str = "<!-- commands:begin -->";
const END: &str = "<!-- commands:end -->";

/// What stands between the README's marks: the served commands, then the refused ones by reason.
pub fn markdown() -> String {
    let mut text = String::from("| Command | Arguments | |\n|---|---|---|\n");
    for row in served() {
        if row.subcommands.is_empty() {
            text.push_str(&line(row));
        }
        row.served_subcommands().for_each(|subcommand| text.push_str(&line(subcommand)));
    }
    text.push_str("\n| Not served | Why | Instead |\n|---|---|---|\n");
    for (refusal, titles) in refused_by_reason() {
        let Refusal { why, instead } = refusal;
        text.push_str(&format!("| {} | {why} | {instead} |\n", titles.join(", ")));
    }
    text
}

/// Whether the README's block of commands, between `<!-- commands:begin -->` and `<!-- commands:end -->`,
/// is what [`markdown`] says; the error says what differs, and holds the block as it should be.
pub fn check_readme(readme: &str) -> Result<(), String> {
    let block = readme.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let Some((block, _)) = block else {
        return Err(format!("the README has no block between {BEGIN} and {END}"));
    };
    let expected = markdown();
    if block.trim() == expected.trim() {
        return Ok(());
    }
    let mut pairs = block.trim().lines().zip(expected.trim().lines());
    let difference = match pairs.find(|(found, expected)| found != expected) {
        Some((found, expected)) => format!("found\n{found}\nexpected\n{expected}"),
        None => String::from("one of them ends early"),
    };
    Err(format!("the README's commands differ: {difference}\nThe whole block:\n{BEGIN}\n{expected}{END}"))
}

fn line(row: &Row) -> String {
    let arguments = match row.syntax {
        "" => String::new(),
        // A bar ends a table's cell even inside code.
        syntax => format!("`{}`", syntax.replace('|', "\\|")),
    };
    format!("| {} | {arguments} | {} |\n", row.title(), row.summary)
}

/// Refused commands, and refused subcommands of served containers, in the order of the table.
fn refused_by_reason() -> Vec<(Refusal, Vec<String>)> {
    let mut reasons: Vec<(Refusal, Vec<String>)> = Vec::new();
    let subcommands = |row: &'static Row| row.command().map_or(&[][..], |_| row.subcommands);
    for row in all().flat_map(|row| std::iter::once(row).chain(subcommands(row))) {
        let Service::Refused(refusal) = row.service else {
            continue;
        };
        match reasons.iter_mut().find(|(known, _)| *known == refusal) {
            Some((_, titles)) => titles.push(row.title()),
            None => reasons.push((refusal, vec![row.title()])),
        }
    }
    reasons
}
