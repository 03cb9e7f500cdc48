//! The Redis protocol as bytes: requests in ([`Parser`]), replies out ([`writer`]), replies of other cores read
//! back ([`reader`]). What a command means is not known here.
//!
//! Invariant: nothing here panics or allocates without bound, whatever bytes arrive.
//!
//! ```text
//! request   *<arguments>\r\n  then per argument  $<bytes>\r\n<bytes>\r\n      or one line: an inline command
//! reply     <type byte><line>\r\n   with a body for $ ! =, elements for * ~ > (n), % | (2n)
//! ```

mod arguments;
mod error;
mod inline;
mod number;
mod parser;
pub mod reader;
pub mod writer;

#[cfg(test)]
mod tests;

pub use arguments::{Arguments, Iter, OwnedArguments};
pub use error::ProtocolError;
pub use parser::{Parsed, Parser};

/// The reply format of a connection; requests look the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// What every connection starts with.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}
