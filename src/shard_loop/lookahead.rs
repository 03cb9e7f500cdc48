//! Looking ahead in a pipeline: several commands are parsed before the first is run, so that the memory which their keys
//! need is asked for all at once. Waiting for memory is most of what a small command costs; here the waits overlap.
//!
//! Invariant: looking ahead changes nothing but caches. A command that was parsed ahead and not run is parsed again.

use annulus_engine::{Disk, Key, WARM_STEPS};
use annulus_net::resp::{Parsed, Parser, ProtocolError};
use smallvec::SmallVec;

use super::ShardLoop;
use crate::commands::table::{self, Route};
use crate::slot;

/// Commands parsed ahead at most.
const COMMANDS_MAX: usize = 16;

/// A command that was parsed.
pub(super) struct Ahead<'a> {
    /// Its arguments.
    pub(super) args: SmallVec<[&'a [u8]; 6]>,
    /// Where it ends, from the start of what was parsed.
    pub(super) end: usize,
    /// The request as it came.
    pub(super) raw: &'a [u8],
    /// Its key, when it has one key that is this core's.
    pub(super) key: Option<Key<'a>>,
}

/// What comes behind the commands.
pub(super) enum Then {
    /// Perhaps more.
    More,
    /// An inline command, which the parser holds.
    Inline { consumed: usize },
    /// Bytes that are no command.
    Nothing { consumed: usize },
    /// A command that has not arrived whole.
    Incomplete { needed: usize },
    /// Bytes that are no request.
    Failed(ProtocolError),
}

/// Commands parsed ahead, and what comes behind them.
pub(super) struct Lookahead<'a> {
    commands: SmallVec<[Ahead<'a>; COMMANDS_MAX]>,
    then: Then,
}

impl<'a> Lookahead<'a> {
    /// Parses what `input` begins with. A client that may yet log in is not looked ahead of, since that changes what is
    /// parsed.
    pub(super) fn parse(parser: &mut Parser, input: &'a [u8], authenticated: bool) -> Self {
        let most = if authenticated { COMMANDS_MAX } else { 1 };
        let mut commands = SmallVec::new();
        let mut end = 0;
        let then = loop {
            if commands.len() == most {
                break Then::More;
            }
            if end == input.len() {
                break Then::Incomplete { needed: 0 };
            }
            match parser.parse(&input[end..], authenticated) {
                Ok(Parsed::Command { consumed }) => match parser.arguments_in(&input[end..]) {
                    Some(args) => {
                        let raw = &input[end..end + consumed];
                        end += consumed;
                        commands.push(Ahead { args: args.collect(), end, raw, key: None });
                    }
                    None => break Then::Inline { consumed },
                },
                Ok(Parsed::Nothing { consumed }) => break Then::Nothing { consumed },
                Ok(Parsed::Incomplete { needed }) => break Then::Incomplete { needed },
                Err(error) => break Then::Failed(error),
            }
        };
        Self { commands, then }
    }

    /// The commands, and what comes behind.
    pub(super) fn into_parts(self) -> (SmallVec<[Ahead<'a>; COMMANDS_MAX]>, Then) {
        (self.commands, self.then)
    }
}

impl<D: Disk> ShardLoop<D> {
    /// Finds the keys of this core among the commands, and asks for their memory.
    pub(super) fn warm(&mut self, ahead: &mut Lookahead<'_>) {
        // Alone, a command would only wait in another place.
        if ahead.commands.len() < 2 {
            return;
        }
        for command in &mut ahead.commands {
            command.key = self.own_key(&command.args);
        }
        self.warm_keys(|| ahead.commands.iter().filter_map(|command| command.key.as_ref()));
    }

    /// Asks for the memory of several keys at once.
    pub(super) fn warm_keys<'k, Keys: Iterator<Item = &'k Key<'k>>>(&self, keys: impl Fn() -> Keys) {
        for step in 0..WARM_STEPS {
            keys().for_each(|key| self.store.engine().warm(key, step));
        }
    }

    /// The key of a command on one key of this core.
    fn own_key<'a>(&self, args: &[&'a [u8]]) -> Option<Key<'a>> {
        let row = table::resolve(args[0], args.get(1).copied()).ok()?;
        if row.route != Route::OneKey || !row.check_arity(args.len()) {
            return None;
        }
        let key = args[usize::from(row.keys?.first)];
        if key.len() > usize::from(u16::MAX) {
            return None;
        }
        let partition = slot::partition(slot::of_key(key), self.map.partitions());
        (self.map.core_of(partition) == self.core).then(|| self.store.engine().key(key, partition))
    }
}
