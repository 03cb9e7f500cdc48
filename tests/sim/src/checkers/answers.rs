//! A request is answered once, with what it asked for, and not long after its deadline.

use super::{Promise, Told, Violation};
use crate::clock::{Instant, MILLISECOND};
use crate::model::{Kind, Model, OpId};

/// How long after its deadline a core may still take to say so: a few ticks.
pub const GRACE: Instant = 100 * MILLISECOND;

/// An answer arrives. Gives 1.
pub fn check(model: &mut Model, op: OpId, told: &Told<'_>) -> Result<u64, Violation> {
    let known = model.op_mut(op);
    known.answers += 1;
    let fits = match told {
        Told::Written { .. } => known.kind != Kind::Get,
        Told::Found { .. } => known.kind == Kind::Get,
        Told::Failed(_) => true,
    };
    let (key, answers) = (known.key, known.answers);
    if answers > 1 {
        return Err(Violation::new(Promise::Answers, Some(key), format!("#{op} is answered {answers} times")));
    }
    if !fits {
        return Err(Violation::new(
            Promise::Answers,
            Some(key),
            format!("#{op} is given the answer to another question"),
        ));
    }
    Ok(1)
}

/// A node that was up all the time and never paused has let a request go unanswered.
pub fn check_silence(model: &Model, op: OpId, waited: Instant, deadline: Instant) -> Result<u64, Violation> {
    if waited <= deadline + GRACE {
        return Ok(1);
    }
    let known = model.op(op);
    let text = format!("n{} has not answered #{op} in {waited} µs; its deadline was {deadline} µs", known.node);
    Err(Violation::new(Promise::Answers, Some(known.key), text))
}
