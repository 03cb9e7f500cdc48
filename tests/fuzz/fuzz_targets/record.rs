//! Any bytes as a record and as an encoded object: never a panic; what is accepted reads back, and
//! encodes to the same bytes again. The checksum is repaired first, else nothing would get past it.
#![no_main]

use annulus_engine::record::{self, Kind, RecordFields, RecordRef};
use annulus_object::{Context, Object};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = RecordRef::check(data);
    check_object(data);
    let _ = Context::decode(data);
    let Ok(total_bytes) = record::peek_total_bytes(data) else {
        return;
    };
    let Some(bytes) = data.get(..total_bytes) else {
        assert!(RecordRef::check(data).is_err(), "a record is not cut short");
        return;
    };
    let mut bytes = bytes.to_vec();
    let crc = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    if let Ok(record) = RecordRef::check(&bytes) {
        check_record(record);
    }
});

fn check_object(data: &[u8]) {
    if let Ok(object) = Object::decode(data) {
        let mut again = Vec::new();
        object.encode(&mut again);
        assert_eq!(again, data, "only what encoding writes is accepted");
        let mut merged = object.clone();
        merged.merge(object.clone());
        assert_eq!(merged, object, "merging is idempotent");
    }
}

fn check_record(record: RecordRef<'_>) {
    let _ = record.object();
    let context: Vec<_> = record.context_entries().collect();
    let siblings = record.kind() == Kind::Siblings;
    let fields = RecordFields {
        dot: record.dot(),
        hash: record.hash(),
        partition: record.partition(),
        partition_incarnation: record.partition_incarnation(),
        kind: record.kind(),
        floor: if siblings { annulus_object::Clock::ZERO } else { record.floor() },
        expires_at_ms: if siblings { 0 } else { record.expires_at_ms() },
        context: if siblings { &[] } else { &context },
        value_dot: if siblings { None } else { record.siblings().next().and_then(|only| only.value_dot) },
        key: record.key(),
        value: record.body(),
    };
    let mut again = vec![0; record::encoded_bytes(&fields)];
    record::encode(&fields, &mut again);
    let again = RecordRef::check(&again).expect("what is encoded is accepted");
    assert_eq!(again.body(), record.body());
    assert!(again.siblings().eq(record.siblings()) && again.context() == record.context());
    // Fields of later versions that may be passed over are not written again, nor the floor that siblings have no use for.
    if !siblings && again.header().optional_bytes == record.header().optional_bytes {
        assert_eq!(again.bytes(), record.bytes());
    }
}
