//! The names of a disk in memory: files come, go, and are durable when their directory was synced.
//!
//! Invariant: every call here counts, and may be told to fail.

use std::rc::Rc;

use super::{Change, EXDEV, MemoryDisk, MemoryFile};
use crate::buffer::AlignedBuffer;
use crate::disk::{Disk, DiskError, File, OpenMode, Space};

impl Disk for MemoryDisk {
    type File = MemoryFile;

    async fn create_directory(&self, path: &str) -> Result<(), DiskError> {
        self.call_waiting("create directory").await?;
        let mut state = self.state.borrow_mut();
        if !state.directories.iter().any(|other| other == path) {
            state.directories.push(path.to_owned());
        }
        Ok(())
    }

    async fn list(&self, directory: &str) -> Result<Vec<String>, DiskError> {
        self.call_waiting("list directory").await?;
        let prefix = format!("{directory}/");
        let state = self.state.borrow();
        let names = state.names.keys().filter_map(|path| path.strip_prefix(&prefix));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    async fn open(&self, path: &str, mode: OpenMode) -> Result<MemoryFile, DiskError> {
        self.call_waiting("open").await?;
        let mut state = self.state.borrow_mut();
        let content = match state.names.get(path) {
            Some(content) => Rc::clone(content),
            None if mode == OpenMode::Prepare => {
                let content = state.new_file(Vec::new());
                state.names.insert(path.to_owned(), Rc::clone(&content));
                state.note(Change::Named { path: path.to_owned(), file: content.borrow().id });
                content
            }
            None => return Err(DiskError::NotFound),
        };
        Ok(MemoryFile { disk: self.clone(), content, mode })
    }

    async fn remove(&self, path: &str) -> Result<(), DiskError> {
        self.call_waiting("remove").await?;
        let mut state = self.state.borrow_mut();
        state.names.remove(path).ok_or(DiskError::NotFound)?;
        state.note(Change::Removed { path: path.to_owned() });
        Ok(())
    }

    async fn link(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.call_waiting("link").await?;
        let mut state = self.state.borrow_mut();
        if state.no_links {
            return Err(DiskError::Io { errno: EXDEV, what: "link" });
        }
        let content = state.names.get(from).cloned().ok_or(DiskError::NotFound)?;
        if state.names.contains_key(to) {
            return Err(DiskError::Exists);
        }
        let file = content.borrow().id;
        state.names.insert(to.to_owned(), content);
        state.note(Change::Named { path: to.to_owned(), file });
        Ok(())
    }

    async fn remove_directory(&self, path: &str) -> Result<(), DiskError> {
        self.call_waiting("remove directory").await?;
        self.state.borrow_mut().directories.retain(|other| other != path);
        Ok(())
    }

    async fn sync_directory(&self, path: &str) -> Result<(), DiskError> {
        self.call_waiting("sync directory").await?;
        let prefix = format!("{path}/");
        let mut state = self.state.borrow_mut();
        state.durable_names.retain(|name, _| !name.starts_with(&prefix));
        let inside: Vec<_> = state.names.iter().filter(|(name, _)| name.starts_with(&prefix)).collect();
        let inside: Vec<_> = inside.into_iter().map(|(name, file)| (name.clone(), Rc::clone(file))).collect();
        state.durable_names.extend(inside);
        state.note(Change::SyncedDirectory { path: path.to_owned() });
        Ok(())
    }

    async fn write_many(&self, writes: Vec<(MemoryFile, u64, AlignedBuffer)>) -> Result<(), DiskError> {
        for (file, offset, buffer) in writes {
            file.write_at(offset, buffer, 0).await?;
        }
        Ok(())
    }

    async fn sync_many(&self, files: Vec<MemoryFile>) -> Result<(), DiskError> {
        for file in files {
            file.sync().await?;
        }
        Ok(())
    }

    fn space(&self) -> Result<Space, DiskError> {
        self.call("statvfs")?;
        let state = self.state.borrow();
        let available_bytes = state.total_bytes.saturating_sub(state.used());
        Ok(Space { total_bytes: state.total_bytes, available_bytes })
    }
}
