//! What the model knows of histories.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

use super::*;

#[test]
fn a_value_names_its_operation() {
    assert_eq!(op_of_value(&7u32.to_le_bytes()), Some(7));
    assert_eq!(op_of_value(&[1, 2]), None);
}

#[test]
fn keys_are_found_by_hash() {
    let mut model = Model::default();
    let first = model.add_key(b"a".to_vec(), 1, 10);
    let second = model.add_key(b"b".to_vec(), 1, 20);
    assert_eq!((model.key_of(10), model.key_of(20), model.key_of(30)), (Some(first), Some(second), None));
    assert_eq!(model.key_name(second), "b");
}
