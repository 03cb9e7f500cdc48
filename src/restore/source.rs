//! A snapshot as it is found: who it is of, every core's manifest, and files that are there and long enough.
//!
//! Invariant: what was opened is complete as far as names and lengths tell; what is in the files is not looked at here.

use std::fs;
use std::path::{Path, PathBuf};

use annulus_engine::snapshot::{Manifest, manifest_name};

use super::{RestoreError, at};
use crate::node_meta::{self, NodeMeta};

/// A snapshot.
pub(super) struct Source {
    pub(super) root: PathBuf,
    pub(super) meta: NodeMeta,
    /// By core.
    pub(super) manifests: Vec<Manifest>,
}

impl Source {
    /// Looks through a snapshot.
    pub(super) fn open(root: &Path) -> Result<Self, RestoreError> {
        let none = |what: String| RestoreError::NoSnapshot { path: root.to_owned(), what };
        if !root.join(node_meta::FILE_NAME).exists() {
            return Err(none(format!("{} is not there, which is written when all else is", node_meta::FILE_NAME)));
        }
        let meta = node_meta::read(root).map_err(|error| none(error.to_string()))?;
        let meta = meta.ok_or_else(|| none(format!("{} is not there", node_meta::FILE_NAME)))?;
        let mut manifests = Vec::new();
        for core in 0..meta.cores {
            let path = root.join(manifest_name(core));
            if !path.exists() {
                return Err(none(format!("{} is not there", manifest_name(core))));
            }
            let bytes = fs::read(&path).map_err(at(&path))?;
            let manifest = Manifest::parse(&bytes).map_err(|error| RestoreError::Manifest { path, error })?;
            let says = (manifest.core, manifest.cores, manifest.layout, manifest.cluster_id);
            if says != (core, meta.cores, meta.layout, meta.cluster_id) {
                return Err(none(format!("{} is of another core, layout or cluster", manifest_name(core))));
            }
            manifests.push(manifest);
        }
        let source = Self { root: root.to_owned(), meta, manifests };
        source.check_files()?;
        Ok(source)
    }

    fn check_files(&self) -> Result<(), RestoreError> {
        let files = self.manifests.iter().flat_map(|manifest| &manifest.files).map(|file| (&file.path, file.bytes));
        let segments = self.manifests.iter().flat_map(|manifest| &manifest.segments);
        for (path, bytes) in files.chain(segments.map(|segment| (&segment.path, segment.bytes))) {
            let path = self.root.join(path);
            let found = fs::metadata(&path).map_err(at(&path))?.len();
            if found < bytes {
                let what = format!("it has {found} bytes, {bytes} are part of the snapshot");
                return Err(RestoreError::Damaged { path, what });
            }
        }
        Ok(())
    }
}
