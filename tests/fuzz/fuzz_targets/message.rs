//! Any bytes as a message between cores: never a panic, and what is accepted encodes to the same bytes again.
#![no_main]

use annulus_cluster::message::Unverified;
use libfuzzer_sys::fuzz_target;

const BYTES_MAX: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    check(data);
    // With a right version and length, else hardly anything would get past them.
    let mut bytes = data.to_vec();
    if let (Ok(length), Some(head)) = (u32::try_from(data.len()), bytes.first_chunk_mut::<8>()) {
        head[0] = 1;
        head[4..].copy_from_slice(&length.to_le_bytes());
        check(&bytes);
    }
});

fn check(bytes: &[u8]) {
    if let Ok((header, message)) = Unverified::new(bytes).check(BYTES_MAX) {
        assert!(bytes.len() <= BYTES_MAX);
        let mut again = Vec::new();
        message.encode(&header, &mut again);
        let (same_header, same) = Unverified::new(&again).check(BYTES_MAX).expect("what is encoded is accepted");
        assert_eq!((same_header, same), (header, message));
    }
}
