//! Bounds of what a node keeps in flight, beside those a user configures.

use std::time::Duration;

/// Batches in one queue between two cores.
pub const MESH_QUEUE_MESSAGES: usize = 1024;
/// Bytes gathered for one core before clients that want more must wait.
pub const MESH_BATCH_BYTES: usize = 1 << 20;
/// Emptied batches kept per neighbour.
pub const MESH_SPARE_BATCHES: usize = 8;
/// Replies one client may have outstanding before its next commands wait.
pub const SESSION_OUTSTANDING_MAX: usize = 4096;
/// Output bytes of one client above which its next commands wait until it has read some.
pub const SESSION_OUTPUT_PAUSE_BYTES: usize = 4 << 20;
/// Bytes of an idle client's buffers that are kept.
pub const SESSION_BUFFER_KEEP_BYTES: usize = 16 << 10;
/// How long replies may wait for those behind them, to leave together.
pub const PARTIAL_REPLIES_HOLD: Duration = Duration::from_micros(200);
/// Empty output buffers that a core keeps for its clients.
pub const OUTPUT_BUFFERS_KEPT: usize = 1024;
/// Keys of which one SCAN, KEYS or RANDOMKEY reads records at a time.
pub const SCAN_READS_MAX: usize = 64;
/// Partitions that one SCAN passes at most.
pub const SCAN_PARTITIONS_MAX: u32 = 4096;
/// Cores that one SCAN on the base port asks at most, one after the other.
pub const SCAN_STEPS_MAX: u32 = 32;
/// Keys that one core looks at for one SCAN on the base port at most, so that it answers soon.
pub const SCAN_STEP_KEYS_MAX: usize = 1024;
/// Bytes of keys that one SCAN on the base port finds before its client is answered, and one core before it answers.
pub const SCAN_STEP_BYTES: usize = 1 << 20;
/// Parts of commands that a core waits for other nodes with at once: all cores of the largest cluster may be asked.
pub const REMOTE_ASKED_MAX: usize = 16_384;
/// Parts of other nodes' commands that a core is at work on at once.
pub const REMOTE_SERVED_MAX: usize = 1024;
/// Bytes of the arguments of a command that goes to other nodes.
pub const REMOTE_COMMAND_BYTES_MAX: usize = 64 << 10;
/// Arguments of such a command.
pub const REMOTE_ARGUMENTS_MAX: usize = 16;
/// Bytes of a reply to another node's core: half of what may wait for a core, for replication needs the link as well.
pub const REMOTE_REPLY_BYTES_MAX: usize = 16 << 20;
/// How long the keys of whole partitions are waited for, if the deadline is shorter: their records are read.
pub const REMOTE_KEYS_WITHIN: Duration = Duration::from_secs(5);
/// Commands on keys of a core's own clients that other nodes are asked about at a time, each key of an MGET counting; more wait.
/// Few enough that the last is answered within the deadline although all have to be read from a disk.
pub const REPLICATED_COMMANDS_MAX: usize = 4096;
/// Map changes of operators that a core waits for at once.
pub const OPERATIONS_MAX: usize = 64;
/// How long a core looks for completions before it sleeps.
pub const SPIN: Duration = Duration::from_micros(10);
/// How much good luck in looking is remembered.
pub const SPIN_CREDIT_MAX: u32 = 16;
/// Turns without looking after bad luck, before it is tried once.
pub const SPIN_RETRY_TURNS: u32 = 64;
/// Turns in a row that may gather requests before what they wrote is committed.
pub const GATHER_TURNS_MAX: u32 = 8;
/// Sub-requests of one multi-key command.
pub const GATHER_PARTS_MAX: usize = 1 << 20;
/// How long a core with nothing to do sleeps between looks at its timers.
pub const IDLE_SLEEP: Duration = Duration::from_millis(100);
/// How long a core may sleep while background work of its executor is under way.
pub const BACKGROUND_SLEEP: Duration = Duration::from_micros(500);
/// Time between two runs of a core's housekeeping.
pub const TICK: Duration = Duration::from_millis(20);
/// Time before a listener that could not accept tries again.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// A turn longer than this is logged as a stall.
pub const STALL: Duration = Duration::from_millis(100);

const _: () = assert!(SESSION_BUFFER_KEEP_BYTES < SESSION_OUTPUT_PAUSE_BYTES);
const _: () =
    assert!(BACKGROUND_SLEEP.as_micros() < TICK.as_micros() && TICK.as_micros() < IDLE_SLEEP.as_micros() * 10);
