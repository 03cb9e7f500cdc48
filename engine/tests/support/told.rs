//! What a run did, so that a test can insist that something did.

/// What happened, so that a test can insist that something did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    pub acknowledged: u64,
    pub failed: u64,
    pub stalls: u64,
    pub refusals: u64,
    pub disk_reads: u64,
    pub restarts: u64,
    pub migrations: u64,
    pub recycled: u64,
    pub drains: u64,
    pub compactions: u64,
    pub interrupted_runs: u64,
    pub reaped: u64,
    pub corruption: u64,
    pub read_only: u64,
    pub failed_reads: u64,
}

impl Told {
    pub fn add(&mut self, other: &Told) {
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        self.stalls += other.stalls;
        self.refusals += other.refusals;
        self.disk_reads += other.disk_reads;
        self.restarts += other.restarts;
        self.migrations += other.migrations;
        self.recycled += other.recycled;
        self.drains += other.drains;
        self.compactions += other.compactions;
        self.interrupted_runs += other.interrupted_runs;
        self.reaped += other.reaped;
        self.corruption += other.corruption;
        self.read_only += other.read_only;
        self.failed_reads += other.failed_reads;
    }
}
