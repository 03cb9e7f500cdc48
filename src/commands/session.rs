//! Commands that need no key: those on the connection, the server and the cluster.
//!
//! [`run`] answers on the client's own core. A command that concerns every core gives [`Answer::EveryCore`]: the caller then
//! runs its [`core_part`] on each core and gathers the parts' replies.
//!
//! Invariant: `run` has checked all arguments before it asks for core parts. Commands that the table sends to every core, or
//! to a slot's core, come to [`core_part`] unchecked but for their number.

use annulus_cluster::ids::NodeId;
use annulus_cluster::node::MapChange;
use annulus_engine::{Disk, Engine};
use annulus_net::resp::{Protocol, writer};

use super::data::Outcome;
use super::latency::Latency;
use super::slowlog::SlowLog;
use super::table::{self, Command, Gather};
use super::{Args, acknowledged, admin, client, cluster, connection, describe, info, latency, server, slowlog};
use crate::config::RuntimeConfig;
use crate::core_facts::CoreFacts;
use crate::coverage::OwnCoverage;
use crate::node::Node;
use crate::session::Session;
use crate::sessions::Sessions;

/// What a session command sees on the client's core.
pub struct SessionCommand<'a> {
    /// The node.
    pub node: &'a Node,
    /// The client's core.
    pub core: u16,
    /// What may have changed since the node started.
    pub runtime: &'a RuntimeConfig,
    /// The client; its replies are not touched here.
    pub session: &'a mut Session,
    /// The wall clock of this turn, Unix milliseconds.
    pub now_ms: u64,
    /// Where the reply goes.
    pub out: &'a mut Vec<u8>,
}

/// How a session command goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The reply is complete.
    Done,
    /// The reply is complete, and the client is closed behind it.
    Close,
    /// No reply yet: run the core part on every core and gather. What was written so far is the reply's beginning.
    EveryCore(Gather),
    /// As `EveryCore`, with these arguments instead of the client's.
    EveryCoreWith(Gather, Vec<Vec<u8>>),
    /// No reply yet: run the core part on this core only; its reply is the client's.
    ThisCore,
    /// No reply yet: the control plane is to change the map so, and answers.
    Operate(NodeId, MapChange),
    /// No reply: the node shall stop.
    Shutdown,
}

/// What a command's part sees on each core.
pub struct CorePart<'a, D: Disk> {
    /// The node.
    pub node: &'a Node,
    /// This core.
    pub core: u16,
    /// Its store.
    pub engine: &'a mut Engine<D>,
    /// Its clients.
    pub sessions: &'a mut Sessions,
    /// Its copy of what may change while the node runs.
    pub runtime: &'a mut RuntimeConfig,
    /// Its slow log.
    pub slowlog: &'a mut SlowLog,
    /// Its commands' times.
    pub latency: &'a mut Latency,
    /// What it has to tell of the cluster, for commands that show it.
    pub facts: &'a CoreFacts,
    /// Which partitions it answers for; `None` of a node alone: for all that it has.
    pub coverage: Option<&'a OwnCoverage>,
    /// The wall clock of this turn, Unix milliseconds.
    pub now_ms: u64,
    /// How the client wants replies.
    pub protocol: Protocol,
    /// Where the part's reply goes.
    pub out: &'a mut Vec<u8>,
    /// Sessions to be closed, by index.
    pub kill: &'a mut Vec<u32>,
}

/// Runs a session command. `args` are all its arguments, names first; their number fits the command's row.
pub fn run(command: Command, context: &mut SessionCommand<'_>, args: Args<'_>) -> Answer {
    match command {
        Command::Ping => connection::ping(context, args),
        Command::Quit => connection::quit(context),
        Command::Reset => connection::reset(context),
        Command::Hello => connection::hello(context, args),
        Command::Auth => connection::auth(context, args),
        Command::Select => connection::select(context, args),
        Command::ClientList => client::list(context, args),
        Command::ClientKill => client::kill(context, args),
        Command::ConfigSet => server::config_set(context, args),
        Command::ConfigResetStat | Command::SlowLogReset => Answer::EveryCore(Gather::AllOk),
        Command::SlowLogLen => Answer::EveryCore(Gather::Sum),
        Command::SlowLogGet => slowlog::get(context, args),
        Command::Shutdown => server::shutdown(context, args),
        Command::ClusterInfo
        | Command::ClusterKeySlot
        | Command::ClusterLinks
        | Command::ClusterMyId
        | Command::ClusterMyShardId
        | Command::ClusterNodes
        | Command::ClusterShards
        | Command::ClusterSlots => cluster::run(command, context, args),
        Command::DynAdminStatus
        | Command::DynAdminPartitions
        | Command::DynAdminMerkle
        | Command::DynAdminCompaction
        | Command::DynAdminHints
        | Command::DynAdminJoin
        | Command::DynAdminLeave
        | Command::DynAdminMembers
        | Command::DynAdminRing
        | Command::DynAdminScrub
        | Command::DynAdminSnapshot
        | Command::DynAdminSync => admin::run(command, context, args),
        _ => {
            reply(command, context, args);
            Answer::Done
        }
    }
}

/// The commands that do nothing but reply.
fn reply(command: Command, context: &mut SessionCommand<'_>, args: Args<'_>) {
    match command {
        Command::Echo => writer::bulk(context.out, args[1]),
        Command::ReadOnly | Command::ReadWrite | Command::Asking => ok(context.out),
        Command::ClientId => client::id(context),
        Command::ClientGetName => client::get_name(context),
        Command::ClientSetName => client::set_name(context, args),
        Command::ClientSetInfo => client::set_info(context, args),
        Command::ClientInfo => client::info(context),
        Command::ClientReply => client::reply(context, args),
        Command::ClientNoEvict | Command::ClientNoTouch => client::no_use(command, context, args),
        Command::Command
        | Command::CommandCount
        | Command::CommandDocs
        | Command::CommandGetKeys
        | Command::CommandGetKeysAndFlags
        | Command::CommandInfo
        | Command::CommandList => describe::answer(context.out, context.session.protocol, command, args),
        Command::ConfigGet => server::config_get(context, args),
        Command::Info => info::info(context, args),
        Command::Time => server::time(context),
        Command::DynConsistency => acknowledged::consistency(context, args),
        Command::Wait => acknowledged::wait(context, args),
        Command::WaitAof => acknowledged::wait_aof(context, args),
        Command::LatencyHistogram => latency::histogram(context, args),
        Command::Help => help(context.out, args),
        Command::Client
        | Command::Config
        | Command::Latency
        | Command::Memory
        | Command::SlowLog
        | Command::DynAdmin
        | Command::Cluster => {
            container_alone(context.out, args);
        }
        other => unreachable!("{other:?} is no session command"),
    }
}

/// Runs the part of a session command that every core has.
pub fn core_part<D: Disk>(command: Command, part: &mut CorePart<'_, D>, args: Args<'_>) -> Outcome {
    match command {
        Command::ClientList => client::list_part(part, args),
        Command::ClientKill => client::kill_part(part, args),
        Command::ConfigSet => server::config_set_part(part, args),
        Command::ConfigResetStat => server::reset_statistics_part(part),
        Command::DbSize => server::count_keys_part(part),
        Command::FlushAll | Command::FlushDb => return server::flush_part(part, args),
        Command::SlowLogGet => slowlog::get_part(part, args),
        Command::SlowLogLen => writer::integer(part.out, i64::try_from(part.slowlog.len()).unwrap_or(i64::MAX)),
        Command::SlowLogReset => {
            part.slowlog.clear();
            ok(part.out);
        }
        Command::ClusterLinks => {
            cluster::links_part(&part.node.cluster_id, &part.facts.links, part.protocol, part.out);
        }
        Command::DynAdminStatus
        | Command::DynAdminPartitions
        | Command::DynAdminMerkle
        | Command::DynAdminCompaction
        | Command::DynAdminHints
        | Command::DynAdminScrub
        | Command::DynAdminSync => admin::part(command, part, args),
        Command::DynAdminSnapshot => return Outcome::Snapshot,
        other => unreachable!("{other:?} has no core part"),
    }
    Outcome::Done(None)
}

/// The plain reply.
pub(super) fn ok(out: &mut Vec<u8>) {
    out.extend_from_slice(writer::OK);
}

/// Redis' answer to arguments that make no sense.
pub(super) fn syntax_error(out: &mut Vec<u8>) {
    writer::error(out, "ERR syntax error");
}

/// Redis' answer to what should be an integer.
pub(super) fn not_an_integer(out: &mut Vec<u8>) {
    writer::error(out, "ERR value is not an integer or out of range");
}

fn help(out: &mut Vec<u8>, args: Args<'_>) {
    let container = table::lookup(args[0]).expect("HELP is a subcommand of a container");
    describe::help(out, container);
}

/// A container without a subcommand has too few arguments; only its row says so, and that was checked.
fn container_alone(out: &mut Vec<u8>, args: Args<'_>) {
    match args.get(1).and_then(|_| table::lookup(args[0])) {
        Some(container) => table::unknown_subcommand(out, container, args[1]),
        None => syntax_error(out),
    }
}
