//! Proofs of knowing a secret, and the hiding of the hash key on its way.
//!
//! Invariant: proofs are compared in constant time, and no two purposes hash the same bytes.

use std::fmt;

use blake3::{Hash, Hasher};

/// Bytes of a proof.
pub(super) const PROOF_BYTES: usize = blake3::OUT_LEN;
/// Secrets that are in use at the same time at most: the one that is, and the one that was or will be.
pub(super) const SECRETS_MAX: usize = 2;

/// What the proofs of a cluster's nodes are made with, one per secret. Each is accepted, so that a secret can be replaced while
/// the cluster runs.
#[derive(Clone)]
pub struct Keys(Vec<[u8; 32]>);

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} keys", self.0.len())
    }
}

impl Keys {
    /// One or two, asserted.
    pub fn new(keys: &[[u8; 32]]) -> Self {
        assert!((1..=SECRETS_MAX).contains(&keys.len()), "a cluster has a secret, or two while one is replaced");
        Self(keys.to_vec())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The acceptor's proofs, one under each key.
    pub(super) fn prove_all(&self, purpose: Purpose, said: &[&[u8]]) -> Vec<[u8; PROOF_BYTES]> {
        self.0.iter().map(|key| *keyed(key, purpose, said).as_bytes()).collect()
    }

    /// The proof under one key.
    pub(super) fn prove(&self, which: usize, purpose: Purpose, said: &[&[u8]]) -> [u8; PROOF_BYTES] {
        *keyed(&self.0[which], purpose, said).as_bytes()
    }

    /// Which key one of the proofs was made with.
    pub(super) fn find(&self, proofs: &[[u8; PROOF_BYTES]], purpose: Purpose, said: &[&[u8]]) -> Option<usize> {
        // The comparison of hashes takes constant time.
        let is_under = |key: &[u8; 32]| {
            let right = keyed(key, purpose, said);
            proofs.iter().any(|proof| right == Hash::from_bytes(*proof))
        };
        self.0.iter().position(is_under)
    }

    /// Whether a proof was made with that key.
    pub(super) fn check(&self, which: usize, proof: &[u8; PROOF_BYTES], purpose: Purpose, said: &[&[u8]]) -> bool {
        keyed(&self.0[which], purpose, said) == Hash::from_bytes(*proof)
    }

    /// Hides sixteen bytes, or shows them again.
    pub(super) fn mask(&self, which: usize, bytes: [u8; 16], said: &[&[u8]]) -> [u8; 16] {
        let stream = keyed(&self.0[which], Purpose::Mask, said);
        std::array::from_fn(|at| bytes[at] ^ stream.as_bytes()[at])
    }
}

/// What a hash is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The acceptor proves.
    Accept,
    /// The dialler proves.
    Dial,
    /// The acceptor's last word is the acceptor's.
    Welcome,
    /// Nothing is proved: sixteen bytes are hidden.
    Mask,
}

/// Everything that is hashed has its length in front, so that no two lists of parts hash alike.
fn keyed(key: &[u8; 32], purpose: Purpose, said: &[&[u8]]) -> Hash {
    let name: &[u8] = match purpose {
        Purpose::Accept => b"accept",
        Purpose::Dial => b"dial",
        Purpose::Welcome => b"welcome",
        Purpose::Mask => b"hash key",
    };
    let mut hasher = Hasher::new_keyed(key);
    for part in std::iter::once(&name).chain(said) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_purposes_and_no_two_lists_hash_alike() {
        let keys = Keys::new(&[[1; 32], [2; 32]]);
        let lists: [&[&[u8]]; 5] = [&[], &[b""], &[b"ab"], &[b"a", b"b"], &[b"", b"ab"]];
        let purposes = [Purpose::Accept, Purpose::Dial, Purpose::Welcome, Purpose::Mask];
        let every = |which| purposes.iter().flat_map(move |purpose| lists.map(|said| (which, *purpose, said)));
        let mut hashes: Vec<_> =
            (0..2).flat_map(every).map(|(which, purpose, said)| keys.prove(which, purpose, said)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 2 * purposes.len() * lists.len());
    }

    #[test]
    fn what_is_hidden_is_shown_by_the_same_key_and_words_alone() {
        let keys = Keys::new(&[[1; 32], [2; 32]]);
        let hidden = keys.mask(0, [7; 16], &[b"words"]);
        assert_ne!(hidden, [7; 16]);
        assert_eq!(keys.mask(0, hidden, &[b"words"]), [7; 16]);
        assert_ne!(keys.mask(1, hidden, &[b"words"]), [7; 16]);
        assert_ne!(keys.mask(0, hidden, &[b"others"]), [7; 16]);
    }
}
