//! `merkle`: the roots of the partitions' hash trees, or one tree's leaves.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::{Table, Verdict, tell};
use crate::failure::Failure;
use crate::store::Store;

/// Prints every root, or the leaves of one partition that are not zero.
pub fn run(path: &Path, leaves: Option<u16>, json: bool, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let mut store = Store::open(path)?;
    let mut findings = store.findings.clone();
    let mut table = Table::new(&["partition", "versions", "leaves", "root"]);
    let mut partitions = Vec::new();
    for number in store.partitions().into_iter().filter(|number| leaves.is_none_or(|wanted| wanted == *number)) {
        let partition = store.partition(number, false)?;
        let tree = partition.tree();
        let (versions, root) = (partition.current.len(), format!("{:032x}", tree.root()));
        table.row([number.to_string(), versions.to_string(), tree.leaf_count().to_string(), root.clone()]);
        let mut value =
            json!({ "partition": number, "versions": versions, "leaf_count": tree.leaf_count(), "root": root });
        if leaves.is_some() {
            table = Table::new(&["leaf", "sum"]);
            let filled = tree.leaves().iter().enumerate().filter(|(_, sum)| **sum != 0);
            filled.for_each(|(leaf, sum)| table.row([leaf.to_string(), format!("{sum:016x}")]));
            value["leaves"] = tree.leaves().iter().map(|sum| Value::from(format!("{sum:016x}"))).collect();
        }
        partitions.push(value);
        findings.extend(partition.findings);
    }
    if json {
        let roots =
            json!({ "path": path.display().to_string(), "partitions": partitions, "findings": findings.to_json() });
        writeln!(out, "{roots}")?;
    } else {
        table.write(out)?;
    }
    Ok(tell(&findings))
}
