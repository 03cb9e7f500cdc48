//! Every command of Redis 7.2, one row each: served, or refused with the reason and what to use instead; and our own, whose
//! names begin with `dyn.`.
//!
//! What it is not: the commands' code, which matches on [`Command`], and COMMAND's replies, which
//! `describe` renders from these rows. The rows are constants; nothing is built when a node starts.
//!
//! Invariant: names are lower case and unique, and a row that is served has a syntax that can be
//! described and a route that agrees with its keys (checked by the tests beside it).

mod admin;
mod build;
mod cluster;
mod collections;
mod command;
mod connection;
mod dynamo;
mod errors;
mod generic;
mod lookup;
mod messaging;
mod readme;
pub mod refusals;
mod server;
mod strings;
#[cfg(test)]
mod tests;

pub use command::Command;
pub use errors::{refuse, refused, unknown_command, unknown_subcommand, wrong_arity};
pub use lookup::lookup;
pub use readme::{check_readme, markdown};
pub use refusals::Refusal;

/// The rows by file, in the order in which COMMAND lists them.
static ROWS: [&[Row]; 19] = [
    strings::ROWS,
    generic::ROWS,
    connection::ROWS,
    server::ROWS,
    cluster::ROWS,
    admin::ROWS,
    dynamo::KEYS,
    dynamo::CONNECTION,
    collections::LIST,
    collections::HASH,
    collections::SET,
    collections::SORTED_SET,
    collections::STREAM,
    collections::BITMAP,
    collections::HYPERLOGLOG,
    collections::GEO,
    messaging::MESSAGING,
    messaging::TRANSACTION,
    messaging::SCRIPTING,
];

/// What a command is, as far as clients and the router need to know.
#[derive(Debug)]
pub struct Row {
    /// Lower case; a subcommand's has its container in front: `client|id`.
    pub name: &'static str,
    /// Number of arguments with the name; negative: at least so many.
    pub arity: i8,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Where its keys stand; `None` when it has none, or when only its arguments tell.
    pub keys: Option<Keys>,
    /// Which cores answer it. `Session` for a refused one.
    pub route: Route,
    /// Served, or why not.
    pub service: Service,
    /// Redis' group of commands.
    pub group: Group,
    /// First version of Redis that had it; of Annulus, when Redis has none such.
    pub since: &'static str,
    /// Bits of [`category`] that do not follow from the flags.
    own_categories: u32,
    /// What it does to its keys: bits of [`access`]. Served rows only, like all that follow.
    pub access: u32,
    /// Redis' hints for routing clients.
    pub tips: &'static [&'static str],
    /// What follows the name, as Redis' manual writes it: `key [key ...]`, `[EX seconds | KEEPTTL]`.
    pub syntax: &'static str,
    /// Cost of one execution.
    pub complexity: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Since which version Redis advises against it, and what it advises.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Rows of a container's subcommands.
    pub subcommands: &'static [Row],
}

/// Positions of a command's keys among its arguments; the name is at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The first key.
    pub first: u8,
    /// The last key; negative counts from the end, −1 being the last argument.
    pub last: i8,
    /// From one key to the next.
    pub step: u8,
}

/// Whether a command is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Yes, by this code.
    Served(Command),
    /// No.
    Refused(Refusal),
}

/// Where a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// On the connection's own core.
    Session,
    /// On the core of its only key, at `keys.first`.
    OneKey,
    /// On the core of its only key, at `keys.first`, and always by the protocol.
    Protocol,
    /// On the core of the slot that argument 2 names.
    Slot,
    /// Its keys are scattered to their cores and the replies gathered.
    Gather(Gather),
    /// On every core, the replies gathered.
    EveryCore(Gather),
    /// On the core of the partition that the cursor names.
    Cursor,
}

/// How several cores' replies become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// Integers are added.
    Sum,
    /// OK when all are OK, else the first error.
    AllOk,
    /// Elements go where their keys stood.
    Positions,
    /// Arrays are appended.
    Concat,
    /// Bulk strings are appended to one.
    Text,
    /// One part's reply that is not null, any of them.
    AnyKey,
    /// As `AnyKey`; when all are null, this error.
    AnyOr(&'static str),
    /// Arrays of arrays whose first element is an integer: those with the largest, as many as this.
    Newest(u32),
}

/// Redis' groups of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Group {
    Bitmap,
    Cluster,
    Connection,
    Generic,
    Geo,
    Hash,
    Hyperloglog,
    List,
    Pubsub,
    Scripting,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
    Transactions,
}

impl Group {
    /// As COMMAND DOCS writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bitmap => "bitmap",
            Self::Cluster => "cluster",
            Self::Connection => "connection",
            Self::Generic => "generic",
            Self::Geo => "geo",
            Self::Hash => "hash",
            Self::Hyperloglog => "hyperloglog",
            Self::List => "list",
            Self::Pubsub => "pubsub",
            Self::Scripting => "scripting",
            Self::Server => "server",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::String => "string",
            Self::Transactions => "transactions",
        }
    }
}

/// Numbered bits, and their names in the order of the bits.
macro_rules! bits {
    ($names:ident: $($bit:ident = $text:literal),* $(,)?) => {
        bits!(@number 0u32, $($bit)*);
        /// Names by bit number.
        pub static $names: &[&str] = &[$($text),*];
    };
    (@number $number:expr, $bit:ident $($rest:ident)*) => {
        #[allow(missing_docs, reason = "Redis' own names")]
        pub const $bit: u32 = 1 << ($number);
        bits!(@number $number + 1, $($rest)*);
    };
    (@number $number:expr,) => {};
}

/// Command flags, numbered in the order in which COMMAND lists them.
pub mod flag {
    bits! { NAMES:
        WRITE = "write", READONLY = "readonly", DENYOOM = "denyoom", ADMIN = "admin", PUBSUB = "pubsub",
        NOSCRIPT = "noscript", BLOCKING = "blocking", LOADING = "loading", STALE = "stale",
        SKIP_MONITOR = "skip_monitor", SKIP_SLOWLOG = "skip_slowlog", ASKING = "asking", FAST = "fast",
        NO_AUTH = "no_auth", NO_MANDATORY_KEYS = "no_mandatory_keys",
        NO_ASYNC_LOADING = "no_async_loading", NO_MULTI = "no_multi", MOVABLEKEYS = "movablekeys",
        ALLOW_BUSY = "allow_busy",
    }
}

/// ACL categories, numbered in the order in which COMMAND lists them.
pub mod category {
    bits! { NAMES:
        KEYSPACE = "keyspace", READ = "read", WRITE = "write", SET = "set", SORTEDSET = "sortedset",
        LIST = "list", HASH = "hash", STRING = "string", BITMAP = "bitmap", HYPERLOGLOG = "hyperloglog",
        GEO = "geo", STREAM = "stream", PUBSUB = "pubsub", ADMIN = "admin", FAST = "fast", SLOW = "slow",
        BLOCKING = "blocking", DANGEROUS = "dangerous", CONNECTION = "connection",
        TRANSACTION = "transaction", SCRIPTING = "scripting",
    }
}

/// What a command does to its keys, numbered in the order in which COMMAND lists it.
pub mod access {
    bits! { NAMES:
        RO = "RO", RW = "RW", OW = "OW", RM = "RM", ACCESS = "access", UPDATE = "update",
        INSERT = "insert", DELETE = "delete", VARIABLE_FLAGS = "variable_flags",
    }
}

/// The names of the set bits, in order.
pub fn names(bits: u32, of: &'static [&'static str]) -> impl Iterator<Item = &'static str> + Clone {
    let set = move |&(number, _): &(usize, &&str)| bits & (1 << number) != 0;
    of.iter().enumerate().filter(set).map(|(_, name)| *name)
}

/// Why no row was found.
#[derive(Clone, Copy, Debug)]
pub enum Unknown {
    /// There is no such command.
    Command,
    /// The container has no such subcommand.
    Subcommand(&'static Row),
}

/// Every row but the subcommands'.
pub fn all() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().flat_map(|rows| rows.iter())
}

/// Every served row but the subcommands'.
pub fn served() -> impl Iterator<Item = &'static Row> {
    all().filter(|row| row.command().is_some())
}

/// The row that a request means: the subcommand's when its first argument names one. A container
/// that is refused answers for its subcommands, known or not.
pub fn resolve(name: &[u8], first_argument: Option<&[u8]>) -> Result<&'static Row, Unknown> {
    let row = lookup(name).ok_or(Unknown::Command)?;
    if row.subcommands.is_empty() {
        return Ok(row);
    }
    match first_argument {
        None => Ok(row),
        Some(subcommand) => match row.subcommand(subcommand) {
            None if row.command().is_some() => Err(Unknown::Subcommand(row)),
            found => Ok(found.unwrap_or(row)),
        },
    }
}

/// As `resolve`, from a name in one piece: `get`, `CONFIG|GET`.
pub fn resolve_full_name(name: &[u8]) -> Option<&'static Row> {
    match name.iter().position(|&byte| byte == b'|') {
        None => lookup(name),
        Some(bar) => lookup(&name[..bar])?.subcommand(&name[bar + 1..]),
    }
}

impl Row {
    /// The code behind a served row.
    #[inline]
    pub fn command(&self) -> Option<Command> {
        match self.service {
            Service::Served(command) => Some(command),
            Service::Refused(_) => None,
        }
    }

    /// Whether so many arguments, the name included, can be right.
    #[inline]
    pub fn check_arity(&self, arguments: usize) -> bool {
        let least = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { arguments >= least } else { arguments == least }
    }

    /// Whether all of these bits of [`flag`] are set.
    #[inline]
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// Whether it can change what is stored.
    #[inline]
    pub fn writes(&self) -> bool {
        self.has(flag::WRITE)
    }

    /// Positions of the keys among so many arguments, the name included. Positions past the end
    /// never appear, also when the arity is wrong.
    #[inline]
    pub fn key_positions(&self, arguments: usize) -> std::iter::StepBy<std::ops::Range<usize>> {
        let Some(keys) = self.keys else {
            return (0..0).step_by(1);
        };
        let last = match usize::try_from(keys.last) {
            Ok(last) => last.min(arguments.saturating_sub(1)),
            Err(_) => arguments.saturating_sub(usize::from(keys.last.unsigned_abs())),
        };
        (usize::from(keys.first)..last + 1).step_by(usize::from(keys.step))
    }

    /// Its ACL categories, those that follow from the flags included.
    pub fn categories(&self) -> u32 {
        let implied = [
            (flag::WRITE, category::WRITE),
            (flag::READONLY, category::READ),
            (flag::ADMIN, category::ADMIN | category::DANGEROUS),
            (flag::PUBSUB, category::PUBSUB),
            (flag::BLOCKING, category::BLOCKING),
            (flag::FAST, category::FAST),
        ];
        let given = implied.iter().filter(|(flag, _)| self.has(*flag));
        let categories = given.fold(self.own_categories, |sum, (_, implied)| sum | implied);
        if self.has(flag::FAST) { categories } else { categories | category::SLOW }
    }

    /// A container's subcommand, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Row> {
        self.subcommands.iter().find(|row| row.last_name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// A container's subcommands that are served.
    pub fn served_subcommands(&self) -> impl Iterator<Item = &'static Row> {
        self.subcommands.iter().filter(|row| row.command().is_some())
    }

    /// The name without its container.
    pub fn last_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, name)| name)
    }

    /// As a person writes it: `CLIENT ID`.
    pub fn title(&self) -> String {
        self.name.replace('|', " ").to_uppercase()
    }
}
