//! Handshakes that come to an end, and all the ways in which they must not.

mod damage;
mod refusals;

use super::*;
use crate::peer_frame::{Frame, decode_one};

const CLUSTER: [u8; 16] = [0xc1; 16];
const HASH_KEY: [u8; 16] = *b"the key of keys!";

/// One side: who it is, what it knows, and how it stands.
#[derive(Debug, Clone)]
struct Side {
    identity: Identity,
    keys: Keys,
    cores: u16,
    gate: Gate,
    nonce: [u8; 16],
    clock_ms: u64,
}

fn side(node: u64) -> Side {
    let identity = Identity {
        node,
        generation: node + 100,
        cluster_name: *b"the-name",
        cluster_id: CLUSTER,
        partitions: 1024,
        copies: 3,
        host: format!("host-{node}"),
        port: 17379,
        versions: VERSIONS,
        capabilities: 0b1011,
    };
    let nonce = [u8::try_from(node).unwrap(); 16];
    Side { identity, keys: Keys::new(&[[1; 32]]), cores: 4, gate: Gate::Open, nonce, clock_ms: 1_000_000 }
}

fn pair() -> (Side, Side) {
    (side(7), side(8))
}

const LINK: Wish = Wish::Link { node: 8, from_core: 2, to_core: 3 };

/// What was sent, in its order, the dialler's first.
type Frames = Vec<Vec<u8>>;

/// How it ended for the dialler, and for the acceptor.
type Ends = (Result<Dialled, HandshakeError>, Result<Option<Established>, HandshakeError>);

fn frame(bytes: &[u8]) -> Result<Frame<'_>, HandshakeError> {
    decode_one(bytes, FRAME_BYTES_MAX).map_err(|error| HandshakeError::malformed(&error.to_string()))
}

/// Runs a handshake; `change` may do anything to each frame on its way.
fn shake_hands(
    dialler: &Side,
    acceptor: &Side,
    wish: Wish,
    mut change: impl FnMut(usize, Vec<u8>) -> Vec<u8>,
) -> (Ends, Frames) {
    let mut frames = Frames::new();
    let mut carry = |bytes: Vec<u8>| {
        let bytes = change(frames.len(), bytes);
        frames.push(bytes.clone());
        bytes
    };
    let (begun, hello) = Dialler::hello(&dialler.identity, &dialler.keys, wish, dialler.nonce, dialler.clock_ms);
    let hello = carry(hello);
    let standing = (acceptor.cores, acceptor.gate);
    let challenged = frame(&hello).and_then(|hello| {
        Acceptor::challenge(&acceptor.identity, &acceptor.keys, standing, &hello, acceptor.nonce, acceptor.clock_ms)
    });
    let (challenged, challenge) = match challenged {
        Ok((challenged, challenge)) => (challenged, carry(challenge)),
        Err(error) => {
            let told = refusal(&error).map(&mut carry).unwrap_or_default();
            let accepted = Err(error);
            let dialled = frame(&told).and_then(|told| begun.prove(&told, dialler.clock_ms)).map(|_| unreachable!());
            return ((dialled, accepted), frames);
        }
    };
    let (proven, proof) = match frame(&challenge).and_then(|challenge| begun.prove(&challenge, dialler.clock_ms)) {
        Ok((proven, proof)) => (proven, carry(proof)),
        Err(error) => {
            let told = refusal(&error).map(&mut carry).unwrap_or_default();
            let accepted = frame(&told).and_then(|told| challenged.check(&told)).map(|_| unreachable!());
            return ((Err(error), accepted), frames);
        }
    };
    let (accepted, last) = match frame(&proof).and_then(|proof| challenged.check(&proof)) {
        Ok(Accepted::Link { welcome, established }) => (Ok(Some(established)), carry(welcome)),
        Ok(Accepted::Introduction(newcomer)) => {
            let known = KnownNode { node: 99, incarnation: 5, generation: 6 };
            let is_known = newcomer.place() == ("host-7", 17379);
            (Ok(None), carry(newcomer.welcome(HASH_KEY, is_known.then_some(known))))
        }
        Err(error) => {
            let told = refusal(&error).map(&mut carry).unwrap_or_default();
            (Err(error), told)
        }
    };
    let dialled = frame(&last).and_then(|last| proven.finish(&last));
    ((dialled, accepted), frames)
}

fn plain(dialler: &Side, acceptor: &Side, wish: Wish) -> Ends {
    shake_hands(dialler, acceptor, wish, |_, bytes| bytes).0
}

/// Both ends of a link that came about.
fn link(dialler: &Side, acceptor: &Side) -> (Established, Established) {
    match plain(dialler, acceptor, LINK) {
        (Ok(Dialled::Link(dialled)), Ok(Some(accepted))) => (dialled, accepted),
        other => panic!("no link: {other:?}"),
    }
}

#[test]
fn both_sides_learn_the_same_of_each_other() {
    let (mut dialler, mut acceptor) = pair();
    dialler.identity.capabilities = 0b0110;
    acceptor.clock_ms += 90_000;
    let (dialled, accepted) = link(&dialler, &acceptor);
    let common = Established {
        node: 8,
        generation: 108,
        from_core: 2,
        to_core: 3,
        version: 1,
        capabilities: 0b0010,
        skew_ms: 90_000,
    };
    assert_eq!(dialled, common);
    assert_eq!(accepted, Established { node: 7, generation: 107, skew_ms: -90_000, ..common });
}

#[test]
fn frames_fit_their_bound_and_show_no_secret() {
    let (mut dialler, acceptor) = pair();
    dialler.identity.host = "h".repeat(HOST_BYTES_MAX);
    dialler.identity.cluster_id = [0; 16];
    let (ends, frames) = shake_hands(&dialler, &acceptor, Wish::Introduction, |_, bytes| bytes);
    assert!(ends.0.is_ok());
    assert_eq!(frames.len(), 4);
    for bytes in frames {
        assert!(bytes.len() <= FRAME_BYTES_MAX);
        let shows = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
        assert!(!shows(&HASH_KEY) && !shows(&[1; 32]));
    }
}

#[test]
fn a_newcomer_is_told_which_cluster_this_is_and_who_was_there() {
    let (mut dialler, acceptor) = pair();
    dialler.identity.cluster_id = [0; 16];
    let known = Some(KnownNode { node: 99, incarnation: 5, generation: 6 });
    let introduced = Introduced { cluster_id: CLUSTER, hash_key: HASH_KEY, node: 8, known };
    assert_eq!(plain(&dialler, &acceptor, Wish::Introduction), (Ok(Dialled::Introduced(introduced)), Ok(None)));
    dialler.identity.host = "elsewhere".to_owned();
    let stranger = Introduced { known: None, ..introduced };
    assert_eq!(plain(&dialler, &acceptor, Wish::Introduction).0, Ok(Dialled::Introduced(stranger)));
}

#[test]
fn a_secret_is_replaced_while_the_cluster_runs() {
    let (old, new) = ([1; 32], [2; 32]);
    // Every step that an operator may take, in either order of the file's lines, with nodes at any two neighbouring steps.
    let steps: [&[[u8; 32]]; 4] = [&[old], &[old, new], &[new, old], &[new]];
    for (at, step) in steps.iter().enumerate() {
        for other in &steps[at..] {
            let (mut dialler, mut acceptor) = pair();
            dialler.keys = Keys::new(step);
            acceptor.keys = Keys::new(other);
            let share_one = step.iter().any(|key| other.contains(key));
            for (a, b) in [(&dialler, &acceptor), (&acceptor, &dialler)] {
                let (mut a, mut b) = (a.clone(), b.clone());
                (a.identity.node, b.identity.node) = (7, 8);
                assert_eq!(plain(&a, &b, LINK).0.is_ok(), share_one, "{step:?} and {other:?}");
            }
        }
    }
}

#[test]
fn the_newest_common_version_is_spoken() {
    let spoken = |a: std::ops::RangeInclusive<u16>, b: std::ops::RangeInclusive<u16>| {
        let (mut dialler, mut acceptor) = pair();
        dialler.identity.versions = a;
        acceptor.identity.versions = b;
        let (dialled, accepted) = link(&dialler, &acceptor);
        assert_eq!(dialled.version, accepted.version);
        dialled.version
    };
    assert_eq!(spoken(1..=1, 1..=3), 1);
    assert_eq!(spoken(1..=3, 1..=1), 1);
    assert_eq!(spoken(2..=5, 1..=3), 3);
    assert_eq!(spoken(2..=5, 3..=9), 5);
}

#[test]
fn a_newer_build_with_one_more_capability_is_served_by_an_older_one() {
    let (mut dialler, acceptor) = pair();
    dialler.identity.versions = 1..=2;
    dialler.identity.capabilities |= 1 << 40;
    let (dialled, accepted) = link(&dialler, &acceptor);
    assert_eq!((dialled.version, dialled.capabilities), (1, 0b1011));
    assert_eq!((accepted.version, accepted.capabilities), (1, 0b1011));
    // And by one that is as new.
    let mut newer = acceptor.clone();
    newer.identity = Identity { versions: 1..=2, capabilities: dialler.identity.capabilities, ..newer.identity };
    assert_eq!(link(&dialler, &newer).0.capabilities, 1 << 40 | 0b1011);
}

#[test]
fn a_newer_build_may_say_more_in_its_hello() {
    let (mut dialler, acceptor) = pair();
    let longer = |bytes: Vec<u8>| {
        let payload = [decode_one(&bytes, FRAME_BYTES_MAX).unwrap().payload, b"of later"].concat();
        codec::framed(&payload)
    };
    // Both sides prove over what was sent, so the dialler has to have said it: the change stands for its newer build.
    let (_, hello) = Dialler::hello(&dialler.identity, &dialler.keys, LINK, dialler.nonce, 0);
    let challenge = |hello: &[u8]| {
        Acceptor::challenge(&acceptor.identity, &acceptor.keys, (4, Gate::Open), &frame(hello).unwrap(), [1; 16], 0)
            .map(|_| ())
            .map_err(|error| error.code)
    };
    assert_eq!(challenge(&longer(hello)), Err(RefusalCode::Malformed));
    dialler.identity.versions = 1..=2;
    let (_, hello) = Dialler::hello(&dialler.identity, &dialler.keys, LINK, dialler.nonce, 0);
    assert_eq!(challenge(&longer(hello)), Ok(()));
}
