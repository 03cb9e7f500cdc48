//! Lengths, and the head of every file.

use super::names::is_test_file;
use super::rust::Masked;
use super::{Finding, Source};

/// Lines of a file. Past it there is a second noun in the file, ready to move out.
const FILE_LINES_MAX: usize = 450;
/// Lines of a function outside of tests.
const FUNCTION_LINES_MAX: usize = 70;
/// The ratchet: functions that are longer today, and how long they may be. Entries only shrink and go; one that is no
/// longer needed is a finding.
const LONGER: &[(&str, &str, usize)] = &[];

/// All of them.
pub fn check(source: &Source, masked: &Masked) -> Vec<Finding> {
    let path = source.path.as_str();
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(Finding::new(path, 0, format!("{lines} lines, at most {FILE_LINES_MAX}")));
    }
    if !source.text.starts_with("//!") {
        findings.push(Finding::new(path, 1, "the file does not begin with //! saying what it is"));
    }
    findings.extend(functions(path, masked, LONGER));
    findings
}

/// The ratchet over functions.
pub fn functions(path: &str, masked: &Masked, longer: &[(&str, &str, usize)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if is_test_file(path) {
        return findings;
    }
    let mut used = vec![false; longer.len()];
    for function in masked.functions() {
        let lines = function.last - function.first + 1;
        if lines <= FUNCTION_LINES_MAX || masked.is_test(function.first) {
            continue;
        }
        let entry = longer.iter().position(|(file, name, _)| *file == path && *name == function.name);
        let most = entry.map_or(FUNCTION_LINES_MAX, |entry| longer[entry].2);
        entry.into_iter().for_each(|entry| used[entry] = true);
        if lines > most {
            findings.push(Finding::new(
                path,
                function.first,
                format!("fn {} has {lines} lines, at most {most}", function.name),
            ));
        }
    }
    for ((_, name, _), _) in longer.iter().zip(used).filter(|((file, ..), used)| *file == path && !used) {
        findings.push(Finding::new(path, 0, format!("fn {name} is short enough: take it out of the ratchet")));
    }
    findings
}
