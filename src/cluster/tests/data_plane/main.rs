//! The data plane in a model of a few nodes: conversations as text, every order and loss of small cases, random runs.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod basics;
mod exchanges;
mod facts;
mod once;
mod oracle;
mod orders;
mod passed_on;
mod random;
mod refilling;
mod scripts;
mod story;
#[path = "../support/trees.rs"]
mod trees;
mod world;
