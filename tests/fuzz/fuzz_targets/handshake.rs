//! Any bytes in the place of any frame of a handshake, for both sides: never a panic, and nobody without the secret comes to an
//! end.
#![no_main]

use annulus_net::handshake::{
    Accepted, Acceptor, Dialler, FRAME_BYTES_MAX, Gate, HandshakeError, Identity, Keys, VERSIONS, Wish, refusal,
};
use annulus_net::peer_frame::{CHANNEL_HANDSHAKE, Frame, Label, decode_one};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&which, data)) = data.split_first() else {
        return;
    };
    let keys = Keys::new(&[[1; 32], [2; 32]]);
    let (dialler, acceptor) = (identity(7), identity(8));
    let wish = if which & 0x80 == 0 { Wish::Link { node: 8, from_core: 0, to_core: 1 } } else { Wish::Introduction };
    let noise = Frame { label: Label::message(CHANNEL_HANDSHAKE), payload: data };
    // Whether this frame is another than the honest side sent.
    let is_changed = |number: u8, honest: &Frame<'_>| which & 0x7f == number && honest.payload != data;
    let (begun, hello) = Dialler::hello(&dialler, &keys, wish, [3; 16], 1_000);
    let hello = frame(&hello);
    let mut is_noise = is_changed(0, &hello);
    let hello = if is_noise { noise } else { hello };
    let challenged = Acceptor::challenge(&acceptor, &keys, (2, Gate::Open), &hello, [4; 16], 2_000);
    let Ok((challenged, challenge)) = challenged.map_err(tell) else {
        return;
    };
    let challenge = frame(&challenge);
    let change_now = is_changed(1, &challenge);
    is_noise |= change_now;
    let proven = begun.prove(if change_now { &noise } else { &challenge }, 1_001).map_err(tell);
    assert_eq!(proven.is_err(), is_noise, "what was proved is what was said");
    let Ok((proven, proof)) = proven else {
        return;
    };
    let proof = frame(&proof);
    is_noise = is_changed(2, &proof);
    let checked = challenged.check(if is_noise { &noise } else { &proof }).map_err(tell);
    assert_eq!(checked.is_err(), is_noise, "a proof is not forged");
    let welcome = match checked {
        Ok(Accepted::Link { welcome, .. }) => welcome,
        Ok(Accepted::Introduction(newcomer)) => newcomer.welcome([5; 16], None),
        Err(()) => return,
    };
    let welcome = frame(&welcome);
    is_noise = is_changed(3, &welcome);
    let finished = proven.finish(if is_noise { &noise } else { &welcome }).map_err(tell);
    assert_eq!(finished.is_err(), is_noise, "the last word is not forged");
});

fn identity(node: u64) -> Identity {
    Identity {
        node,
        generation: 1,
        cluster_name: [1; 8],
        cluster_id: [2; 16],
        partitions: 1024,
        copies: 3,
        host: "host".to_owned(),
        port: 1,
        versions: VERSIONS,
        capabilities: 3,
    }
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    decode_one(bytes, FRAME_BYTES_MAX).expect("what a side says is a frame")
}

/// A refusal can be told and shown, whatever it was made from.
fn tell(error: HandshakeError) {
    assert!(!error.to_string().is_empty());
    if let Some(told) = refusal(&error) {
        frame(&told);
    }
}
