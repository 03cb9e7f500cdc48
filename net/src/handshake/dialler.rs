//! The side that dials.
//!
//! Invariant: it proves itself only to somebody who has.

use super::acceptor::skew_ms;
use super::codec::{self, ChallengeView};
use super::error::{HandshakeError, RefusalCode};
use super::proof::{Keys, Purpose};
use super::{Established, Identity, Introduced, Wish};
use crate::peer_frame::Frame;

/// One that has said hello.
#[derive(Debug)]
pub struct Dialler<'a> {
    identity: &'a Identity,
    keys: &'a Keys,
    wish: Wish,
    hello: Vec<u8>,
    nonce: [u8; 16],
    clock_ms: u64,
}

/// One that has proved itself and waits for the last word.
#[derive(Debug)]
pub struct Proven<'a> {
    dialler: Dialler<'a>,
    challenge: Vec<u8>,
    acceptor_nonce: [u8; 16],
    proof: Vec<u8>,
    which: usize,
    established: Established,
}

/// What a dialler has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialled {
    /// The link stands.
    Link(Established),
    /// The cluster is known.
    Introduced(Introduced),
}

impl<'a> Dialler<'a> {
    /// The first frame. `nonce` is random, `clock_ms` the Unix time.
    pub fn hello(
        identity: &'a Identity,
        keys: &'a Keys,
        wish: Wish,
        nonce: [u8; 16],
        clock_ms: u64,
    ) -> (Self, Vec<u8>) {
        let hello = codec::hello(identity, wish, nonce, clock_ms);
        let frame = codec::framed(&hello);
        (Self { identity, keys, wish, hello, nonce, clock_ms }, frame)
    }

    /// Takes the challenge; the frame to send is the proof.
    ///
    /// Errors: why the acceptor is refused, for it to be told by [`super::refusal`], or that it has refused.
    pub fn prove(self, challenge: &Frame<'_>, clock_ms: u64) -> Result<(Proven<'a>, Vec<u8>), HandshakeError> {
        let challenge = codec::payload(challenge)?;
        let (view, proved) = codec::read_challenge(challenge)?;
        self.check(&view)?;
        let wrong = || HandshakeError::ours(RefusalCode::WrongSecret, "");
        let which = self.keys.find(&view.proofs, Purpose::Accept, &[&self.hello, proved]).ok_or_else(wrong)?;
        let proof = codec::proof(self.keys.prove(which, Purpose::Dial, &[&self.hello, challenge]));
        let frame = codec::framed(&proof);
        // The other clock was read about half way between the two looks at this one.
        let between_ms = self.clock_ms + clock_ms.saturating_sub(self.clock_ms) / 2;
        let (from_core, to_core) = match self.wish {
            Wish::Link { from_core, to_core, .. } => (from_core, to_core),
            Wish::Introduction => (0, 0),
        };
        let established = Established {
            node: view.node(),
            generation: view.generation(),
            from_core,
            to_core,
            version: view.version(),
            capabilities: self.identity.capabilities & view.capabilities(),
            skew_ms: skew_ms(view.clock_ms(), between_ms),
        };
        let (challenge, acceptor_nonce) = (challenge.to_vec(), view.raw.nonce);
        Ok((Proven { dialler: self, challenge, acceptor_nonce, proof, which, established }, frame))
    }

    /// Whether the two belong together. What the acceptor says here is proved in the same frame, and checked right after.
    fn check(&self, challenge: &ChallengeView) -> Result<(), HandshakeError> {
        let ours = HandshakeError::ours;
        let own = &self.identity.versions;
        if !own.contains(&challenge.version()) {
            let detail =
                format!("the acceptor's {}, the dialler's {} to {}", challenge.version(), own.start(), own.end());
            return Err(ours(RefusalCode::NoCommonVersion, &detail));
        }
        if challenge.node() == self.identity.node {
            return Err(ours(RefusalCode::SameNode, &format!("{:012x}", self.identity.node)));
        }
        if let Wish::Link { node, .. } = self.wish {
            if challenge.node() != node {
                let detail = format!("{:012x} instead of {node:012x}", challenge.node());
                return Err(ours(RefusalCode::OtherNode, &detail));
            }
            if challenge.raw.cluster_id != self.identity.cluster_id {
                return Err(ours(RefusalCode::OtherClusterId, ""));
            }
        }
        Ok(())
    }
}

impl Proven<'_> {
    /// Takes the last word.
    ///
    /// Errors: that the acceptor has refused, or did not keep to the handshake.
    pub fn finish(self, welcome: &Frame<'_>) -> Result<Dialled, HandshakeError> {
        let welcome = codec::read_welcome(codec::payload(welcome)?)?;
        let Dialler { identity, keys, wish, hello, nonce, .. } = &self.dialler;
        let said: [&[u8]; 4] = [hello, &self.challenge, &self.proof, welcome.body];
        if !keys.check(self.which, &welcome.proof, Purpose::Welcome, &said) {
            return Err(HandshakeError::ours(RefusalCode::WrongSecret, "its last word is not proved"));
        }
        match (wish, welcome.introduction) {
            (Wish::Link { .. }, None) => Ok(Dialled::Link(self.established)),
            (Wish::Introduction, Some((cluster_id, hidden, known))) => {
                let is_other = identity.cluster_id != [0; 16] && identity.cluster_id != cluster_id;
                if cluster_id == [0; 16] || is_other {
                    return Err(HandshakeError::ours(RefusalCode::OtherClusterId, ""));
                }
                let hash_key = keys.mask(self.which, hidden, &[nonce, &self.acceptor_nonce]);
                let Established { node, skew_ms, .. } = self.established;
                Ok(Dialled::Introduced(Introduced { cluster_id, hash_key, node, skew_ms, known }))
            }
            _ => Err(HandshakeError::malformed("a welcome to something else")),
        }
    }
}
