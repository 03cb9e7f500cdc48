//! The top level keeps its names: what the project is made of can be read from one listing.

use super::{Finding, Source};

/// Beside these only a licence and dot files.
const TOP_LEVEL: &[&str] =
    &["Cargo.toml", "Cargo.lock", "src", "engine", "net", "benches", "tests", "tools", "README.md"];

/// Every file's first path component is one of the fixed names.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let stray = |path: &str| {
        let first = path.split('/').next().unwrap_or_default();
        !TOP_LEVEL.contains(&first) && !first.starts_with('.') && !first.starts_with("LICENSE")
    };
    let stray = sources.iter().filter(|source| stray(&source.path));
    stray.map(|source| Finding::new(&source.path, 0, "a stray name at the top level")).collect()
}
