//! Frames that were cut, changed, sent again or sent back: no such handshake comes to its end.

use proptest::prelude::*;

use super::*;

/// Gives a damaged frame a right checksum, as somebody who means it would.
fn mend(payload: &[u8]) -> Vec<u8> {
    codec::framed(payload)
}

fn payload(bytes: &[u8]) -> Vec<u8> {
    decode_one(bytes, FRAME_BYTES_MAX).unwrap().payload.to_vec()
}

/// Whether the one who got the frame, or anybody after it, came to an end that it must not come to.
fn is_fooled((dialled, accepted): &Ends, frame: usize) -> bool {
    // The acceptor is done before its last frame: damage to that is the dialler's to notice.
    dialled.is_ok() || (accepted.is_ok() && frame < 3)
}

#[test]
fn no_flipped_bit_is_accepted() {
    for wish in [LINK, Wish::Introduction] {
        let (dialler, acceptor) = pair();
        let (_, frames) = shake_hands(&dialler, &acceptor, wish, |_, bytes| bytes);
        for (number, bytes) in frames.iter().enumerate() {
            for bit in 0..payload(bytes).len() * 8 {
                let (ends, _) = shake_hands(&dialler, &acceptor, wish, |at, bytes| {
                    if at != number {
                        return bytes;
                    }
                    let mut changed = payload(&bytes);
                    changed[bit / 8] ^= 1 << (bit % 8);
                    mend(&changed)
                });
                assert!(!is_fooled(&ends, number), "bit {bit} of frame {number}: {ends:?}");
            }
        }
    }
}

#[test]
fn no_cut_or_longer_frame_is_accepted() {
    for wish in [LINK, Wish::Introduction] {
        let (dialler, acceptor) = pair();
        let (_, frames) = shake_hands(&dialler, &acceptor, wish, |_, bytes| bytes);
        for (number, bytes) in frames.iter().enumerate() {
            let whole = payload(bytes);
            let cuts = (0..whole.len()).map(|end| whole[..end].to_vec());
            for changed in cuts.chain([[&whole[..], &[0]].concat(), [&whole[..], &[0; 32]].concat()]) {
                let change = |at, bytes| if at == number { mend(&changed) } else { bytes };
                let (ends, _) = shake_hands(&dialler, &acceptor, wish, change);
                assert!(!is_fooled(&ends, number), "{} bytes of frame {number}", changed.len());
            }
        }
    }
}

#[test]
fn frames_of_an_earlier_handshake_are_worth_nothing() {
    let (dialler, acceptor) = pair();
    let (_, earlier) = shake_hands(&dialler, &acceptor, LINK, |_, bytes| bytes);
    let (mut again, mut accepts_again) = (dialler.clone(), acceptor.clone());
    // Whoever replays the dialler's frames meets another nonce of the acceptor, and the reverse.
    accepts_again.nonce = [0x55; 16];
    let (ends, _) = shake_hands(&dialler, &accepts_again, LINK, |at, bytes| match at {
        0 | 2 => earlier[at].clone(),
        _ => bytes,
    });
    assert_eq!(ends.1.unwrap_err().code, RefusalCode::WrongSecret);
    again.nonce = [0x66; 16];
    let (ends, _) = shake_hands(&again, &acceptor, LINK, |at, bytes| match at {
        1 | 3 => earlier[at].clone(),
        _ => bytes,
    });
    assert_eq!(ends.0.unwrap_err().code, RefusalCode::WrongSecret);
}

#[test]
fn a_proof_sent_back_is_worth_nothing() {
    // Somebody without the secret answers with what it was sent: the dialler's hello, the acceptor's own proof.
    let (dialler, acceptor) = pair();
    let (ends, _) = shake_hands(&dialler, &acceptor, LINK, |at, bytes| if at == 1 { mend(b"") } else { bytes });
    assert!(ends.0.is_err());
    let mut challenge = Vec::new();
    let (ends, _) = shake_hands(&dialler, &acceptor, LINK, |at, bytes| match at {
        1 => {
            challenge = payload(&bytes);
            bytes
        }
        2 => {
            let reflected = *challenge.last_chunk().expect("a challenge ends with a proof");
            mend(&codec::proof(reflected))
        }
        _ => bytes,
    });
    assert_eq!(ends.1.unwrap_err().code, RefusalCode::WrongSecret);
    // Or dials the acceptor itself and has it answer its own challenge.
    let (mut mirrored, mut same) = pair();
    mirrored.identity.node = 8;
    same.identity.node = 8;
    assert_eq!(plain(&mirrored, &same, LINK).1.unwrap_err().code, RefusalCode::SameNode);
}

#[test]
fn frames_in_the_wrong_order_are_refused() {
    let (dialler, acceptor) = pair();
    let (_, frames) = shake_hands(&dialler, &acceptor, LINK, |_, bytes| bytes);
    for number in 0..frames.len() {
        for (other, instead) in frames.iter().enumerate().filter(|(other, _)| *other != number) {
            let (ends, _) =
                shake_hands(&dialler, &acceptor, LINK, |at, bytes| if at == number { instead.clone() } else { bytes });
            assert!(!is_fooled(&ends, number), "frame {other} instead of {number}");
        }
    }
}

proptest! {
    #[test]
    fn noise_never_panics(
        number in 0_usize..4,
        noise in prop::collection::vec(any::<u8>(), 0..300),
        kind in 0_u8..7,
        is_introduction: bool,
    ) {
        let (dialler, acceptor) = pair();
        let wish = if is_introduction { Wish::Introduction } else { LINK };
        let mut noise = noise;
        if let Some(first) = noise.first_mut() {
            *first = kind;
        }
        let (ends, _) = shake_hands(&dialler, &acceptor, wish, |at, bytes| if at == number { mend(&noise) } else { bytes });
        prop_assert!(!is_fooled(&ends, number));
    }

    #[test]
    fn any_clock_is_taken(a: u64, b: u64) {
        let (mut dialler, mut acceptor) = pair();
        (dialler.clock_ms, acceptor.clock_ms) = (a, b);
        let (dialled, accepted) = link(&dialler, &acceptor);
        prop_assert_eq!(dialled.skew_ms, -accepted.skew_ms);
        prop_assert_eq!(dialled.skew_ms.unsigned_abs(), a.abs_diff(b).min(i64::MAX as u64));
    }
}
