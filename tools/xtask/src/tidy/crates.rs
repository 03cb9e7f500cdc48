//! Which crate may use which, and under which licences the rest of the world's crates come.

use super::{Finding, Source};
use crate::shell;

/// The workspace's own crates and which of the others each may use. `object` is the one vocabulary that all share;
/// `engine`, `net` and `cluster` never see each other.
const MAY_USE: &[(&str, &[&str])] = &[
    ("annulus-object", &[]),
    ("annulus-engine", &["annulus-object"]),
    ("annulus-net", &[]),
    ("annulus-cluster", &["annulus-object"]),
    ("annulus", &["annulus-object", "annulus-engine", "annulus-net", "annulus-cluster"]),
    ("annulus-inspect", &["annulus-object", "annulus-engine", "annulus"]),
    ("xtask", &["annulus-object", "annulus-cluster"]),
    ("sim", &["annulus-object", "annulus-engine", "annulus-net", "annulus-cluster", "annulus"]),
];

/// Crates that only these may depend on, because only they may name them.
const RESERVED: &[(&str, &[&str])] = &[("glommio", &["annulus"]), ("io-uring", &["annulus", "annulus-net"])];

/// Licences that may be linked into the product. A crate that offers a choice needs one of these among it.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
];

/// Crates under another licence, each with why it is accepted.
const ACCEPTED: &[(&str, &str)] = &[
    // Copyleft of its own files only, which are used unchanged; glommio needs it.
    ("bitmaps", "MPL-2.0+"),
    // The same: the failure detector, used unchanged.
    ("foca", "MPL-2.0"),
];

/// Dependencies between our crates.
pub fn check(sources: &[Source]) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with("Cargo.toml")) {
        let manifest: toml::Table = source.text.parse().map_err(|error| format!("{}: {error}", source.path))?;
        findings.extend(check_manifest(&source.path, &manifest));
    }
    Ok(findings)
}

/// One manifest's dependencies, of every kind.
pub fn check_manifest(path: &str, manifest: &toml::Table) -> Vec<Finding> {
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    let Some(name) = name else { return Vec::new() };
    let allowed = MAY_USE.iter().find(|(own, _)| *own == name).map(|(_, allowed)| *allowed);
    let mut findings = Vec::new();
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(table) = manifest.get(kind).and_then(toml::Value::as_table) else {
            continue;
        };
        for (key, value) in table {
            let dependency = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
            if let Some(allowed) = allowed
                && MAY_USE.iter().any(|(own, _)| *own == dependency)
                && !allowed.contains(&dependency)
            {
                findings.push(Finding::new(path, 0, format!("{name} must not depend on {dependency} ({kind})")));
            }
            for (reserved, users) in RESERVED {
                if key == reserved && !users.contains(&name) {
                    findings.push(Finding::new(path, 0, format!("only {} may depend on {reserved}", users.join(", "))));
                }
            }
        }
    }
    findings
}

/// The licence of every crate in the tree, as cargo knows it.
pub fn check_licences() -> Result<Vec<Finding>, String> {
    let arguments =
        ["tree", "--workspace", "--edges", "all", "--target", "all", "--prefix", "none", "--format", "{p}|{l}"];
    let tree = shell::output(&mut shell::cargo(&arguments))?;
    let mut lines: Vec<&str> =
        tree.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| line.contains('|')).collect();
    lines.sort_unstable();
    lines.dedup();
    if lines.len() < 10 {
        return Err(format!("cargo tree knows only {} crates", lines.len()));
    }
    let refused = lines
        .iter()
        .filter_map(|line| line.split_once('|'))
        .filter(|(name, licence)| !is_allowed(licence) && !is_accepted(name, licence));
    Ok(refused
        .map(|(name, licence)| Finding::new("Cargo.lock", 0, format!("{name} is licensed {licence:?}")))
        .collect())
}

fn is_accepted(name: &str, licence: &str) -> bool {
    ACCEPTED.iter().any(|(crate_name, accepted)| name.split(' ').next() == Some(crate_name) && licence == *accepted)
}

/// Whether an SPDX expression can be met with the list: one side of every `OR`, all of every `AND`.
pub fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    if let Some(inner) = expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'))
        && !inner.contains(['(', ')'])
    {
        return is_allowed(inner);
    }
    // AND binds tighter than OR.
    if let Some((left, right)) = split_outside(expression, " OR ") {
        return is_allowed(left) || is_allowed(right);
    }
    if let Some((left, right)) = split_outside(expression, " AND ") {
        return is_allowed(left) && is_allowed(right);
    }
    LICENCES.contains(&expression)
}

/// Splits at the first `word` that stands in no brackets.
fn split_outside<'a>(expression: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    expression.match_indices(word).find_map(|(at, _)| {
        let before = &expression[..at];
        let open = before.matches('(').count() == before.matches(')').count();
        open.then(|| (before, &expression[at + word.len()..]))
    })
}
