//! The handshake's frames as bytes. All travel on one channel, begin with what they are, and have numbers with their lowest byte
//! first; see the README for the layouts.
//!
//! Invariant: what is read of a Hello stays where it is in all versions: later ones append. Whatever bytes come, reading them
//! ends in a frame or in an error.

use bytemuck::{Pod, Zeroable};

use super::error::{DETAIL_BYTES_MAX, HandshakeError, RefusalCode};
use super::proof::{PROOF_BYTES, SECRETS_MAX};
use super::{HOST_BYTES_MAX, Identity, KnownNode, Wish};
use crate::peer_frame::{CHANNEL_HANDSHAKE, Frame, Label, write};

/// Bytes of a handshake frame's payload at most.
pub const FRAME_BYTES_MAX: usize = 1024;

const MAGIC: [u8; 8] = *b"ANNLPEER";
const KIND_HELLO: u8 = 1;
const KIND_CHALLENGE: u8 = 2;
const KIND_PROOF: u8 = 3;
const KIND_WELCOME: u8 = 4;
const KIND_REFUSED: u8 = 5;
const PURPOSE_LINK: u8 = 0;
const PURPOSE_INTRODUCTION: u8 = 1;

/// Behind it the host's name.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Hello {
    kind: u8,
    purpose: u8,
    oldest: [u8; 2],
    newest: [u8; 2],
    copies: [u8; 2],
    magic: [u8; 8],
    pub(super) capabilities: [u8; 8],
    pub(super) cluster_name: [u8; 8],
    pub(super) cluster_id: [u8; 16],
    node: [u8; 8],
    generation: [u8; 8],
    clock_ms: [u8; 8],
    pub(super) nonce: [u8; 16],
    partitions: [u8; 4],
    from_core: [u8; 2],
    to_core: [u8; 2],
    port: [u8; 2],
    host_bytes: u8,
    zero: u8,
}

/// Behind it the proofs.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Challenge {
    kind: u8,
    proofs: u8,
    version: [u8; 2],
    zero: [u8; 4],
    capabilities: [u8; 8],
    node: [u8; 8],
    generation: [u8; 8],
    pub(super) cluster_id: [u8; 16],
    clock_ms: [u8; 8],
    pub(super) nonce: [u8; 16],
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Proof {
    kind: u8,
    zero: [u8; 7],
    proof: [u8; PROOF_BYTES],
}

/// Behind it a proof. All but the kind is zero unless this is an introduction.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Welcome {
    kind: u8,
    purpose: u8,
    incarnation: [u8; 2],
    zero: [u8; 4],
    cluster_id: [u8; 16],
    hash_key: [u8; 16],
    known_node: [u8; 8],
    known_generation: [u8; 8],
}

/// Behind it the words.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Refused {
    kind: u8,
    code: u8,
    detail_bytes: u8,
    zero: u8,
}

/// What a dialler says first, read.
#[derive(Debug, Clone)]
pub(super) struct HelloView<'a> {
    pub(super) raw: Hello,
    pub(super) host: &'a [u8],
    pub(super) is_introduction: bool,
}

impl HelloView<'_> {
    pub(super) fn versions(&self) -> std::ops::RangeInclusive<u16> {
        u16::from_le_bytes(self.raw.oldest)..=u16::from_le_bytes(self.raw.newest)
    }

    pub(super) fn copies(&self) -> u16 {
        u16::from_le_bytes(self.raw.copies)
    }

    pub(super) fn node(&self) -> u64 {
        u64::from_le_bytes(self.raw.node)
    }

    pub(super) fn generation(&self) -> u64 {
        u64::from_le_bytes(self.raw.generation)
    }

    pub(super) fn clock_ms(&self) -> u64 {
        u64::from_le_bytes(self.raw.clock_ms)
    }

    pub(super) fn partitions(&self) -> u32 {
        u32::from_le_bytes(self.raw.partitions)
    }

    pub(super) fn cores(&self) -> (u16, u16) {
        (u16::from_le_bytes(self.raw.from_core), u16::from_le_bytes(self.raw.to_core))
    }

    pub(super) fn port(&self) -> u16 {
        u16::from_le_bytes(self.raw.port)
    }
}

/// What an acceptor answers, read.
#[derive(Debug, Clone)]
pub(super) struct ChallengeView {
    pub(super) raw: Challenge,
    pub(super) proofs: Vec<[u8; PROOF_BYTES]>,
}

impl ChallengeView {
    pub(super) fn version(&self) -> u16 {
        u16::from_le_bytes(self.raw.version)
    }

    pub(super) fn capabilities(&self) -> u64 {
        u64::from_le_bytes(self.raw.capabilities)
    }

    pub(super) fn node(&self) -> u64 {
        u64::from_le_bytes(self.raw.node)
    }

    pub(super) fn generation(&self) -> u64 {
        u64::from_le_bytes(self.raw.generation)
    }

    pub(super) fn clock_ms(&self) -> u64 {
        u64::from_le_bytes(self.raw.clock_ms)
    }
}

/// The acceptor's last word, read.
#[derive(Debug, Clone)]
pub(super) struct WelcomeView<'a> {
    /// What the proof is over.
    pub(super) body: &'a [u8],
    pub(super) proof: [u8; PROOF_BYTES],
    /// The cluster's id, its hash key hidden, and who was there before.
    pub(super) introduction: Option<([u8; 16], [u8; 16], Option<KnownNode>)>,
}

pub(super) fn hello(identity: &Identity, wish: Wish, nonce: [u8; 16], clock_ms: u64) -> Vec<u8> {
    assert!(identity.host.len() <= HOST_BYTES_MAX, "a host's name is at most {HOST_BYTES_MAX} bytes");
    let (purpose, from_core, to_core) = match wish {
        Wish::Link { from_core, to_core, .. } => (PURPOSE_LINK, from_core, to_core),
        Wish::Introduction => (PURPOSE_INTRODUCTION, 0, 0),
    };
    let hello = Hello {
        kind: KIND_HELLO,
        purpose,
        oldest: identity.versions.start().to_le_bytes(),
        newest: identity.versions.end().to_le_bytes(),
        copies: identity.copies.to_le_bytes(),
        magic: MAGIC,
        capabilities: identity.capabilities.to_le_bytes(),
        cluster_name: identity.cluster_name,
        cluster_id: identity.cluster_id,
        node: identity.node.to_le_bytes(),
        generation: identity.generation.to_le_bytes(),
        clock_ms: clock_ms.to_le_bytes(),
        nonce,
        partitions: identity.partitions.to_le_bytes(),
        from_core: from_core.to_le_bytes(),
        to_core: to_core.to_le_bytes(),
        port: identity.port.to_le_bytes(),
        host_bytes: u8::try_from(identity.host.len()).expect("asserted above"),
        zero: 0,
    };
    let mut payload = bytemuck::bytes_of(&hello).to_vec();
    payload.extend_from_slice(identity.host.as_bytes());
    payload
}

/// What goes on behind the fields of this version is of later ones, and only theirs.
pub(super) fn read_hello<'a>(payload: &'a [u8], newest_known: u16) -> Result<HelloView<'a>, HandshakeError> {
    let (head, rest) = head(payload, KIND_HELLO)?;
    let raw: Hello = bytemuck::pod_read_unaligned(head);
    if raw.magic != MAGIC {
        return Err(HandshakeError::malformed("not a peer of this kind"));
    }
    let host = rest.get(..usize::from(raw.host_bytes)).ok_or_else(|| HandshakeError::malformed("cut"))?;
    let view = HelloView { raw, host, is_introduction: raw.purpose == PURPOSE_INTRODUCTION };
    let is_later = *view.versions().end() > newest_known;
    let is_known_purpose = raw.purpose == PURPOSE_LINK || view.is_introduction;
    let is_exact = rest.len() == host.len() && raw.zero == 0 && is_known_purpose;
    if view.versions().is_empty() || view.node() == 0 || !host.iter().all(u8::is_ascii_graphic) {
        return Err(HandshakeError::malformed("what no node says of itself"));
    }
    if is_exact || (is_later && is_known_purpose) {
        Ok(view)
    } else {
        Err(HandshakeError::malformed("longer than it says"))
    }
}

/// Without its proofs, for which there is room.
pub(super) fn challenge(identity: &Identity, version: u16, proofs: usize, nonce: [u8; 16], clock_ms: u64) -> Vec<u8> {
    let challenge = Challenge {
        kind: KIND_CHALLENGE,
        proofs: u8::try_from(proofs).expect("as many as there are secrets"),
        version: version.to_le_bytes(),
        zero: [0; 4],
        capabilities: identity.capabilities.to_le_bytes(),
        node: identity.node.to_le_bytes(),
        generation: identity.generation.to_le_bytes(),
        cluster_id: identity.cluster_id,
        clock_ms: clock_ms.to_le_bytes(),
        nonce,
    };
    bytemuck::bytes_of(&challenge).to_vec()
}

/// A challenge, and the part of it that its proofs are over.
pub(super) fn read_challenge(payload: &[u8]) -> Result<(ChallengeView, &[u8]), HandshakeError> {
    let (head, rest) = head(payload, KIND_CHALLENGE)?;
    let raw: Challenge = bytemuck::pod_read_unaligned(head);
    let (proofs, rest) = rest.as_chunks::<PROOF_BYTES>();
    let count = usize::from(raw.proofs);
    if !rest.is_empty() || proofs.len() != count || !(1..=SECRETS_MAX).contains(&count) || raw.zero != [0; 4] {
        return Err(HandshakeError::malformed("a challenge of the wrong length"));
    }
    Ok((ChallengeView { raw, proofs: proofs.to_vec() }, head))
}

pub(super) fn proof(proof: [u8; PROOF_BYTES]) -> Vec<u8> {
    bytemuck::bytes_of(&Proof { kind: KIND_PROOF, zero: [0; 7], proof }).to_vec()
}

pub(super) fn read_proof(payload: &[u8]) -> Result<[u8; PROOF_BYTES], HandshakeError> {
    let (head, rest) = head(payload, KIND_PROOF)?;
    let raw: Proof = bytemuck::pod_read_unaligned(head);
    if rest.is_empty() && raw.zero == [0; 7] {
        Ok(raw.proof)
    } else {
        Err(HandshakeError::malformed("a proof of the wrong length"))
    }
}

/// Without its proof: the cluster's id, its hash key hidden, and who was there before, of an introduction.
pub(super) fn welcome(introduction: Option<([u8; 16], [u8; 16], Option<KnownNode>)>) -> Vec<u8> {
    let mut welcome = Welcome { kind: KIND_WELCOME, ..Welcome::zeroed() };
    if let Some((cluster_id, hash_key, known)) = introduction {
        welcome = Welcome { purpose: PURPOSE_INTRODUCTION, cluster_id, hash_key, ..welcome };
        if let Some(known) = known {
            welcome.known_node = known.node.to_le_bytes();
            welcome.known_generation = known.generation.to_le_bytes();
            welcome.incarnation = known.incarnation.to_le_bytes();
        }
    }
    bytemuck::bytes_of(&welcome).to_vec()
}

pub(super) fn read_welcome(payload: &[u8]) -> Result<WelcomeView<'_>, HandshakeError> {
    let (body, rest) = head(payload, KIND_WELCOME)?;
    let raw: Welcome = bytemuck::pod_read_unaligned(body);
    let proof = rest.try_into().map_err(|_| HandshakeError::malformed("a welcome of the wrong length"))?;
    let node = u64::from_le_bytes(raw.known_node);
    let known = KnownNode {
        node,
        incarnation: u16::from_le_bytes(raw.incarnation),
        generation: u64::from_le_bytes(raw.known_generation),
    };
    let introduction = (raw.cluster_id, raw.hash_key, (node > 0).then_some(known));
    let is_introduction = raw.purpose == PURPOSE_INTRODUCTION;
    Ok(WelcomeView { body, proof, introduction: is_introduction.then_some(introduction) })
}

pub(super) fn refused(error: &HandshakeError) -> Vec<u8> {
    let detail = &error.detail.as_bytes()[..error.detail.len().min(DETAIL_BYTES_MAX)];
    let detail_bytes = u8::try_from(detail.len()).expect("cut above");
    let head = Refused { kind: KIND_REFUSED, code: error.code.number(), detail_bytes, zero: 0 };
    let mut payload = bytemuck::bytes_of(&head).to_vec();
    payload.extend_from_slice(detail);
    payload
}

/// The fixed part of a frame that has to be of one kind, and the rest; the other side's refusal in its place is an error.
fn head(payload: &[u8], kind: u8) -> Result<(&[u8], &[u8]), HandshakeError> {
    let bytes = match kind {
        KIND_HELLO => size_of::<Hello>(),
        KIND_CHALLENGE => size_of::<Challenge>(),
        KIND_PROOF => size_of::<Proof>(),
        _ => size_of::<Welcome>(),
    };
    match payload.first() {
        Some(first) if *first == kind => {
            payload.split_at_checked(bytes).ok_or_else(|| HandshakeError::malformed("cut"))
        }
        Some(&KIND_REFUSED) => Err(read_refused(payload)),
        _ => Err(HandshakeError::malformed("not what comes next in a handshake")),
    }
}

fn read_refused(payload: &[u8]) -> HandshakeError {
    let Some((head, detail)) = payload.split_at_checked(size_of::<Refused>()) else {
        return HandshakeError::malformed("cut");
    };
    let raw: Refused = bytemuck::pod_read_unaligned(head);
    let detail = &detail[..detail.len().min(usize::from(raw.detail_bytes))];
    HandshakeError::theirs(RefusalCode::from_number(raw.code), detail)
}

/// A payload of this handshake, on its channel.
pub(super) fn framed(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write(Label::message(CHANNEL_HANDSHAKE), [payload, &[]], &mut out);
    out
}

/// The payload of a frame of a handshake.
pub(super) fn payload<'a>(frame: &Frame<'a>) -> Result<&'a [u8], HandshakeError> {
    if frame.label == Label::message(CHANNEL_HANDSHAKE) {
        Ok(frame.payload)
    } else {
        Err(HandshakeError::malformed("not a handshake"))
    }
}
