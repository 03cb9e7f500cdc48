//! Documents point at what exists: links, and paths written as code.

use super::{Finding, Source};
use std::path::{Component, Path, PathBuf};

/// Endings by which a word in backticks is taken for a file of this project.
const FILE_ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".sh", ".py", ".mjs"];

/// Every Markdown file.
pub fn check(sources: &[Source], root: &Path) -> Vec<Finding> {
    let exists = |path: &Path| root.join(path).exists();
    let documents = sources.iter().filter(|source| source.path.ends_with(".md"));
    let mut findings: Vec<Finding> = documents.flat_map(|source| check_document(source, &exists)).collect();
    if !root.join("README.md").exists() {
        findings.push(Finding::new("README.md", 0, "there is none"));
    }
    findings
}

/// One document; `exists` answers for paths relative to the workspace.
pub fn check_document(source: &Source, exists: &dyn Fn(&Path) -> bool) -> Vec<Finding> {
    let directory = Path::new(&source.path).parent().unwrap_or(Path::new("")).to_path_buf();
    let mut findings = Vec::new();
    let mut fenced = false;
    for (index, line) in source.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for link in links(line) {
            if !exists(&normal(&directory.join(link))) {
                findings.push(Finding::new(&source.path, index + 1, format!("the link to {link} leads nowhere")));
            }
        }
        for file in files_in_backticks(line) {
            let places = [directory.join(file), directory.join("src").join(file), PathBuf::from(file)];
            if !places.iter().any(|place| exists(&normal(place))) {
                findings.push(Finding::new(&source.path, index + 1, format!("there is no {file}")));
            }
        }
    }
    findings
}

/// Targets of `[text](target)` that are files: no addresses, no anchors.
fn links(line: &str) -> Vec<&str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let targets = targets.map(|target| target.split(['#', ' ']).next().unwrap_or_default());
    targets.filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// Words in backticks that have a directory and the ending of a source file.
fn files_in_backticks(line: &str) -> Vec<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let words = line.split('`').skip(1).step_by(2);
    words
        .filter(|word| word.contains('/') && word.chars().all(plain))
        .filter(|word| FILE_ENDINGS.iter().any(|ending| word.ends_with(ending)))
        .collect()
}

/// Resolves `.` and `..` by name.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}
