//! Clients coming and going, output leaving, housekeeping, and the orderly end of a core.

use std::net::SocketAddr;

use annulus_engine::{Disk, DiskLevel};
use annulus_net::limits::Limits as RespLimits;
use annulus_net::ring::ConnectionId;

use super::ShardLoop;
use crate::limits;
use crate::metrics::{Metric, replication};
use crate::node::Phase;
use crate::session::{Blocked, Session};

/// How far a core's orderly end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    /// It serves.
    No,
    /// Clients get their last replies.
    Clients,
    /// What is in the log's buffers becomes durable.
    Engine,
    /// Nothing is left.
    Done,
}

/// What a core's driver does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Another turn.
    Serve,
    /// Another turn; no client is accepted any more.
    Drain,
    /// The core has ended; everything acknowledged is durable.
    Ended,
}

impl<D: Disk> ShardLoop<D> {
    pub(super) fn connect(&mut self, connection: ConnectionId, addresses: (SocketAddr, SocketAddr)) {
        let limits = RespLimits {
            bulk_bytes_max: usize::try_from(self.runtime.bulk_bytes_max).expect("checked with the configuration"),
            ..RespLimits::PRODUCTION
        };
        let authenticated = self.runtime.requirepass.is_none();
        let id = self.node.next_client_id();
        let mut session = Session::new(id, connection, addresses, limits, authenticated, self.now.unix_ms);
        session.on_core_port = addresses.1.port() == self.node.core_port(self.core);
        self.sessions.add(session);
    }

    /// A send has ended: more output, or the end of a closing session, may follow.
    pub(super) fn finish_send(&mut self, index: u32, sent: bool) {
        let session = self.sessions.get_mut(index);
        session.sending = false;
        session.sending_bytes = 0;
        if !sent {
            return self.close_now(index);
        }
        let has_more = session.replies.has_output() || session.closing;
        if has_more && !std::mem::replace(&mut session.dirty, true) {
            self.dirty.push(index);
        }
        if self.sessions.get_mut(index).blocked == Blocked::SlowReader {
            self.maybe_unblock(index);
        }
    }

    /// The client sends no more: what it sent is still run and answered.
    pub(super) fn end_input(&mut self, index: u32, orderly: bool) {
        if !orderly {
            return self.close_now(index);
        }
        let session = self.sessions.get_mut(index);
        session.ended = true;
        // A session that is about to be resumed runs what it has kept first.
        if session.blocked == Blocked::No && !self.ready_sessions.contains(&index) {
            self.close_after_replies(index);
        }
    }

    /// Runs nothing more of a session, and closes it when its replies have been sent.
    pub(super) fn close_after_replies(&mut self, index: u32) {
        let session = self.sessions.get_mut(index);
        session.closing = true;
        session.input = Vec::new();
        if !session.dirty {
            session.dirty = true;
            self.dirty.push(index);
        }
    }

    fn close_now(&mut self, index: u32) {
        let session = self.sessions.get_mut(index);
        if !session.closed {
            session.closed = true;
            session.closing = true;
            session.input = Vec::new();
            self.outbox.closes.extend(session.connection);
        }
    }

    /// Frees a session's place when nothing refers to it any more.
    pub(super) fn maybe_forget(&mut self, index: u32) {
        let session = self.sessions.get_mut(index);
        // A list that still names the session would later find another client in its place.
        if session.is_finished()
            && !session.dirty
            && session.blocked == Blocked::No
            && !self.ready_sessions.contains(&index)
        {
            self.sessions.remove(index);
        }
    }

    /// Sends what has gathered.
    pub(super) fn flush_sessions(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.append(&mut self.held_sessions);
        for index in dirty.drain(..) {
            let session = self.sessions.get_mut(index);
            session.dirty = false;
            let Some(connection) = session.connection else {
                session.blocked = Blocked::No;
                self.busy_sessions.retain(|other| *other != index);
                self.maybe_forget(index);
                continue;
            };
            if session.closed || session.sending {
                continue;
            }
            if session.replies.has_output() && session.replies.is_within_burst() && !session.closing {
                // The rest of what it asked for at once is about to come: one send for all is cheaper for both sides.
                let now_ns = self.now.steady_ns;
                let since = *session.held_since_ns.get_or_insert(now_ns);
                if now_ns - since < limits::PARTIAL_REPLIES_HOLD.as_nanos() as u64 {
                    self.held_sessions.push(index);
                    session.dirty = true;
                    continue;
                }
            }
            session.held_since_ns = None;
            if session.replies.has_output() {
                let output = session.replies.take_output(self.buffers.pop().unwrap_or_default());
                session.sending = true;
                session.sending_bytes = output.len();
                session.bytes_out += output.len() as u64;
                self.counts.add(Metric::SentBytes, output.len() as u64);
                self.outbox.sends.push((connection, output));
            } else if session.closing && session.is_drained() {
                self.close_now(index);
            }
            let session = self.sessions.get_mut(index);
            if session.unread_bytes() as u64 > self.runtime.output_limit.hard_bytes {
                tracing::warn!(client = session.id, peer = %session.peer, bytes = session.unread_bytes(),
                    "closing a client that does not read its replies");
                self.counts.add(Metric::ConnectionsSlowClosed, 1);
                self.close_now(index);
            }
        }
        self.dirty = dirty;
    }

    pub(super) fn recycle_buffer(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= limits::SESSION_BUFFER_KEEP_BYTES && self.buffers.len() < limits::OUTPUT_BUFFERS_KEPT {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// Housekeeping, when it is time.
    pub(super) fn maybe_tick(&mut self) {
        let now = self.now.steady_ns;
        if now - self.last_tick_ns < limits::TICK.as_nanos() as u64 {
            return;
        }
        self.last_tick_ns = now;
        self.store.tick(self.protocol_now());
        self.take_ended();
        self.links().tick(now / 1000);
        self.publish_metrics();
        if self.drain != Drain::No {
            self.continue_drain();
        } else if self.node.phase() == Phase::Draining {
            self.start_drain();
        }
        if now - self.last_slow_tick_ns >= 1_000_000_000 {
            self.last_slow_tick_ns = now;
            self.close_idle();
            self.look_at_skews();
            self.maybe_end_refilling();
        }
    }

    /// Only members count: who was removed may have had any clock.
    fn look_at_skews(&mut self) {
        let view = &self.replication.view;
        let farthest_ms = self.node.skews.farthest_ms(|node| view.member(node).is_some());
        self.counts.set(Metric::ClockSkewMilliseconds, farthest_ms);
    }

    /// Lets everybody see this core's figures.
    pub(super) fn publish_metrics(&mut self) {
        self.unpublished = false;
        let statistics = self.store.engine().statistics();
        let counts = &statistics.counts;
        let figures = [
            (Metric::ConnectionsOpen, self.sessions.len() as u64),
            (Metric::KeyHits, self.hits),
            (Metric::KeyMisses, self.misses),
            (Metric::KeysExpired, counts.expired),
            (Metric::LogCommits, counts.commits),
            (Metric::LogBytes, counts.bytes_written),
            (Metric::LogWriteFailures, counts.write_failures),
            (Metric::LogSegments, statistics.log_segments),
            (Metric::LogFileBytes, statistics.log_bytes),
            (Metric::PartitionFiles, statistics.partition_files),
            (Metric::PartitionRuns, statistics.runs),
            (Metric::PartitionFileBytes, statistics.partition_file_bytes),
            (Metric::LiveBytes, statistics.live_bytes),
            (Metric::Tombstones, statistics.tombstones),
            (Metric::TombstonesReaped, counts.tombstones_reaped),
            (Metric::Drains, counts.drains),
            (Metric::SegmentsRecycled, counts.segments_recycled),
            (Metric::Compactions, counts.compactions),
            (Metric::CompactionsFailed, counts.compactions_failed),
            (Metric::CompactionReadBytes, counts.compaction_read_bytes),
            (Metric::CompactionWrittenBytes, counts.compaction_written_bytes),
            (Metric::WriteDelayMicroseconds, statistics.write_delay_us),
            (Metric::PartitionsDamaged, statistics.partitions_damaged),
            (Metric::ScrubbedBytes, counts.scrub_bytes),
            (Metric::ScrubDamage, counts.scrub_damage),
            (Metric::ScrubCycles, counts.scrub_cycles),
            (Metric::DiskFreeBytes, statistics.disk_available_bytes),
            (Metric::RecordReads, counts.disk_reads),
            (Metric::RecordReadFailures, counts.read_failures),
            (Metric::CacheHits, statistics.cache_hits),
            (Metric::CacheMisses, statistics.cache_misses),
            (Metric::CacheBytes, statistics.cache_bytes),
            (Metric::IndexBytes, statistics.index_bytes),
            (Metric::MemoryBytes, statistics.memory_bytes),
            (Metric::Keys, statistics.keys),
            (Metric::KeysWithExpiry, statistics.expiring),
            (Metric::PendingBytes, statistics.pending_bytes),
            (Metric::WritesRefused, counts.refused_memory + counts.refused_disk),
            (Metric::HintsKept, self.store.engine().hint_targets().map(|(_, kept)| kept).sum()),
            (Metric::ReadOnly, u64::from(statistics.is_read_only || statistics.disk_state >= DiskLevel::NoWrites)),
        ];
        let protocol = replication::figures(&self.replication.counters());
        for (metric, value) in figures.into_iter().chain(protocol).chain(self.link_totals().figures()) {
            self.counts.set(metric, value);
        }
        self.node.metrics.cores()[usize::from(self.core)].publish(&self.counts);
        self.node.metrics.beat(self.core);
    }

    /// Closes clients that have been idle for too long, and those that have not read for too long.
    fn close_idle(&mut self) {
        let timeout_ms = u64::from(self.runtime.timeout_s) * 1000;
        let limit = self.runtime.output_limit;
        let now = self.now.unix_ms;
        let (mut idle, mut slow) = (Vec::new(), Vec::new());
        for (index, session) in self.sessions.iter_mut() {
            if timeout_ms > 0 && session.is_drained() && now.saturating_sub(session.last_ms) > timeout_ms {
                idle.push(index);
            }
            if limit.soft_bytes == 0 || (session.unread_bytes() as u64) <= limit.soft_bytes {
                session.above_soft_since_ms = now;
            } else if now.saturating_sub(session.above_soft_since_ms) > u64::from(limit.soft_seconds) * 1000 {
                slow.push(index);
            }
        }
        self.counts.add(Metric::ConnectionsIdleClosed, idle.len() as u64);
        self.counts.add(Metric::ConnectionsSlowClosed, slow.len() as u64);
        idle.into_iter().for_each(|index| self.close_after_replies(index));
        slow.into_iter().for_each(|index| self.close_now(index));
    }

    fn start_drain(&mut self) {
        tracing::info!(core = self.core, clients = self.sessions.len(), "draining");
        self.drain = Drain::Clients;
        // Its client waits, and would hold up the end.
        self.store.engine_mut().abandon_snapshot();
        let indexes: Vec<u32> = self.sessions.iter().map(|(index, _)| index).collect();
        indexes.into_iter().for_each(|index| self.close_after_replies(index));
    }

    fn continue_drain(&mut self) {
        match self.drain {
            Drain::Clients => {
                let is_empty = self.sessions.is_empty() && self.mesh.is_flushed() && self.mesh.is_quiet();
                // Other cores may still send what their clients asked for, until all of them have come this far.
                if is_empty && self.node.core_has_drained(self.core) {
                    self.store.engine_mut().begin_close();
                    self.drain = Drain::Engine;
                }
            }
            Drain::Engine if self.store.engine().is_closed() => self.drain = Drain::Done,
            Drain::No | Drain::Engine | Drain::Done => {}
        }
    }

    /// Gives clients up that have not gone within the shutdown timeout.
    pub fn abandon_clients(&mut self) {
        let indexes: Vec<u32> = self.sessions.iter().map(|(index, _)| index).collect();
        indexes
            .into_iter()
            .filter(|index| self.sessions.get_mut(*index).connection.is_some())
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|index| self.close_now(index));
    }

    /// Whether the driver goes on.
    pub fn progress(&self) -> Progress {
        match self.drain {
            Drain::No => Progress::Serve,
            Drain::Clients | Drain::Engine => Progress::Drain,
            Drain::Done => Progress::Ended,
        }
    }
}
