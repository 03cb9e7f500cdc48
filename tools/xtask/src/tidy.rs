//! `cargo xtask tidy`: the rules that rustc, clippy and rustfmt do not know.
//!
//! Each rule is a pure function of the sources to a list of findings; this file collects the sources, runs the rules and
//! prints. Limits here only ever become stricter.

mod crates;
mod documents;
mod layout;
mod names;
mod rust;
mod shape;
#[cfg(test)]
mod tests;

use crate::shell;
use rust::Masked;
use std::path::Path;

/// One thing that is wrong: where, and what.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// path relative to the workspace
    path: String,
    /// line, from 1; 0 for the file as a whole
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Finding { path: path.into(), line, what: what.into() }
    }
}

/// One file that git knows or would add.
pub struct Source {
    /// relative to the workspace, with `/`
    path: String,
    text: String,
    /// Rust with comments and literals blanked; `None` for other files
    masked: Option<Masked>,
}

impl Source {
    fn new(path: &str, text: String) -> Self {
        let masked = path.ends_with(".rs").then(|| Masked::new(&text));
        Source { path: path.into(), text, masked }
    }
}

/// Runs every rule.
pub fn run() -> Result<(), String> {
    let root = shell::root();
    let sources = collect(&root)?;
    let mut findings = Vec::new();
    findings.extend(layout::check(&sources));
    findings.extend(documents::check(&sources, &root));
    findings.extend(crates::check(&sources)?);
    for source in &sources {
        findings.extend(names::check_text(source));
        if let Some(masked) = &source.masked {
            findings.extend(names::check_rust(source, masked));
            findings.extend(shape::check(source, masked));
        }
    }
    findings.extend(crates::check_licences()?);
    findings.sort();
    for finding in &findings {
        println!("{}:{}: {}", finding.path, finding.line, finding.what);
    }
    let files = sources.len();
    println!("tidy: {files} files, {} findings", findings.len());
    if findings.is_empty() { Ok(()) } else { Err(format!("tidy: {} findings", findings.len())) }
}

/// Every file that is tracked, or would be by `git add`; binary ones are left out.
fn collect(root: &Path) -> Result<Vec<Source>, String> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let list = shell::output(&mut shell::command("git", &list))?;
    let mut sources: Vec<Source> = Vec::new();
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        // Deleted and not yet committed: git still lists it.
        let Ok(bytes) = std::fs::read(root.join(path)) else {
            continue;
        };
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source::new(path, text));
        }
    }
    if sources.iter().filter(|source| source.masked.is_some()).count() < 10 {
        return Err("tidy found hardly any Rust files: is this the workspace?".into());
    }
    Ok(sources)
}
