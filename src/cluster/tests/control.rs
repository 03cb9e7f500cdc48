//! Control planes of several nodes in virtual time: golden scripts, and noise.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod control {
    mod noise;
    mod scripts;
    pub mod toy_map;
    pub mod world;
}
