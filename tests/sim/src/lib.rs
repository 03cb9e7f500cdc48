//! Whole clusters of the production protocol under virtual time and seeded faults.
#![forbid(unsafe_code)]

pub mod scale;
