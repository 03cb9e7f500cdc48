//! I8: damaged bytes are neither returned nor replicated. Whatever a store hands out or a message carries decodes, and holds
//! the values that were written ([`super::invention`] compares these); here the bytes themselves are checked.

use annulus_object::Object;

use super::{Promise, Violation};
use crate::model::KeyIndex;

/// Bytes that a store gave out or a client was sent: an object.
pub fn decode(bytes: &[u8], key: Option<KeyIndex>, who: &str) -> Result<Object, Violation> {
    if bytes.is_empty() {
        return Ok(Object::default());
    }
    let broken = |error| Violation::new(Promise::Rot, key, format!("{who} bytes that are no object: {error}"));
    Object::decode(bytes).map_err(broken)
}
