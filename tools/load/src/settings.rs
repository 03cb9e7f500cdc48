//! What a run shall do, once the arguments were checked.

use std::time::Duration;

use crate::schedule::Arrivals;
use crate::workload::{Sizes, Workload};

/// What makes the next request leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Time: `rate` requests a second over all threads, whatever the replies do.
    Open {
        /// Requests a second.
        rate: f64,
        /// How they are spread.
        arrivals: Arrivals,
    },
    /// A reply to one before.
    Closed,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What makes requests leave.
    pub mode: Mode,
    /// Connections over all threads.
    pub connections: u32,
    /// Requests that one connection has outstanding at most.
    pub pipeline: u32,
    /// Threads.
    pub threads: u32,
    /// What is asked.
    pub workload: Workload,
    /// Keys to begin with.
    pub keys: u64,
    /// Sizes of keys.
    pub key_sizes: Sizes,
    /// Sizes of values.
    pub value_sizes: Sizes,
    /// Write every key before the run.
    pub preload: bool,
    /// Copies beside the primary's that a WAIT behind every SET asks for; 0 without one.
    pub wait: u32,
    /// Check every value.
    pub verify: bool,
    /// Load that is not counted.
    pub warm_up: Duration,
    /// Load that is counted.
    pub duration: Duration,
    /// End earlier, after so many requests over all threads.
    pub count: Option<u64>,
    /// Of everything random.
    pub seed: u64,
    /// How long the last replies are waited for.
    pub patience: Duration,
}

impl Settings {
    /// This thread's part of a number that is spread over all.
    pub fn part(&self, whole: u64, thread: u32) -> u64 {
        let threads = u64::from(self.threads);
        whole / threads + u64::from(u64::from(thread) < whole % threads)
    }

    /// The WAIT that follows every SET, encoded; nothing where none is wanted.
    pub fn wait_behind_a_write(&self) -> Vec<u8> {
        if self.wait == 0 {
            return Vec::new();
        }
        let (copies, time) = (self.wait.to_string(), self.patience.as_millis().to_string());
        format!("*3\r\n$4\r\nWAIT\r\n${}\r\n{copies}\r\n${}\r\n{time}\r\n", copies.len(), time.len()).into_bytes()
    }
}
