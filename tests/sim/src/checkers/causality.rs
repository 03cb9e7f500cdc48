//! A write replaces what it has seen, and only that: a state never holds a write beside one that has seen it, and never hides
//! an acknowledged write that none of its live writes has seen.

use annulus_object::Context;

use super::{Promise, Violation};
use crate::model::{KeyIndex, Model, WriteIndex};

/// Checks a state of a key. Gives how many pairs were compared, and the writes that it hides without a reason.
pub fn check_state(
    model: &Model,
    key: KeyIndex,
    live: &[WriteIndex],
    context: &Context,
) -> Result<(u64, Vec<WriteIndex>), Violation> {
    let known = model.key(key);
    if live.is_empty() && !context.is_empty() {
        // Deletes are writes: whatever replaces something is there itself.
        let text = format!("nothing is left of {}, and nothing has replaced it: {context:?}", model.key_name(key));
        return Err(Violation::new(Promise::Causality, Some(key), text));
    }
    let seen = known.closure(live.iter().copied());
    for &old in live {
        if let Some(&new) = live.iter().find(|new| known.write(**new).seen.must.has(old)) {
            let (old, new) = (model.name(key, old), model.name(key, new));
            let text = format!("{old} is still there beside {new}, which had seen it");
            return Err(Violation::new(Promise::Causality, Some(key), text));
        }
    }
    let hidden = seen.may.missing(known.count());
    let unjust: Vec<WriteIndex> = hidden.filter(|index| context.covers(known.write(*index).dot)).collect();
    let pairs = live.len() as u64 * u64::from(known.count());
    Ok((pairs, unjust))
}

/// An acknowledged write was not hidden anywhere without a reason.
pub fn check_kept(model: &Model, key: KeyIndex, write: WriteIndex) -> Result<u64, Violation> {
    let known = model.key(key).write(write);
    let (Some(_), Some(unjust)) = (known.acknowledged, &known.unjust) else {
        return Ok(1);
    };
    let name = model.name(key, write);
    let live = model.names(key, unjust.live.iter().copied());
    let text = format!(
        "{name} was acknowledged, and at {} µs n{} counted it as replaced, holding {live}, none of which had seen it",
        unjust.at, unjust.node
    );
    Err(Violation::new(Promise::Causality, Some(key), text))
}
