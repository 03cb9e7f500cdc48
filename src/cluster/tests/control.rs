//! Control planes of several nodes in virtual time: golden scripts, stories of the map with the bugs that they find, and noise.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod control {
    mod bugs;
    mod noise;
    mod scripts;
    mod stories;
    pub mod world;
}
