//! Why nodes do not get together, and that both hear the same reason.

use super::*;

/// Both sides know the code, one of them from the other.
fn refused(dialler: &Side, acceptor: &Side, wish: Wish) -> RefusalCode {
    match plain(dialler, acceptor, wish) {
        (Err(at_dialler), Err(at_acceptor)) => {
            assert_eq!(at_dialler.code, at_acceptor.code);
            assert_eq!(at_dialler.detail, at_acceptor.detail);
            assert_ne!(at_dialler.is_by_peer, at_acceptor.is_by_peer, "one has refused, the other was told");
            at_dialler.code
        }
        other => panic!("not refused on both sides: {other:?}"),
    }
}

fn with(change: impl FnOnce(&mut Side, &mut Side)) -> RefusalCode {
    let (mut dialler, mut acceptor) = pair();
    change(&mut dialler, &mut acceptor);
    refused(&dialler, &acceptor, LINK)
}

#[test]
fn who_does_not_belong_together_is_told_why() {
    use RefusalCode::*;
    assert_eq!(with(|_, acceptor| acceptor.keys = Keys::new(&[[9; 32]])), WrongSecret);
    assert_eq!(with(|dialler, _| dialler.keys = Keys::new(&[[9; 32], [8; 32]])), WrongSecret);
    assert_eq!(with(|dialler, _| dialler.identity.cluster_name = *b"another1"), OtherClusterName);
    assert_eq!(with(|dialler, _| dialler.identity.cluster_id = [2; 16]), OtherClusterId);
    assert_eq!(with(|dialler, _| dialler.identity.cluster_id = [0; 16]), OtherClusterId);
    assert_eq!(with(|dialler, _| dialler.identity.node = 8), SameNode);
    assert_eq!(with(|_, acceptor| acceptor.identity.node = 9), OtherNode);
    assert_eq!(with(|dialler, _| dialler.identity.partitions = 512), OtherPartitions);
    assert_eq!(with(|dialler, _| dialler.identity.copies = 2), OtherCopies);
    assert_eq!(with(|_, acceptor| acceptor.cores = 3), NoSuchCore);
    assert_eq!(with(|_, acceptor| acceptor.gate = Gate::Loading), Loading);
    assert_eq!(with(|_, acceptor| acceptor.gate = Gate::Draining), Draining);
    assert_eq!(with(|dialler, _| dialler.identity.versions = 2..=3), NoCommonVersion);
    assert_eq!(with(|_, acceptor| acceptor.identity.versions = 5..=9), NoCommonVersion);
}

#[test]
fn a_dialler_proves_itself_only_to_somebody_who_has() {
    let (dialler, mut acceptor) = pair();
    acceptor.keys = Keys::new(&[[9; 32]]);
    for wish in [LINK, Wish::Introduction] {
        let ((dialled, _), frames) = shake_hands(&dialler, &acceptor, wish, |_, bytes| bytes);
        assert!(!dialled.unwrap_err().is_by_peer, "it is the dialler that refuses");
        let last = frame(frames.last().unwrap()).unwrap().payload;
        assert_eq!((frames.len(), codec::read_proof(last).unwrap_err().code), (3, RefusalCode::WrongSecret));
    }
}

#[test]
fn an_introduction_takes_the_secret_and_a_cluster() {
    let (mut dialler, mut acceptor) = pair();
    dialler.identity.cluster_id = [0; 16];
    dialler.keys = Keys::new(&[[9; 32]]);
    assert_eq!(refused(&dialler, &acceptor, Wish::Introduction), RefusalCode::WrongSecret);
    acceptor.identity.cluster_id = [0; 16];
    assert_eq!(refused(&dialler, &acceptor, Wish::Introduction), RefusalCode::NoCluster);
}

#[test]
fn a_refusal_says_what_differs() {
    let (mut dialler, acceptor) = pair();
    dialler.identity.partitions = 512;
    let (at_dialler, at_acceptor) = plain(&dialler, &acceptor, LINK);
    let details = "other number of partitions (the dialler's 512, the acceptor's 1024)";
    assert_eq!(at_dialler.unwrap_err().to_string(), format!("the peer refuses: {details}"));
    assert_eq!(at_acceptor.unwrap_err().to_string(), format!("the peer is refused: {details}"));
}

#[test]
fn a_later_reason_and_unprintable_words_do_no_harm() {
    let error = HandshakeError::theirs(RefusalCode::from_number(200), b"a\x1b[31m\nreason\xff");
    assert_eq!(error.to_string(), "the peer refuses: refused (a[31mreason)");
    for number in 0..=255 {
        let code = RefusalCode::from_number(number);
        assert!(code == RefusalCode::Other || code.number() == number);
        assert!(!code.text().is_empty());
    }
}

#[test]
fn nobody_is_told_anything_after_a_refusal_of_the_other_side() {
    let error = HandshakeError::theirs(RefusalCode::Loading, b"");
    assert!(refusal(&error).is_none());
}
