//! Who the node is on this start: `node.meta` opened or founded, a new incarnation where the last run may have lost
//! something, and which layout of the log is in force.
//!
//! Invariant: whatever is stamped is stamped by an actor that is stored durably, and that no earlier run may have used for
//! something that was lost.

use std::sync::Arc;

use annulus_object::Actor;

use super::BootError;
use super::introduction::{self, Introduce};
use crate::config::{ClusterConfig, Config, Durability};
use crate::env::background::TakeIncarnation;
use crate::node_meta::{self, MetaError, MetaFile, NodeMeta, SharedMeta};
use crate::secrets::{ClusterSecrets, name_hash};
use crate::snapshot;

/// A layout that the number of cores no longer fits, and its number of cores.
pub(super) type OldLayout = (u32, u16);

pub(super) fn save(meta: &SharedMeta, change: impl FnOnce(&mut NodeMeta)) -> Result<(), BootError> {
    node_meta::save(meta, change).map_err(|error| BootError::Data(error.to_string()))
}

/// Opens or founds the node, takes a new incarnation where the last run may have lost something, and notes that it runs. With an
/// empty directory and seeds it waits until one of them says which cluster there is.
pub(super) fn identify(
    config: &Config,
    secrets: Option<&ClusterSecrets>,
    introduce: &Introduce<'_>,
) -> Result<(MetaFile, NodeMeta, Option<OldLayout>), BootError> {
    let data = |error: MetaError| BootError::Data(error.to_string());
    if snapshot::is_snapshot(&config.data) {
        return Err(BootError::Data(format!(
            "{} is a snapshot, whose files may be another node's too: make a data directory of it with `annulus admin restore`",
            config.data.display()
        )));
    }
    let cores = config.core_count();
    let newcomer = || match (&config.cluster, secrets) {
        (Some(cluster), Some(secrets)) => introduction::newcomer(config, cluster, secrets, introduce),
        _ => NodeMeta::found(cores, config.partitions),
    };
    let (mut file, mut meta, founded) = MetaFile::open_or_found(&config.data, newcomer).map_err(data)?;
    if !founded {
        recognise(&mut meta, config).map_err(BootError::Data)?;
    }
    meta.take_generation();
    if meta.partitions != config.partitions {
        return Err(BootError::Data(format!(
            "this data directory was founded with {} partitions, the configuration says {}: the number is fixed at founding",
            meta.partitions, config.partitions
        )));
    }
    // Rule S1: whoever may have lost what it acknowledged never stamps as the same actor again.
    let forgets = |durability| durability == Some(Durability::Memory);
    if !founded && (!meta.clean || forgets(meta.durability) || forgets(Some(config.durability))) {
        meta.take_incarnation().map_err(data)?;
        tracing::info!(incarnation = meta.incarnation, clean = meta.clean, "a new incarnation");
    }
    let has_log = !log_layouts(config)?.is_empty();
    if has_log && config.durability == Durability::Memory {
        return Err(BootError::Data(format!(
            "{} holds a durable log, which a node with memory durability would neither read nor keep: give it another --data, or serve with sync or interval",
            config.data.display()
        )));
    }
    let migrate_from = (has_log && meta.cores != cores).then_some((meta.layout, meta.cores));
    let mut stored = meta.clone();
    stored.clean = false;
    stored.durability = Some(config.durability);
    file.save(&stored).map_err(data)?;
    remove_layouts_but(config, meta.layout)?;
    meta.cores = cores;
    if migrate_from.is_some() {
        // Stored only when every core has what was other cores' before.
        meta.layout += 1;
        tracing::info!(
            before = migrate_from.map(|(_, cores)| cores),
            cores,
            "the number of cores has changed: moving data"
        );
    }
    meta.clean = false;
    meta.durability = Some(config.durability);
    Ok((file, meta, migrate_from))
}

/// Whether the directory's cluster is the configured one. Errors: what is wrong, and what to do.
fn recognise(meta: &mut NodeMeta, config: &Config) -> Result<(), String> {
    let directory = config.data.display();
    let was_in_one = meta.cluster.name_hash != [0; 8];
    let Some(ClusterConfig { name, seeds, found, .. }) = &config.cluster else {
        // What others have must not be written anew here as if nobody else had it.
        return match meta.cluster.has_others || meta.cluster.founding > 0 {
            true => Err(format!(
                "{directory} is of a node of a cluster: give --cluster and --secret-file, or another --data"
            )),
            false => Ok(()),
        };
    };
    if was_in_one && meta.cluster.name_hash != name_hash(name) {
        return Err(format!("{directory} is of a node of another cluster than `{name}`: check --cluster and --data"));
    }
    if !was_in_one && (found.is_some() || !seeds.is_empty()) {
        return Err(format!(
            "{directory} is of a node that was never in a cluster: start it with --cluster but without --seeds and --found, then \
             it is a cluster of one that others can join; or give it an empty --data"
        ));
    }
    match found {
        Some(count) if meta.cluster.founding > 0 => meta.cluster.founding = *count,
        Some(_) => tracing::info!("this node is a member already: `found` is for empty directories, and ignored"),
        None => {}
    }
    let copies = config.quorums.copies;
    if was_in_one && meta.cluster.copies != copies {
        let before = meta.cluster.copies;
        tracing::warn!(before, copies, "the number of copies is another one: nodes with the old one refuse this one");
    }
    (meta.cluster.name_hash, meta.cluster.copies) = (name_hash(name), copies);
    Ok(())
}

/// The layouts of which there is a log.
pub(super) fn log_layouts(config: &Config) -> Result<Vec<(u32, std::path::PathBuf)>, BootError> {
    let failed = |error: std::io::Error| BootError::Data(format!("{}: {error}", config.data.display()));
    let mut layouts = Vec::new();
    for entry in std::fs::read_dir(&config.data).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("log-"));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            layouts.push((number, entry.path()));
        }
    }
    Ok(layouts)
}

/// Removes the logs of other layouts: of one that was replaced, or of a replacement that was interrupted.
pub(super) fn remove_layouts_but(config: &Config, layout: u32) -> Result<(), BootError> {
    for (_, path) in log_layouts(config)?.into_iter().filter(|(number, _)| *number != layout) {
        tracing::info!(directory = %path.display(), "removing the log of another number of cores");
        std::fs::remove_dir_all(&path).map_err(|error| BootError::Data(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

pub(super) fn take_incarnation(meta: &SharedMeta) -> TakeIncarnation {
    let meta = Arc::clone(meta);
    Arc::new(move || {
        let mut guard = meta.lock().expect("a panic ends the process");
        let (file, meta) = &mut *guard;
        meta.take_incarnation().map_err(|error| error.to_string())?;
        file.save(meta).map_err(|error| error.to_string())?;
        Ok(Actor::new(meta.node_id, meta.incarnation))
    })
}
