//! DYN.ADMIN: how the node, its cores and its partitions stand, as figures for whoever runs it; `annulus admin` prints them.
//!
//! Every core is asked, whatever port the client came on: this is about the node, not about the keys behind a port. What is
//! told of the cluster stands in `cluster`.
//!
//! To add a subcommand to which every core contributes one reply:
//! 1. a variant in `table/command.rs` and a row in `table/admin.rs`, with [`Route::Session`](super::table::Route);
//! 2. its name beside the others' in `session::run` and `session::core_part`;
//! 3. an arm in [`run`], which checks the arguments and says how the replies are put together: [`Gather::Positions`] makes a
//!    list with one reply a core, [`Gather::Concat`] joins the cores' lists;
//! 4. an arm in [`part`], which writes one core's reply.
//!
//! A part that has to wait for its reply (for a disk, say) gives an `Outcome` from `session::core_part` instead, as FLUSHALL
//! does. The program `annulus admin` passes every subcommand on, and prints what comes.
//!
//! Invariant: replies are maps of plain values, lists of such maps, or maps of both, so that they print as tables.

mod cluster;

use std::fmt::Display;
use std::ops::RangeInclusive;

use annulus_cluster::route::Routes;
use annulus_engine::{DamagedPlace, Disk, DiskLevel, PartitionStatus, ScrubStatus, SnapshotReport};
use annulus_net::resp::{Protocol, writer};

use super::Args;
use super::data::parse_integer;
use super::session::{Answer, CorePart, SessionCommand};
use super::table::{self, Command, Gather};
use crate::config::Durability;
use crate::snapshot::parse_directory;

/// What a subcommand does on the client's core.
pub fn run(command: Command, context: &mut SessionCommand<'_>, args: Args<'_>) -> Answer {
    match command {
        Command::DynAdminStatus => {
            writer::map_header(context.out, context.session.protocol, 3);
            writer::bulk(context.out, b"node");
            node_status(context).write(context.out);
            writer::bulk(context.out, b"members");
            cluster::write_members_status(context);
            writer::bulk(context.out, b"cores");
            Answer::EveryCore(Gather::Positions)
        }
        Command::DynAdminMembers => {
            cluster::write_members(context);
            Answer::Done
        }
        Command::DynAdminRing => {
            cluster::write_ring(context);
            Answer::Done
        }
        Command::DynAdminHints => Answer::EveryCore(Gather::Concat),
        Command::DynAdminJoin | Command::DynAdminLeave => cluster::operate(command, context, args),
        Command::DynAdminPartitions | Command::DynAdminMerkle | Command::DynAdminSync => {
            if args.len() > 4 {
                let name: &[u8] = match command {
                    Command::DynAdminMerkle => b"dyn.admin|merkle",
                    Command::DynAdminSync => b"dyn.admin|sync",
                    _ => b"dyn.admin|partitions",
                };
                let row = table::resolve_full_name(name).expect("it has a row");
                table::wrong_arity(context.out, row);
                return Answer::Done;
            }
            match partition_range(&args[2..], context.node.map.partitions()) {
                Ok(_) => Answer::EveryCore(Gather::Concat),
                Err(text) => {
                    writer::error(context.out, &text);
                    Answer::Done
                }
            }
        }
        Command::DynAdminCompaction => match compaction_switch(args) {
            Some(_) => Answer::EveryCore(Gather::Positions),
            None => {
                writer::error(context.out, "ERR compaction can be told to PAUSE or to RESUME");
                Answer::Done
            }
        },
        Command::DynAdminScrub => match scrub_order(args) {
            Some(ScrubOrder::Places) => Answer::EveryCore(Gather::Concat),
            Some(_) => Answer::EveryCore(Gather::Positions),
            None => {
                writer::error(context.out, "ERR the scrub can be asked for PLACES, or told NOW");
                Answer::Done
            }
        },
        Command::DynAdminSnapshot => match may_snapshot(context, args[2]) {
            Ok(()) => Answer::EveryCore(Gather::Positions),
            Err(text) => {
                writer::error(context.out, text);
                Answer::Done
            }
        },
        other => unreachable!("{other:?} is no subcommand of DYN.ADMIN"),
    }
}

/// Whether a snapshot can be begun; from then on there is one under way.
fn may_snapshot(context: &SessionCommand<'_>, directory: &[u8]) -> Result<(), &'static str> {
    parse_directory(directory)?;
    if context.node.config.durability == Durability::Memory {
        return Err("ERR with memory durability nothing is on disk that could be kept");
    }
    if context.node.begin_snapshot() { Ok(()) } else { Err("BUSY a snapshot is under way: one at a time") }
}

/// One core's part of a snapshot.
pub fn snapshot_part(core: u16, protocol: Protocol, report: &SnapshotReport, out: &mut Vec<u8>) {
    Fields::new(protocol)
        .number("core", core.into())
        .number("partition_files", report.files)
        .number("segments", report.segments)
        .number("linked_bytes", report.linked_bytes)
        .number("copied_bytes", report.copied_bytes)
        .write(out);
}

/// What a subcommand does on each core.
pub fn part<D: Disk>(command: Command, part: &mut CorePart<'_, D>, args: Args<'_>) {
    match command {
        Command::DynAdminStatus => core_status(part).write(part.out),
        Command::DynAdminHints => cluster::hints(part),
        Command::DynAdminPartitions | Command::DynAdminMerkle | Command::DynAdminSync => {
            let wanted = partition_range(&args[2..], part.node.map.partitions());
            let wanted = wanted.expect("checked before it was sent to the cores");
            match command {
                Command::DynAdminMerkle => merkle(part, &wanted),
                Command::DynAdminSync => cluster::sync(part, &wanted),
                _ => partitions(part, &wanted),
            }
        }
        Command::DynAdminCompaction => {
            let goes_on = compaction_switch(args).expect("checked before it was sent to the cores");
            part.engine.let_compaction_run(goes_on);
            Fields::new(part.protocol).number("core", part.core.into()).flag("compacts", goes_on).write(part.out);
        }
        Command::DynAdminScrub => {
            let order = scrub_order(args).expect("checked before it was sent to the cores");
            scrub(part, order);
        }
        other => unreachable!("{other:?} is no subcommand of DYN.ADMIN"),
    }
}

/// What the scrub can be asked or told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScrubOrder {
    Figures,
    Places,
    Now,
}

fn scrub_order(args: Args<'_>) -> Option<ScrubOrder> {
    match &args[2..] {
        [] => Some(ScrubOrder::Figures),
        [order] if order.eq_ignore_ascii_case(b"places") => Some(ScrubOrder::Places),
        [order] if order.eq_ignore_ascii_case(b"now") => Some(ScrubOrder::Now),
        _ => None,
    }
}

/// Whether compaction shall go on; `None` for what says neither.
fn compaction_switch(args: Args<'_>) -> Option<bool> {
    match args[2].to_ascii_lowercase().as_slice() {
        b"pause" => Some(false),
        b"resume" => Some(true),
        _ => None,
    }
}

fn node_status(context: &SessionCommand<'_>) -> Fields {
    let node = context.node;
    let cluster_id: String = node.cluster_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let view = node.view.get();
    let in_force = node.wanted.in_force(&view);
    Fields::new(context.session.protocol)
        .text("node_id", format_args!("{:012x}", node.node_id))
        .optional("cluster_name", node.config.cluster.as_ref().map(|cluster| &cluster.name))
        .text("cluster_id", cluster_id)
        .number("incarnation", node.incarnation().into())
        .text("version", env!("CARGO_PKG_VERSION"))
        .number("uptime_seconds", context.now_ms.saturating_sub(node.started_ms) / 1000)
        .text("phase", node.phase().name())
        .text("durability", node.config.durability.name())
        .number("cores", node.map.cores().into())
        .number("partitions", node.map.partitions().into())
        .number("clients", node.clients())
        .number("members_active", view.active().count() as u64)
        .number("members_up", view.active().filter(|member| member.is_up).count() as u64)
        .number("copies", in_force.copies.into())
        .number("copies_wanted", view.wanted as u64)
        .number("read_quorum", in_force.read.into())
        .number("write_quorum", in_force.write.into())
        .number("durable_quorum", in_force.durable.into())
        .number("map_epoch", view.epoch)
        .text("ring", format_args!("{:016x}", view.routes.fingerprint().0))
}

fn core_status<D: Disk>(part: &CorePart<'_, D>) -> Fields {
    let statistics = part.engine.statistics();
    let refuses_writes = statistics.is_read_only || statistics.disk_state >= DiskLevel::NoWrites;
    Fields::new(part.protocol)
        .number("core", part.core.into())
        .number("keys", statistics.keys)
        .number("index_bytes", statistics.index_bytes)
        .number("memory_bytes", statistics.memory_bytes)
        .number("log_segments", statistics.log_segments)
        .number("log_bytes", statistics.log_bytes)
        .text("disk_level", disk_level(statistics.disk_state))
        .flag("read_only", refuses_writes)
}

fn disk_level(level: DiskLevel) -> &'static str {
    match level {
        DiskLevel::Ample => "ample",
        DiskLevel::Hurry => "hurry",
        DiskLevel::NoTransfers => "no_transfers",
        DiskLevel::NoWrites => "no_writes",
        DiskLevel::ReadOnly => "read_only",
    }
}

/// The wanted partitions of this core, as a list of maps.
fn partitions<D: Disk>(part: &mut CorePart<'_, D>, wanted: &RangeInclusive<u32>) {
    let owned = part.node.map.owned(part.core);
    let partitions = owned.start.max(*wanted.start())..owned.end.min(wanted.end() + 1);
    writer::array_header(part.out, partitions.len());
    for partition in partitions {
        let status = part.engine.partition_status(u16::try_from(partition).expect("at most 16384 partitions"));
        partition_fields(part.protocol, part.core, &status).write(part.out);
    }
}

fn partition_fields(protocol: Protocol, core: u16, status: &PartitionStatus) -> Fields {
    Fields::new(protocol)
        .number("partition", status.partition.into())
        .number("core", core.into())
        .number("keys", status.keys)
        .number("tombstones", status.tombstones)
        .number("files", status.files)
        .number("runs", status.runs)
        .number("file_bytes", status.file_bytes)
        .number("live_bytes", status.live_bytes)
        .flag("damaged", status.damaged)
}

fn scrub<D: Disk>(part: &mut CorePart<'_, D>, order: ScrubOrder) {
    if order == ScrubOrder::Now {
        part.engine.scrub_now();
    }
    let status = part.engine.scrub_status();
    if order != ScrubOrder::Places {
        return scrub_fields(part.protocol, part.core, &status).write(part.out);
    }
    writer::array_header(part.out, status.places.len());
    status.places.iter().for_each(|place| place_fields(part.protocol, part.core, place).write(part.out));
}

fn scrub_fields(protocol: Protocol, core: u16, status: &ScrubStatus) -> Fields {
    let share = status.cycle_bytes.saturating_mul(100) / status.bytes_there.max(1);
    Fields::new(protocol)
        .number("core", core.into())
        .number("bytes", status.bytes)
        .number("cycles", status.cycles)
        .number("cycle_began_unix_ms", status.cycle_began_unix_ms)
        .number("cycle_bytes", status.cycle_bytes)
        .number("bytes_there", status.bytes_there)
        .number("done_percent", share.min(100))
        .flag("hurried", status.is_hurried)
        .number("damage", status.damage)
}

fn place_fields(protocol: Protocol, core: u16, place: &DamagedPlace) -> Fields {
    let range = |range: Option<(String, String)>| match range {
        None => String::new(),
        Some((first, last)) if first == last => first,
        Some((first, last)) => format!("{first}-{last}"),
    };
    Fields::new(protocol)
        .number("core", core.into())
        .text("file", &place.path)
        .number("offset", place.offset)
        .number("bytes", place.bytes)
        .text("what", place.what)
        .number("keys", place.keys)
        .text("partitions", range(place.partitions.map(|(first, last)| (first.to_string(), last.to_string()))))
        .text("hashes", range(place.hashes.map(|(first, last)| (format!("{first:016x}"), format!("{last:016x}")))))
        .number("found_unix_ms", place.found_unix_ms)
}

/// The Merkle roots of the wanted partitions of this core: of what is durable.
fn merkle<D: Disk>(part: &mut CorePart<'_, D>, wanted: &RangeInclusive<u32>) {
    let owned = part.node.map.owned(part.core);
    let partitions = owned.start.max(*wanted.start())..owned.end.min(wanted.end() + 1);
    writer::array_header(part.out, partitions.len());
    for partition in partitions {
        let number = u16::try_from(partition).expect("at most 16384 partitions");
        let tree = part.engine.merkle_tree(number);
        Fields::new(part.protocol)
            .number("partition", partition.into())
            .number("leaves", tree.leaf_count() as u64)
            .text("root", format_args!("{:032x}", tree.root()))
            .write(part.out);
    }
}

/// `[first [last]]`: all partitions, the first alone, or all from the first to the last.
fn partition_range(args: Args<'_>, partitions: u32) -> Result<RangeInclusive<u32>, String> {
    let number = |text: &[u8]| {
        let number = parse_integer(text).ok_or("ERR value is not an integer or out of range")?;
        let known = u32::try_from(number).ok().filter(|number| *number < partitions);
        known.ok_or_else(|| {
            format!("ERR partition {number} is out of range: they are numbered from 0 to {}", partitions - 1)
        })
    };
    match args {
        [] => Ok(0..=partitions - 1),
        [first] => number(first).map(|first| first..=first),
        [first, last, ..] => match (number(first)?, number(last)?) {
            (first, last) if first <= last => Ok(first..=last),
            (first, last) => Err(format!("ERR the range of partitions ends before it begins: {first} to {last}")),
        },
    }
}

/// A map that is written field by field; its header goes before them when their number is known.
struct Fields {
    protocol: Protocol,
    count: usize,
    bytes: Vec<u8>,
}

impl Fields {
    fn new(protocol: Protocol) -> Self {
        Self { protocol, count: 0, bytes: Vec::new() }
    }

    fn field(mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.count += 1;
        writer::bulk(&mut self.bytes, name.as_bytes());
        write(&mut self.bytes);
        self
    }

    fn text(self, name: &str, value: impl Display) -> Self {
        self.field(name, |out| writer::bulk(out, value.to_string().as_bytes()))
    }

    fn optional(self, name: &str, value: Option<impl Display>) -> Self {
        let protocol = self.protocol;
        self.field(name, |out| match value {
            Some(value) => writer::bulk(out, value.to_string().as_bytes()),
            None => writer::null(out, protocol),
        })
    }

    fn number(self, name: &str, value: u64) -> Self {
        self.field(name, |out| writer::integer(out, i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn signed(self, name: &str, value: Option<i64>) -> Self {
        let protocol = self.protocol;
        self.field(name, |out| match value {
            Some(value) => writer::integer(out, value),
            None => writer::null(out, protocol),
        })
    }

    fn flag(self, name: &str, value: bool) -> Self {
        let protocol = self.protocol;
        self.field(name, |out| writer::boolean(out, protocol, value))
    }

    fn write(self, out: &mut Vec<u8>) {
        writer::map_header(out, self.protocol, self.count);
        out.extend_from_slice(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Result<RangeInclusive<u32>, String> {
        let args: Vec<&[u8]> = text.split_ascii_whitespace().map(str::as_bytes).collect();
        partition_range(&args, 1024)
    }

    #[test]
    fn ranges_of_partitions() {
        assert_eq!(range(""), Ok(0..=1023));
        assert_eq!(range("7"), Ok(7..=7));
        assert_eq!(range("0 1023"), Ok(0..=1023));
        assert_eq!(range("9 9"), Ok(9..=9));
        let not_an_integer = "ERR value is not an integer or out of range";
        for (bad, error) in [
            ("x", not_an_integer),
            ("1 2.5", not_an_integer),
            ("1024", "ERR partition 1024 is out of range: they are numbered from 0 to 1023"),
            ("0 1024", "ERR partition 1024 is out of range: they are numbered from 0 to 1023"),
            ("-1", "ERR partition -1 is out of range: they are numbered from 0 to 1023"),
            ("9 8", "ERR the range of partitions ends before it begins: 9 to 8"),
        ] {
            assert_eq!(range(bad), Err(error.to_owned()), "{bad}");
        }
    }

    #[test]
    fn fields_are_a_map_in_both_protocols() {
        let written = |protocol| {
            let mut out = Vec::new();
            Fields::new(protocol).number("keys", u64::MAX).flag("full", true).write(&mut out);
            String::from_utf8(out).unwrap().replace("\r\n", "|")
        };
        assert_eq!(written(Protocol::Resp2), "*4|$4|keys|:9223372036854775807|$4|full|:1|");
        assert_eq!(written(Protocol::Resp3), "%2|$4|keys|:9223372036854775807|$4|full|#t|");
    }
}
