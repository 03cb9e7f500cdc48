//! Any bytes as what control planes say to each other: datagrams, messages, maps and entries of maps. Never a panic; a map that is
//! accepted encodes to the same bytes again. A datagram's tag is repaired first, else nothing would get past it.
#![no_main]

use std::hash::Hasher;

use annulus_cluster::control_message::{ControlMessage, Unchecked};
use annulus_cluster::datagram::{Datagram, HEADER_BYTES, NEWS_BYTES, Secrets};
use annulus_cluster::ids::NodeId;
use annulus_cluster::limits::ControlLimits;
use annulus_cluster::membership::{Entry, UnverifiedMembership};
use libfuzzer_sys::fuzz_target;
use siphasher::sip::SipHasher24;

const SECRET: [u8; 16] = [7; 16];

fuzz_target!(|data: &[u8]| {
    check_datagram(data);
    check_message(data);
    check_map(data);
    let _ = Entry::decode(NodeId::new(1), data);
});

fn check_datagram(data: &[u8]) {
    let secrets = Secrets::new(&[SECRET]);
    let _ = Datagram::open(data, &secrets);
    if data.len() < HEADER_BYTES {
        return;
    }
    let mut bytes = data.to_vec();
    bytes[0] = 1;
    let mut hasher = SipHasher24::new_with_key(&SECRET);
    hasher.write(&bytes[..8]);
    hasher.write(&bytes[16..]);
    let tag = hasher.finish().to_le_bytes();
    bytes[8..16].copy_from_slice(&tag);
    if let Ok(datagram) = Datagram::open(&bytes, &secrets) {
        let news = datagram.news().count();
        assert_eq!(HEADER_BYTES + datagram.detector.len() + news * NEWS_BYTES, bytes.len());
    }
}

fn check_message(data: &[u8]) {
    let limits = ControlLimits::default();
    let items = match Unchecked(data).check(&limits) {
        Ok(ControlMessage::Compare(stamps)) => stamps.iter().count(),
        Ok(ControlMessage::Pull(nodes)) => nodes.iter().count(),
        Ok(ControlMessage::Entries { entries, .. }) => {
            entries.iter().for_each(|(node, bytes)| drop(Entry::decode(node, bytes)));
            entries.iter().count()
        }
        _ => 0,
    };
    assert!(items <= data.len(), "each takes at least one byte");
}

fn check_map(data: &[u8]) {
    if let Ok(map) = UnverifiedMembership::new(data).check() {
        let mut again = Vec::new();
        map.encode(&mut again);
        assert_eq!(again, data, "only what encoding writes is accepted");
    }
}
