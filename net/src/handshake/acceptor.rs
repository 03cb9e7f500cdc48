//! The side that was dialled.
//!
//! Invariant: nothing of the cluster but its id is told before the dialler's proof was checked.

use super::codec::{self, HelloView};
use super::error::{HandshakeError, RefusalCode};
use super::proof::{Keys, Purpose};
use super::{Established, Identity, KnownNode, common_version};
use crate::peer_frame::Frame;

/// Whether a node takes links at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It does.
    Open,
    /// It reads what its disk holds.
    Loading,
    /// It ends.
    Draining,
}

/// One that has been told hello, and has answered with a challenge.
#[derive(Debug)]
pub struct Acceptor<'a> {
    identity: &'a Identity,
    keys: &'a Keys,
    hello: Vec<u8>,
    challenge: Vec<u8>,
    nonces: [[u8; 16]; 2],
    established: Established,
    /// The newcomer's own place, where it asks for an introduction.
    newcomer: Option<(String, u16)>,
}

/// A dialler that has proved itself.
#[derive(Debug)]
pub enum Accepted<'a> {
    /// The link stands as soon as the frame is sent.
    Link {
        /// The last frame.
        welcome: Vec<u8>,
        /// The facts.
        established: Established,
    },
    /// It wants to know which cluster this is.
    Introduction(Introduction<'a>),
}

/// A newcomer that has proved itself.
#[derive(Debug)]
pub struct Introduction<'a> {
    acceptor: Acceptor<'a>,
    which: usize,
    proof: Vec<u8>,
}

impl<'a> Acceptor<'a> {
    /// Takes a Hello; the frame to send is the challenge. `nonce` is random, `clock_ms` the Unix time.
    ///
    /// Errors: why the dialler is refused, for it to be told by [`refusal`].
    pub fn challenge(
        identity: &'a Identity,
        keys: &'a Keys,
        (cores, gate): (u16, Gate),
        hello: &Frame<'_>,
        nonce: [u8; 16],
        clock_ms: u64,
    ) -> Result<(Self, Vec<u8>), HandshakeError> {
        let payload = codec::payload(hello)?;
        let view = codec::read_hello(payload, *identity.versions.end())?;
        let version = check(identity, cores, gate, &view)?;
        let said = payload.to_vec();
        let mut challenge = codec::challenge(identity, version, keys.len(), nonce, clock_ms);
        for proof in keys.prove_all(Purpose::Accept, &[&said, &challenge]) {
            challenge.extend_from_slice(&proof);
        }
        let (from_core, to_core) = view.cores();
        let established = Established {
            node: view.node(),
            generation: view.generation(),
            from_core,
            to_core,
            version,
            capabilities: identity.capabilities & u64::from_le_bytes(view.raw.capabilities),
            skew_ms: skew_ms(view.clock_ms(), clock_ms),
        };
        let host = String::from_utf8_lossy(view.host).into_owned();
        let newcomer = view.is_introduction.then(|| (host, view.port()));
        let nonces = [view.raw.nonce, nonce];
        let frame = codec::framed(&challenge);
        Ok((Self { identity, keys, hello: said, challenge, nonces, established, newcomer }, frame))
    }

    /// Takes the dialler's proof.
    ///
    /// Errors: why the dialler is refused, or that it has refused.
    pub fn check(self, proof: &Frame<'_>) -> Result<Accepted<'a>, HandshakeError> {
        let payload = codec::payload(proof)?;
        let proof = codec::read_proof(payload)?;
        let said: [&[u8]; 2] = [&self.hello, &self.challenge];
        let wrong = || HandshakeError::ours(RefusalCode::WrongSecret, "");
        let which = self.keys.find(&[proof], Purpose::Dial, &said).ok_or_else(wrong)?;
        if self.newcomer.is_some() {
            return Ok(Accepted::Introduction(Introduction { acceptor: self, which, proof: payload.to_vec() }));
        }
        let welcome = self.welcome(codec::welcome(None), which, payload);
        Ok(Accepted::Link { welcome, established: self.established })
    }

    /// The last frame, proved.
    fn welcome(&self, mut body: Vec<u8>, which: usize, proof: &[u8]) -> Vec<u8> {
        let last = self.keys.prove(which, Purpose::Welcome, &[&self.hello, &self.challenge, proof, &body]);
        body.extend_from_slice(&last);
        codec::framed(&body)
    }
}

impl Introduction<'_> {
    /// Which number the newcomer has taken for the time being.
    pub fn node(&self) -> u64 {
        self.acceptor.established.node
    }

    /// Where it says that its peers' port is: the host is empty when it does not know.
    pub fn place(&self) -> (&str, u16) {
        self.acceptor.newcomer.as_ref().map_or(("", 0), |(host, port)| (host, *port))
    }

    /// The last frame: which cluster this is, and who was at that place before.
    pub fn welcome(&self, hash_key: [u8; 16], known: Option<KnownNode>) -> Vec<u8> {
        let Acceptor { identity, keys, nonces, .. } = &self.acceptor;
        let hidden = keys.mask(self.which, hash_key, &[&nonces[0], &nonces[1]]);
        let body = codec::welcome(Some((identity.cluster_id, hidden, known)));
        self.acceptor.welcome(body, self.which, &self.proof)
    }
}

/// The frame that tells the other side why it is refused; `None` when it was the other side that did.
pub fn refusal(error: &HandshakeError) -> Option<Vec<u8>> {
    (!error.is_by_peer).then(|| codec::framed(&codec::refused(error)))
}

/// Whether the two belong together; the version to speak.
fn check(identity: &Identity, cores: u16, gate: Gate, hello: &HelloView<'_>) -> Result<u16, HandshakeError> {
    let ours = HandshakeError::ours;
    let (versions, own) = (hello.versions(), &identity.versions);
    let version = common_version(&versions, own).ok_or_else(|| {
        let detail = format!(
            "the dialler's {} to {}, the acceptor's {} to {}",
            versions.start(),
            versions.end(),
            own.start(),
            own.end()
        );
        ours(RefusalCode::NoCommonVersion, &detail)
    })?;
    if hello.raw.cluster_name != identity.cluster_name {
        return Err(ours(RefusalCode::OtherClusterName, ""));
    }
    if hello.node() == identity.node {
        return Err(ours(RefusalCode::SameNode, &format!("{:012x}", identity.node)));
    }
    if hello.partitions() != identity.partitions {
        let detail = format!("the dialler's {}, the acceptor's {}", hello.partitions(), identity.partitions);
        return Err(ours(RefusalCode::OtherPartitions, &detail));
    }
    if hello.copies() != identity.copies {
        let detail = format!("the dialler's {}, the acceptor's {}", hello.copies(), identity.copies);
        return Err(ours(RefusalCode::OtherCopies, &detail));
    }
    if hello.is_introduction {
        if identity.cluster_id == [0; 16] {
            return Err(ours(RefusalCode::NoCluster, ""));
        }
    } else if hello.raw.cluster_id != identity.cluster_id {
        return Err(ours(RefusalCode::OtherClusterId, ""));
    }
    let (_, to_core) = hello.cores();
    if to_core >= cores {
        return Err(ours(RefusalCode::NoSuchCore, &format!("core {to_core} of {cores}")));
    }
    match gate {
        Gate::Open => Ok(version),
        Gate::Loading => Err(ours(RefusalCode::Loading, "")),
        Gate::Draining => Err(ours(RefusalCode::Draining, "")),
    }
}

/// How far the other clock is ahead of this one.
pub(super) fn skew_ms(theirs_ms: u64, own_ms: u64) -> i64 {
    let far = i64::try_from(theirs_ms.abs_diff(own_ms)).unwrap_or(i64::MAX);
    if theirs_ms >= own_ms { far } else { -far }
}
