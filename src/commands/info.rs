//! INFO: the node's state and figures as text, in Redis' sections and names, summed over cores; what is ours stands in the
//! section `annulus`.
//!
//! Figures are what the cores last published, so they may be some milliseconds old. What Redis counts and does not exist
//! here is given as zero where clients look for it, and left out otherwise.

use std::fmt::Write as _;

use annulus_cluster::route::Routes;
use annulus_net::resp::writer;

use super::Args;
use super::connection::REDIS_VERSION;
use super::latency;
use super::session::SessionCommand;
use crate::config::{Announce, Durability};
use crate::metrics::Metric;
use crate::node::{Node, Phase};

/// A section: its name as asked for, its title, whether INFO alone shows it, and what writes its lines.
struct Section {
    name: &'static str,
    title: &'static str,
    by_default: bool,
    write: fn(&mut Lines, &SessionCommand<'_>),
}

const SECTIONS: [Section; 13] = [
    section("server", "Server", true, server),
    section("clients", "Clients", true, clients),
    section("memory", "Memory", true, memory),
    section("persistence", "Persistence", true, persistence),
    section("stats", "Stats", true, statistics),
    section("replication", "Replication", true, replication),
    section("cpu", "CPU", true, cpu),
    section("commandstats", "Commandstats", false, |lines, context| {
        latency::write_command_statistics(&mut lines.text, &context.node.latency);
    }),
    section("errorstats", "Errorstats", true, |lines, context| {
        latency::write_error_statistics(&mut lines.text, &context.node.latency);
    }),
    section("latencystats", "Latencystats", false, |lines, context| {
        latency::write_percentiles(&mut lines.text, &context.node.latency);
    }),
    section("cluster", "Cluster", true, cluster),
    section("keyspace", "Keyspace", true, keyspace),
    section("annulus", "Annulus", true, annulus),
];

const fn section(
    name: &'static str,
    title: &'static str,
    by_default: bool,
    write: fn(&mut Lines, &SessionCommand<'_>),
) -> Section {
    Section { name, title, by_default, write }
}

/// Text of lines `name:value`.
#[derive(Debug, Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        write!(self.text, "{name}:{value}\r\n").expect("writing to a string");
    }

    fn add_bytes(&mut self, name: &str, bytes: u64) {
        self.add(name, bytes);
        self.add(&format!("{name}_human"), human(bytes));
    }
}

/// INFO.
pub fn info(context: &mut SessionCommand<'_>, args: Args<'_>) {
    let mut lines = Lines::default();
    for section in SECTIONS.iter().filter(|section| is_wanted(section, &args[1..])) {
        if !lines.text.is_empty() {
            lines.text.push_str("\r\n");
        }
        write!(lines.text, "# {}\r\n", section.title).expect("writing to a string");
        (section.write)(&mut lines, context);
    }
    writer::verbatim(context.out, context.session.protocol, "txt", lines.text.as_bytes());
}

fn is_wanted(section: &Section, names: Args<'_>) -> bool {
    let is = |name: &[u8], text: &str| name.eq_ignore_ascii_case(text.as_bytes());
    let wants = |name: &&[u8]| {
        is(name, section.name)
            || is(name, "all")
            || is(name, "everything")
            || (section.by_default && is(name, "default"))
    };
    if names.is_empty() { section.by_default } else { names.iter().any(wants) }
}

fn server(lines: &mut Lines, context: &SessionCommand<'_>) {
    let node = context.node;
    let mode = if node.config.announce == Announce::Off { "standalone" } else { "cluster" };
    let uptime_s = context.now_ms.saturating_sub(node.started_ms) / 1000;
    let system = rustix::system::uname();
    let shown = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    lines.add("redis_version", REDIS_VERSION);
    lines.add("annulus_version", env!("CARGO_PKG_VERSION"));
    lines.add("redis_mode", mode);
    let (name, release, machine) = (shown(system.sysname()), shown(system.release()), shown(system.machine()));
    lines.add("os", format_args!("{name} {release} {machine}"));
    lines.add("arch_bits", usize::BITS);
    lines.add("multiplexing_api", "io_uring");
    lines.add("process_id", std::process::id());
    lines.add("run_id", &node.run_id);
    lines.add("tcp_port", node.listen.port());
    lines.add("server_time_usec", context.now_ms * 1000);
    lines.add("uptime_in_seconds", uptime_s);
    lines.add("uptime_in_days", uptime_s / 86_400);
    lines.add("io_threads_active", u8::from(node.map.cores() > 1));
}

fn clients(lines: &mut Lines, context: &SessionCommand<'_>) {
    lines.add("connected_clients", context.node.clients());
    lines.add("cluster_connections", 0);
    lines.add("maxclients", context.runtime.maxclients);
    lines.add("blocked_clients", 0);
    lines.add("tracking_clients", 0);
}

fn memory(lines: &mut Lines, context: &SessionCommand<'_>) {
    let node = context.node;
    let sum = |metric| node.metrics.sum(metric);
    lines.add_bytes("used_memory", sum(Metric::MemoryBytes));
    lines.add_bytes("used_memory_rss", resident_bytes());
    lines.add("used_memory_index", sum(Metric::IndexBytes));
    lines.add("used_memory_cache", sum(Metric::CacheBytes));
    lines.add("used_memory_pending", sum(Metric::PendingBytes));
    lines.add_bytes("maxmemory", node.config.memory_limit_bytes);
    lines.add("maxmemory_policy", "noeviction");
    lines.add("mem_allocator", "mimalloc");
}

fn persistence(lines: &mut Lines, context: &SessionCommand<'_>) {
    let node = context.node;
    let is_durable = node.config.durability != Durability::Memory;
    let sum = |metric| node.metrics.sum(metric);
    lines.add("loading", u8::from(node.phase() == Phase::Loading));
    lines.add("async_loading", 0);
    lines.add("rdb_changes_since_last_save", 0);
    lines.add("rdb_bgsave_in_progress", 0);
    lines.add("rdb_last_save_time", node.started_ms / 1000);
    lines.add("rdb_last_bgsave_status", "ok");
    lines.add("aof_enabled", u8::from(is_durable));
    lines.add("aof_rewrite_in_progress", 0);
    lines.add("aof_last_bgrewrite_status", "ok");
    lines.add("aof_last_write_status", if sum(Metric::ReadOnly) == 0 { "ok" } else { "err" });
    lines.add("log_segments", sum(Metric::LogSegments));
    lines.add("log_commits", sum(Metric::LogCommits));
    lines.add("log_written_bytes", sum(Metric::LogBytes));
    lines.add("log_write_failures", sum(Metric::LogWriteFailures));
    lines.add("log_pending_bytes", sum(Metric::PendingBytes));
}

fn statistics(lines: &mut Lines, context: &SessionCommand<'_>) {
    let sum = |metric| context.node.metrics.sum(metric);
    let commands = crate::metrics::Family::ALL.iter().map(|family| sum(family.metric())).sum::<u64>();
    lines.add("total_connections_received", sum(Metric::ConnectionsAccepted));
    lines.add("total_commands_processed", commands);
    lines.add("total_net_input_bytes", sum(Metric::ReceivedBytes));
    lines.add("total_net_output_bytes", sum(Metric::SentBytes));
    lines.add("rejected_connections", sum(Metric::ConnectionsRefused));
    lines.add("expired_keys", sum(Metric::KeysExpired));
    lines.add("evicted_keys", 0);
    lines.add("evicted_clients", 0);
    lines.add("keyspace_hits", sum(Metric::KeyHits));
    lines.add("keyspace_misses", sum(Metric::KeyMisses));
    lines.add("pubsub_channels", 0);
    lines.add("pubsub_patterns", 0);
    lines.add("latest_fork_usec", 0);
    lines.add("total_error_replies", sum(Metric::CommandErrors));
    lines.add("client_query_buffer_limit_disconnections", sum(Metric::ProtocolErrors));
    lines.add("client_output_buffer_limit_disconnections", sum(Metric::ConnectionsSlowClosed));
    lines.add("record_reads", sum(Metric::RecordReads));
    lines.add("record_read_failures", sum(Metric::RecordReadFailures));
    lines.add("cache_hits", sum(Metric::CacheHits));
    lines.add("cache_misses", sum(Metric::CacheMisses));
    lines.add("writes_refused", sum(Metric::WritesRefused));
    let (to_cores, to_nodes) = (sum(Metric::CoreForwards), sum(Metric::Forwards));
    lines.add("forwarded_requests", to_cores + to_nodes);
    lines.add("forwarded_to_cores", to_cores);
    lines.add("forwarded_to_nodes", to_nodes);
    lines.add("mesh_sent", sum(Metric::MeshSent));
}

fn replication(lines: &mut Lines, context: &SessionCommand<'_>) {
    lines.add("role", "master");
    let node = context.node;
    let view = node.view.get();
    let others = view.active().filter(|member| member.node != view.own && member.is_up).count();
    lines.add("connected_slaves", others);
    lines.add("master_failover_state", "no-failover");
    lines.add("master_replid", &node.run_id);
    lines.add("master_repl_offset", node.metrics.sum(Metric::LogBytes));
    lines.add("repl_backlog_active", 0);
    for (name, metric) in [
        ("links_open", Metric::LinksOpen),
        ("link_queued_bytes", Metric::LinkQueuedBytes),
        ("replicated_puts", Metric::ReplicatedPuts),
        ("replicated_gets", Metric::ReplicatedGets),
        ("forwards", Metric::Forwards),
        ("forwards_again", Metric::ForwardsAgain),
        ("in_doubt", Metric::InDoubt),
        ("no_replicas", Metric::NoReplicas),
        ("read_timeouts", Metric::ReadTimeouts),
        ("sloppy_copies", Metric::SloppyCopies),
        ("hints_kept", Metric::HintsKept),
        ("hints_handed_over", Metric::HintsHandedOver),
        ("hint_failures", Metric::HintFailures),
        ("read_repairs", Metric::ReadRepairs),
        ("exchanges", Metric::Exchanges),
        ("exchanges_differing", Metric::ExchangesDiffering),
        ("exchanges_failed", Metric::ExchangesFailed),
        ("exchange_objects_sent", Metric::ExchangeObjectsSent),
        ("exchange_objects_received", Metric::ExchangeObjectsReceived),
    ] {
        lines.add(name, node.metrics.sum(metric));
    }
}

fn cpu(lines: &mut Lines, _: &SessionCommand<'_>) {
    let (user, system) = cpu_seconds();
    lines.add("used_cpu_sys", format_args!("{system:.6}"));
    lines.add("used_cpu_user", format_args!("{user:.6}"));
}

fn cluster(lines: &mut Lines, context: &SessionCommand<'_>) {
    let view = context.node.view.get();
    lines.add("cluster_enabled", u8::from(context.node.config.announce != Announce::Off));
    lines.add("cluster_members", view.members.len());
    lines.add("cluster_members_active", view.active().count());
    lines.add("cluster_members_up", view.members.iter().filter(|member| member.is_up).count());
    lines.add("cluster_map_epoch", view.epoch);
    lines.add("cluster_ring_fingerprint", format_args!("{:016x}", view.routes.fingerprint().0));
}

fn keyspace(lines: &mut Lines, context: &SessionCommand<'_>) {
    let keys = context.node.metrics.sum(Metric::Keys);
    let expires = context.node.metrics.sum(Metric::KeysWithExpiry);
    if keys > 0 {
        lines.add("db0", format_args!("keys={keys},expires={expires},avg_ttl=0"));
    }
}

fn annulus(lines: &mut Lines, context: &SessionCommand<'_>) {
    let Node { config, metrics, .. } = context.node;
    let keys = metrics.sum(Metric::Keys);
    let index_bytes = metrics.sum(Metric::IndexBytes);
    let per_key = if keys == 0 { 0.0 } else { index_bytes as f64 / keys as f64 };
    lines.add("node_id", format_args!("{:012x}", context.node.node_id));
    lines.add("incarnation", context.node.incarnation());
    lines.add("core", context.core);
    lines.add("cores", context.node.map.cores());
    lines.add("partitions", context.node.map.partitions());
    let view = context.node.view.get();
    let in_force = context.node.wanted.in_force(&view);
    lines.add("members", view.active().count());
    lines.add("in_force_n", in_force.copies);
    lines.add("in_force_r", in_force.read);
    lines.add("in_force_w", in_force.write);
    lines.add("in_force_dw", in_force.durable);
    lines.add("durability", config.durability.name());
    if config.durability == Durability::Interval {
        lines.add("interval_ms", config.interval.as_millis());
    }
    lines.add("index_bytes", index_bytes);
    lines.add("index_bytes_per_key", format_args!("{per_key:.2}"));
    lines.add("cache_bytes", metrics.sum(Metric::CacheBytes));
    lines.add("cache_bytes_max", config.cache_bytes);
    lines.add("log_segments", metrics.sum(Metric::LogSegments));
    for (name, metric) in [
        ("log_file_bytes", Metric::LogFileBytes),
        ("log_written_bytes", Metric::LogBytes),
        ("segments_recycled", Metric::SegmentsRecycled),
        ("partition_files", Metric::PartitionFiles),
        ("partition_runs", Metric::PartitionRuns),
        ("partition_file_bytes", Metric::PartitionFileBytes),
        ("live_bytes", Metric::LiveBytes),
        ("tombstones", Metric::Tombstones),
        ("tombstones_reaped", Metric::TombstonesReaped),
        ("drains", Metric::Drains),
        ("compactions", Metric::Compactions),
        ("compactions_failed", Metric::CompactionsFailed),
        ("compaction_read_bytes", Metric::CompactionReadBytes),
        ("compaction_written_bytes", Metric::CompactionWrittenBytes),
        ("write_delay_us", Metric::WriteDelayMicroseconds),
        ("partitions_damaged", Metric::PartitionsDamaged),
        ("scrubbed_bytes", Metric::ScrubbedBytes),
        ("scrub_cycles", Metric::ScrubCycles),
        ("scrub_damage", Metric::ScrubDamage),
    ] {
        lines.add(name, metrics.sum(metric));
    }
    // The same for every core.
    lines.add("disk_free_bytes", metrics.cores()[0].get(Metric::DiskFreeBytes));
    lines.add("read_only_cores", metrics.sum(Metric::ReadOnly));
    lines.add("stalls", metrics.sum(Metric::Stalls));
}

/// As Redis shows sizes: `1.50M`.
fn human(bytes: u64) -> String {
    let units = [(1u64 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

/// Memory that the process has; 0 when the system does not say.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Seconds of user and of system time that the process took.
fn cpu_seconds() -> (f64, f64) {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let (user, system) = cpu_ticks(&text).unwrap_or((0, 0));
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    (user as f64 / per_second, system as f64 / per_second)
}

/// Fields 14 and 15 of `/proc/PID/stat`; the second one, in parentheses, may hold anything.
fn cpu_ticks(text: &str) -> Option<(u64, u64)> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_redis_shows_them() {
        let cases =
            [(0, "0B"), (1023, "1023B"), (1536, "1.50K"), (3 << 20, "3.00M"), (5 << 30, "5.00G"), (1 << 40, "1.00T")];
        for (bytes, expected) in cases {
            assert_eq!(human(bytes), expected);
        }
    }

    #[test]
    fn cpu_times_are_found_behind_any_name() {
        let text = "17 (a) b) S 1 17 17 0 -1 4194304 100 0 0 0 250 50 0 0 20 0";
        assert_eq!(cpu_ticks(text), Some((250, 50)));
        assert_eq!(cpu_ticks(""), None);
        assert!(resident_bytes() > 0);
    }

    #[test]
    fn sections_by_name() {
        let wanted = |text: &str| {
            let args: Vec<&[u8]> = text.split_ascii_whitespace().map(str::as_bytes).collect();
            let chosen = SECTIONS.iter().filter(|section| is_wanted(section, &args));
            chosen.map(|section| section.name).collect::<Vec<_>>()
        };
        assert_eq!(wanted("SERVER keyspace"), ["server", "keyspace"]);
        assert_eq!(wanted("all").len(), SECTIONS.len());
        assert_eq!(wanted(""), wanted("default"));
        assert!(!wanted("").contains(&"commandstats") && wanted("").contains(&"annulus"));
        assert!(wanted("nothing").is_empty());
    }
}
