//! What has ended and was not told yet.
//!
//! Buffers go round: those that a load has filled are exchanged for those that the caller has read.
//!
//! Invariant: ends are told in their order; `failures` counts those of them that failed.

use std::collections::VecDeque;

use annulus_cluster::event::{Event, StoreFailure};
use annulus_cluster::ids::{Home, StoreToken};
use annulus_engine as engine;

use super::waiting::Loading;

/// Buffers that are kept for later loads, and how long one may be for that.
const BUFFERS_MAX: usize = 64;
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// What a load has found: the key's bytes and the encoded object, both empty where there is none.
#[derive(Debug, Default)]
pub struct LoadedBytes {
    /// The key.
    pub key: Vec<u8>,
    /// The object.
    pub object: Vec<u8>,
}

/// Something that has ended.
#[derive(Debug)]
pub enum Ended {
    /// A store.
    Stored {
        /// From the effect.
        token: StoreToken,
        /// Whether it is stored.
        result: Result<(), StoreFailure>,
    },
    /// A load; what it found is in [`LoadedBytes`].
    Loaded {
        /// From the effect.
        token: StoreToken,
        /// Where it was looked for.
        home: Home,
        /// The hash of the key's bytes.
        hash: u128,
        /// False when the disk did not tell.
        is_told: bool,
    },
    /// An own write was lost: the node needs another incarnation, which [`engine::Engine::adopt_incarnation`] is given.
    NeedIncarnation,
    /// The disk failed again: nothing more is written.
    ReadOnly,
    /// The end of a commit, which others may wait for too, or what others asked the engine for.
    Engine(engine::Event),
}

impl Ended {
    /// What the protocol is told of it, if anything.
    #[must_use]
    pub fn event<'a>(&self, bytes: &'a LoadedBytes) -> Option<Event<'a>> {
        match *self {
            Self::Stored { token, result } => Some(Event::Stored { token, result }),
            Self::Loaded { token, home, hash, is_told } => {
                let object = is_told.then_some(bytes.object.as_slice());
                Some(Event::Loaded { token, home, key: &bytes.key, hash, object })
            }
            Self::NeedIncarnation | Self::ReadOnly | Self::Engine(_) => None,
        }
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct EndedQueue {
    ended: VecDeque<Ended>,
    /// Of the loads among them, in the same order.
    loaded: VecDeque<LoadedBytes>,
    failures: usize,
    buffers: Vec<Vec<u8>>,
}

impl EndedQueue {
    pub(super) fn push(&mut self, ended: Ended) {
        self.ended.push_back(ended);
    }

    pub(super) fn stored(&mut self, token: StoreToken) {
        self.push(Ended::Stored { token, result: Ok(()) });
    }

    pub(super) fn fail(&mut self, token: StoreToken, failure: StoreFailure) {
        self.failures += 1;
        self.push(Ended::Stored { token, result: Err(failure) });
    }

    pub(super) fn loaded(&mut self, loading: Loading, (key, object): (Vec<u8>, Vec<u8>)) {
        let Loading { token, home, hash, key: asked } = loading;
        self.keep(asked);
        self.loaded.push_back(LoadedBytes { key, object });
        self.push(Ended::Loaded { token, home, hash, is_told: true });
    }

    /// The disk did not give the object.
    pub(super) fn not_told(&mut self, loading: Loading) {
        let Loading { token, home, hash, key } = loading;
        self.keep(key);
        let bytes = LoadedBytes { key: self.buffer(), object: self.buffer() };
        self.loaded.push_back(bytes);
        self.push(Ended::Loaded { token, home, hash, is_told: false });
    }

    pub(super) fn next(&mut self, bytes: &mut LoadedBytes) -> Option<Ended> {
        let ended = self.ended.pop_front()?;
        match &ended {
            Ended::Stored { result: Err(_), .. } => self.failures -= 1,
            Ended::Loaded { .. } => {
                let loaded = self.loaded.pop_front().expect("a load comes with its bytes");
                let read = std::mem::replace(bytes, loaded);
                self.keep(read.key);
                self.keep(read.object);
            }
            _ => {}
        }
        Some(ended)
    }

    /// Whether a failure was not told yet.
    pub(super) fn has_failures(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    /// An empty buffer.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Keeps a buffer for later.
    pub(super) fn keep(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < BUFFERS_MAX && (1..=BUFFER_BYTES_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}
