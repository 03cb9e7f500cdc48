//! What a node says of its log and its partition files, and waiting until nothing goes on in them.
//!
//! Invariant: a figure that INFO does not have is an error, never zero.

use super::server::Server;
use super::wire;
use std::time::{Duration, Instant};

/// Between two looks at a node that shall come to rest: drains and compactions begin with ticks of 20 ms.
const LOOK: Duration = Duration::from_millis(500);
/// Looks that must agree.
const LOOKS: u32 = 3;
/// Until it has to be at rest; it may have gigabytes to compact.
const REST: Duration = Duration::from_secs(900);

/// Counted since the node started, and how it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    pub log_written: u64,
    pub compaction_read: u64,
    pub compaction_written: u64,
    pub drains: u64,
    pub compactions: u64,
    pub live: u64,
    pub log_files: u64,
    pub partition_runs: u64,
    pub partition_files: u64,
}

impl Figures {
    /// Asks a node.
    pub fn of(server: &Server) -> Result<Figures, String> {
        Figures::parse(&server.ask(&["INFO", "annulus"])?)
    }

    /// Out of INFO's section `annulus`.
    pub fn parse(info: &str) -> Result<Figures, String> {
        let field = |name: &str| wire::field(info, name).ok_or_else(|| format!("INFO annulus has no {name}"));
        Ok(Figures {
            log_written: field("log_written_bytes")?,
            compaction_read: field("compaction_read_bytes")?,
            compaction_written: field("compaction_written_bytes")?,
            drains: field("drains")?,
            compactions: field("compactions")?,
            live: field("live_bytes")?,
            log_files: field("log_file_bytes")?,
            partition_runs: field("partition_runs")?,
            partition_files: field("partition_file_bytes")?,
        })
    }

    /// Bytes written to the log and to partition files.
    pub fn written(&self) -> u64 {
        self.log_written + self.compaction_written
    }

    /// Bytes that drains and compactions have moved: read and written.
    pub fn compacted(&self) -> u64 {
        self.compaction_read + self.compaction_written
    }
}

/// Waits until neither clients nor compactions write.
pub fn rest(server: &mut Server) -> Result<Figures, String> {
    let started = Instant::now();
    let (mut before, mut agreed) = (Figures::of(server)?, 0);
    while agreed < LOOKS {
        std::thread::sleep(LOOK);
        server.check_alive()?;
        let now = Figures::of(server)?;
        agreed = if now == before { agreed + 1 } else { 0 };
        before = now;
        if started.elapsed() > REST {
            return Err(format!("drains and compactions go on after {REST:?} without load: {now:?}"));
        }
    }
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_figures_must_be_there() {
        let names = [
            "log_written_bytes",
            "compaction_read_bytes",
            "compaction_written_bytes",
            "drains",
            "compactions",
            "live_bytes",
            "log_file_bytes",
            "partition_runs",
            "partition_file_bytes",
        ];
        let info: String = names.iter().zip(1..).map(|(name, value)| format!("{name}:{value}\r\n")).collect();
        let figures = Figures::parse(&info).unwrap();
        assert_eq!((figures.written(), figures.compacted(), figures.live), (4, 5, 6));
        assert!(Figures::parse(&info.replace("drains", "trains")).unwrap_err().contains("drains"));
    }
}
