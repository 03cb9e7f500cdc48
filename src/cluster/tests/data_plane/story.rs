//! What happens, as lines of text: who sends, stores, forgets and answers what.
//!
//! Nodes are A, B, C and so on. A dot is written as its node, its incarnation where that is not the first, and its clock in
//! milliseconds since the world began, with the counter behind: `A@0`, `B2@15.1`.

use annulus_cluster::effect::{Answer, Effect, Effects, Reach};
use annulus_cluster::ids::{Home, NodeId};
use annulus_cluster::message::{ExchangeMessage, ForwardOutcome, Message, ToldVersions, Unverified, WriteOutcome};
use annulus_cluster::store::Versions;
use annulus_object::{Clock, ContextView, Dot, ObjectView};

use crate::world::{BEGIN_MS, place};

pub fn name(index: usize) -> char {
    char::from(b'A' + u8::try_from(index).expect("few nodes"))
}

fn name_of(node: NodeId) -> char {
    name(place(node))
}

pub fn dot(dot: Dot) -> String {
    let node = name(dot.actor.node() as usize - 1);
    let incarnation = match dot.actor.incarnation() {
        1 => String::new(),
        number => number.to_string(),
    };
    format!("{node}{incarnation}@{}", clock(dot.clock))
}

fn clock(clock: Clock) -> String {
    let ms = clock.unix_ms().wrapping_sub(BEGIN_MS).cast_signed();
    if clock.logical() == 0 { ms.to_string() } else { format!("{ms}.{}", clock.logical()) }
}

pub fn context(context: ContextView<'_>) -> String {
    let entry = |(actor, clock)| dot(Dot::new(clock, actor));
    let entries: Vec<String> = context.entries().map(entry).collect();
    format!("[{}]", entries.join(" "))
}

/// Its siblings, and its context where that says more.
pub fn object(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    let object = ObjectView::check(bytes).expect("an object");
    let value =
        |value: Option<&[u8]>| value.map_or("(del)".into(), |value| String::from_utf8_lossy(value).into_owned());
    let made = |made: Option<Dot>| made.map_or_else(String::new, |made| format!(" of {}", dot(made)));
    let siblings: Vec<String> = object
        .siblings()
        .map(|sibling| format!("{} {}{}", value(sibling.value), dot(sibling.dot), made(sibling.value_dot)))
        .collect();
    let context = context(object.context());
    format!("{} {context}", siblings.join(" | "))
}

fn versions(bytes: &[u8]) -> String {
    let (seen, rest) = ContextView::check_prefix(bytes).expect("versions");
    let count = u32::from_le_bytes(rest[..4].try_into().expect("a count"));
    if count == 0 && seen.is_empty() { "nothing".to_owned() } else { format!("{count} of {}", context(seen)) }
}

pub fn home(home: Home) -> String {
    match home {
        Home::Owned(_) => "own".to_owned(),
        Home::Hinted { target, .. } => format!("for {}", name_of(target)),
    }
}

pub fn message(bytes: &[u8]) -> String {
    let (_, message) = Unverified::new(bytes).check(usize::MAX).expect("a message");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match message {
        Message::Write { target, key, object: bytes, .. } => {
            let target = target.map_or(String::new(), |target| format!(" for {}", name_of(target)));
            format!("keep {}{target}: {}", text(key), object(bytes))
        }
        Message::Repair { key, object: bytes, .. } => format!("repair {}: {}", text(key), object(bytes)),
        Message::WriteReply(WriteOutcome::Stored { is_durable: true }) => "kept".to_owned(),
        Message::WriteReply(WriteOutcome::Stored { is_durable: false }) => "kept in memory".to_owned(),
        Message::WriteReply(WriteOutcome::Refused(why)) => format!("refused: {why:?}"),
        Message::VersionRead { key, .. } => format!("versions of {}?", text(key)),
        Message::VersionReply { versions: bytes, .. } => format!("versions: {}", versions(bytes)),
        Message::ObjectRead { key, .. } => format!("all of {}?", text(key)),
        Message::ObjectReply { object: None, .. } => "cannot tell".to_owned(),
        Message::ObjectReply { object: Some(bytes), .. } => object(bytes),
        Message::ForwardPut(put) => match put.value {
            Some(value) => {
                let made = put.value_dot.map_or_else(String::new, |made| format!(" of {}", dot(made)));
                format!("pass on: put {} {}{made}", text(put.key), text(value))
            }
            None => format!("pass on: del {}", text(put.key)),
        },
        Message::ForwardGet { key, .. } => format!("pass on: get {}", text(key)),
        Message::ForwardReply(outcome) => match outcome {
            ForwardOutcome::Written { dot: written, .. } => format!("done: {}", dot(written)),
            ForwardOutcome::Found { object: bytes, .. } => format!("done: {}", object(bytes)),
            ForwardOutcome::Failed(failure) => format!("done: {failure:?}"),
            ForwardOutcome::NotCarriedOut(why) => format!("not done: {why:?}"),
        },
        Message::Exchange(message) => exchange(&message),
    }
}

/// Two owners compare; sums and hashes are not worth a look, their numbers are.
fn exchange(message: &ExchangeMessage<'_>) -> String {
    match message {
        ExchangeMessage::RootRead { .. } => "compare: the root?".to_owned(),
        ExchangeMessage::Equal => "equal".to_owned(),
        ExchangeMessage::Differs { leaf_bits } => format!("another, of {} leaves", 1 << leaf_bits),
        ExchangeMessage::Refused { why, .. } => format!("no comparison: {why:?}"),
        ExchangeMessage::SumsRead { parent_bits, bits, nodes, .. } => {
            format!("the sums of level {bits} below {} of level {parent_bits}?", nodes.iter().len())
        }
        ExchangeMessage::Sums(sums) => format!("{} sums", sums.iter().len()),
        ExchangeMessage::KeysRead { .. } => "the keys of a range?".to_owned(),
        ExchangeMessage::Keys { next, keys } => {
            let text = |told: ToldVersions<'_>| {
                let (mut known, mut bytes) = (Versions::default(), Vec::new());
                told.copy_to(&mut known);
                known.encode(&mut bytes);
                versions(&bytes)
            };
            let keys: Vec<String> = keys.iter().map(|(_, told)| text(told)).collect();
            let more = if next.is_some() { ", and more" } else { "" };
            format!("keys: {}{more}", if keys.is_empty() { "none".to_owned() } else { keys.join("; ") })
        }
        ExchangeMessage::Wanted(hashes) => format!("send {} of them", hashes.iter().len()),
    }
}

pub fn line(index: usize, effect: &Effect, effects: &Effects) -> String {
    let at = name(index);
    match effect {
        Effect::Send { to, message: span, .. } => format!("{at} > {}: {}", name_of(*to), message(effects.bytes(span))),
        Effect::Store { home: at_home, key, object: span, .. } => {
            let key = String::from_utf8_lossy(effects.bytes(key));
            format!("{at} stores {key} {}: {}", home(*at_home), object(effects.bytes(span)))
        }
        Effect::Load { home: at_home, .. } => format!("{at} reads {}", home(*at_home)),
        Effect::Forget { home: at_home, dot: newest, .. } => {
            format!("{at} forgets {}: {}", home(*at_home), dot(*newest))
        }
        Effect::Answer { client, answer } => match answer {
            Answer::Written { dot: written, is_alone, context: span } => {
                let seen = context(ContextView::check(effects.bytes(span)).expect("a context"));
                let beside = if *is_alone { "" } else { ", beside others" };
                format!("{at} tells {}: written {}{beside}, context {seen}", client.0, dot(*written))
            }
            Answer::Found { object: span, reach } => {
                let stale = match reach {
                    Reach::Owners => "",
                    Reach::Nodes | Reach::Fewer => " (perhaps stale)",
                };
                format!("{at} tells {}: {}{stale}", client.0, object(effects.bytes(span)))
            }
            Answer::Failed(failure) => format!("{at} tells {}: {failure:?}", client.0),
        },
        Effect::Dirty { node, .. } => format!("{at} leaves {} to anti-entropy", name_of(*node)),
        Effect::NeedIncarnation => format!("{at} needs an incarnation"),
    }
}
