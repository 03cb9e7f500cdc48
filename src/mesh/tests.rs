//! What crosses between cores, in order, and what a full queue does.

use super::*;
use crate::consistency::{Consistency, Count};

#[test]
fn cores_own_contiguous_ranges_that_cover_everything() {
    for cores in [1, 2, 3, 5, 16, 64] {
        let map = CoreMap::new(1024, cores);
        let mut next = 0;
        for core in 0..cores {
            let owned = map.owned(core);
            assert_eq!(owned.start, next);
            assert!(owned.len() >= 1024 / usize::from(cores) && owned.len() <= 1024_usize.div_ceil(usize::from(cores)));
            assert!(owned.clone().all(|partition| map.core_of(u16::try_from(partition).unwrap()) == core));
            next = owned.end;
        }
        assert_eq!(next, 1024);
    }
}

#[test]
fn batches_cross_with_their_tokens() {
    let mut meshes = Mesh::for_cores(2);
    let flags = RequestFlags::new(Protocol::Resp3, 1023);
    let mut consistency = Consistency::default();
    consistency.set(Count::R, 1);
    let asker = Asker { client: 77, consistency };
    meshes[0].requests_to(1).push_request(7, (flags, asker), |bytes| bytes.extend_from_slice(b"GET"));
    meshes[0].requests_to(1).push_request(8, (flags, asker), |bytes| bytes.extend_from_slice(b"SET"));
    let mut woken = Vec::new();
    assert!(meshes[0].flush(|core| woken.push(core)));
    assert_eq!(woken, [1]);
    let Some(Message::Batch(batch)) = meshes[1].next_requests(0) else { panic!("a batch was sent") };
    let (request, next) = batch.request(0).unwrap();
    assert_eq!(request, Request { token: 7, flags, asker, command: b"GET" });
    assert_eq!((request.flags.protocol(), request.flags.partition()), (Protocol::Resp3, 1023));
    let (request, next) = batch.request(next).unwrap();
    assert_eq!((request.token, request.command), (8, &b"SET"[..]));
    assert!(batch.request(next).is_none());
    meshes[1].replies_to(0).push_reply(7, b"+OK");
    assert!(meshes[1].flush(|_| ()));
    let Some(Message::Batch(batch)) = meshes[0].next_replies(1) else { panic!("a batch was sent") };
    let (token, reply, next) = batch.reply(0).unwrap();
    assert_eq!((token, reply), (7, &b"+OK"[..]));
    assert!(batch.reply(next).is_none());
}

#[test]
fn a_full_queue_keeps_the_batch() {
    let mut meshes = Mesh::for_cores(2);
    let mut sent = 0;
    for token in 0..limits::MESH_QUEUE_MESSAGES as u64 + 3 {
        let asker = Asker { client: token, consistency: Consistency::default() };
        meshes[0].requests_to(1).push_request(token, (RequestFlags::new(Protocol::Resp2, 0), asker), |_| {});
        meshes[0].flush(|_| sent += 1);
    }
    assert_eq!(sent, limits::MESH_QUEUE_MESSAGES);
    assert!(!meshes[0].is_flushed());
    let mut tokens = 0;
    while let Some(Message::Batch(batch)) = meshes[1].next_requests(0) {
        let mut offset = 0;
        while let Some((request, next)) = batch.request(offset) {
            assert_eq!((request.token, request.asker.client), (tokens, tokens));
            tokens += 1;
            offset = next;
        }
        meshes[0].flush(|_| ());
    }
    assert_eq!(tokens, limits::MESH_QUEUE_MESSAGES as u64 + 3);
}
