//! Why a part of the floor cannot be measured.

use annulus_net::probe::{self, ProbeError};
use std::io;
use std::path::PathBuf;

/// What went wrong; nothing of a part that failed is reported.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    /// The kernel gives this process no ring.
    #[error("io_uring is refused: {0}")]
    Ring(ProbeError),
    /// The file system knows no direct I/O.
    #[error("the file system of {} refuses O_DIRECT: name another with --directory", .0.display())]
    NoDirect(PathBuf),
    /// The system refused something else.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// The machine did something else than it was asked for.
    #[error("{0}")]
    Wrong(&'static str),
}

impl FloorError {
    /// For `map_err`: the system's error with what was tried.
    pub fn at(what: &'static str) -> impl Fn(io::Error) -> FloorError {
        move |source| FloorError::System { what, source }
    }

    /// The error of building a ring, with its cause where that can be found out.
    pub fn of_ring(source: io::Error) -> FloorError {
        match probe::ring() {
            Err(cause) => FloorError::Ring(cause),
            Ok(()) => FloorError::System { what: "building a ring", source },
        }
    }

    /// Whether the machine cannot do it at all, rather than failed at it.
    pub fn is_refusal(&self) -> bool {
        matches!(self, FloorError::Ring(_) | FloorError::NoDirect(_))
    }
}
