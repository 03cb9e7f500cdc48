//! What the kernel counts: CPU time of a process, of the kernel's own threads and of the machine, what a block device did,
//! and what a process wrote.
//!
//! Reading `/proc` and making sense of it are separate; the latter is pure.
//!
//! Invariant: CPU time is never guessed: a thread that ended in between is found again in the time of its process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// `/proc/PID/stat` counts in these; fixed for user space.
const TICK_NS: u64 = 10_000_000;
/// User and system time are each cut to a whole tick.
const TICKS_UNSURE: u64 = 2;
/// Fields of `schedstat`.
const RAN: usize = 0;
const WAITED: usize = 1;
/// The kernel's threads are its children.
const KTHREADD: u32 = 2;

/// CPU time of threads, in nanoseconds, by their ids.
type Times = BTreeMap<u32, u64>;

/// CPU time of one process at one instant.
#[derive(Debug, Clone, Default)]
pub struct Cpu {
    tasks: Times,
    /// while it could run and something else did
    waits: Times,
    /// of the process with all threads that have ended, as ticks
    ticks: u64,
}

impl Cpu {
    pub fn of(id: u32) -> Result<Cpu, String> {
        let directory = format!("/proc/{id}/task");
        let entries = fs::read_dir(&directory).map_err(|error| format!("{directory}: {error}"))?;
        let ids: Vec<u32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        let path = |task: u32| format!("{directory}/{task}/schedstat");
        let (tasks, waits) = (times(ids.iter().copied(), RAN, path), times(ids.iter().copied(), WAITED, path));
        let stat =
            fs::read_to_string(format!("/proc/{id}/stat")).map_err(|error| format!("/proc/{id}/stat: {error}"))?;
        let stat = parse_stat(&stat).ok_or_else(|| format!("/proc/{id}/stat is not understood"))?;
        Ok(Cpu { tasks, waits, ticks: stat.ticks })
    }

    /// Nanoseconds since an earlier look at the same process.
    pub fn since(&self, earlier: &Cpu) -> u64 {
        let whole = self.ticks.saturating_sub(earlier.ticks);
        grown(&earlier.tasks, &self.tasks).max(whole.saturating_sub(TICKS_UNSURE) * TICK_NS)
    }

    /// Nanoseconds since then that its busiest-waiting thread waited for a CPU that something else used.
    pub fn waited_since(&self, earlier: &Cpu) -> u64 {
        let of = |(id, now): (&u32, &u64)| now.saturating_sub(earlier.waits.get(id).copied().unwrap_or(0));
        self.waits.iter().map(of).max().unwrap_or(0)
    }
}

/// CPU time of all threads of the kernel.
#[derive(Debug, Clone, Default)]
pub struct Kernel {
    threads: Times,
}

impl Kernel {
    pub fn now() -> Kernel {
        let Ok(entries) = fs::read_dir("/proc") else { return Kernel::default() };
        let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let ours = ids.filter(|id| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            parse_stat(&stat).is_some_and(|stat| stat.parent == KTHREADD)
        });
        Kernel { threads: times(ours, RAN, |id| format!("/proc/{id}/schedstat")) }
    }

    /// Nanoseconds since an earlier look. A worker that ended in between takes its time with it.
    pub fn since(&self, earlier: &Kernel) -> u64 {
        grown(&earlier.threads, &self.threads)
    }
}

/// Time of all CPUs of this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Machine {
    all: u64,
    /// which the host gave to somebody else although there was work
    stolen: u64,
}

impl Machine {
    pub fn now() -> Machine {
        fs::read_to_string("/proc/stat").ok().and_then(|text| parse_cpu(&text)).unwrap_or_default()
    }

    /// Share of the time since an earlier look that was stolen, in percent.
    pub fn stolen_since(&self, earlier: &Machine) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        self.stolen.saturating_sub(earlier.stolen) as f64 * 100.0 / all as f64
    }
}

/// User, nice, system, idle, waiting for disks, interrupts, soft interrupts, stolen; time of guests is in the first two.
fn parse_cpu(text: &str) -> Option<Machine> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    Some(Machine { all: fields.get(..8)?.iter().sum(), stolen: fields[7] })
}

/// Bytes that a process has had written to storage.
pub fn written_bytes(id: u32) -> Result<u64, String> {
    let path = format!("/proc/{id}/io");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("write_bytes:")?.trim().parse().ok());
    value.ok_or_else(|| format!("{path} counts no write_bytes"))
}

/// Bytes that files below a directory take of the disk. Those that go meanwhile are left out.
pub fn disk_usage(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_usage(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

fn times(ids: impl Iterator<Item = u32>, which: usize, path: impl Fn(u32) -> String) -> Times {
    ids.filter_map(|id| Some((id, parse_schedstat(&fs::read_to_string(path(id)).ok()?, which)?))).collect()
}

/// Nanoseconds on a CPU, nanoseconds of waiting for one, and a count.
fn parse_schedstat(text: &str, which: usize) -> Option<u64> {
    text.split_whitespace().nth(which)?.parse().ok()
}

/// How much was added; an id whose time went back was given to a new thread.
fn grown(before: &Times, after: &Times) -> u64 {
    let added = |(id, &now): (&u32, &u64)| match before.get(id) {
        Some(&then) if then <= now => now - then,
        _ => now,
    };
    after.iter().map(added).sum()
}

/// Of `/proc/PID/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    /// user and system time
    ticks: u64,
}

/// The name is in brackets and may contain anything; after the last bracket stand numbers.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, ticks: number(11)? + number(12)? })
}

/// What a block device has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Disk {
    reads: u64,
    /// milliseconds, once for every request that was under way
    weighted_ms: u64,
}

impl Disk {
    /// Of the device that holds a path; `None` where the kernel does not count it, as for an overlay.
    pub fn of(path: &Path) -> Option<Disk> {
        use std::os::unix::fs::MetadataExt;
        let (major, minor) = split_device(fs::metadata(path).ok()?.dev());
        parse_diskstats(&fs::read_to_string("/proc/diskstats").ok()?, major, minor).map(|(_, disk)| disk)
    }

    /// The device's name.
    pub fn name(path: &Path) -> Option<String> {
        use std::os::unix::fs::MetadataExt;
        let (major, minor) = split_device(fs::metadata(path).ok()?.dev());
        parse_diskstats(&fs::read_to_string("/proc/diskstats").ok()?, major, minor).map(|(name, _)| name)
    }

    /// Requests that read.
    pub fn reads_since(&self, earlier: &Disk) -> f64 {
        self.reads.saturating_sub(earlier.reads) as f64
    }

    /// Requests under way on average, over `seconds`.
    pub fn depth_since(&self, earlier: &Disk, seconds: f64) -> f64 {
        self.weighted_ms.saturating_sub(earlier.weighted_ms) as f64 / 1000.0 / seconds
    }
}

/// As the C library packs them.
fn split_device(device: u64) -> (u64, u64) {
    ((device >> 8 & 0xfff) | (device >> 32 & 0xffff_f000), (device & 0xff) | (device >> 12 & 0xffff_ff00))
}

/// One line per device: major, minor, name, then reads, merged, sectors, ms; writes, merged, sectors, ms; under way, ms
/// busy, weighted ms.
fn parse_diskstats(text: &str, major: u64, minor: u64) -> Option<(String, Disk)> {
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        if (number(0)?, number(1)?) != (major, minor) {
            return None;
        }
        Some((fields[2].to_string(), Disk { reads: number(3)?, weighted_ms: number(13)? }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_has_two_times() {
        assert_eq!(parse_schedstat("782590 171903 23\n", RAN), Some(782_590));
        assert_eq!(parse_schedstat("782590 171903 23\n", WAITED), Some(171_903));
        assert_eq!(parse_schedstat("", RAN), None);
    }

    #[test]
    fn stat_is_read_behind_a_hostile_name() {
        let line = "77 (a) b (c)) S 2 0 0 0 -1 69238880 0 0 0 0 12 30 0 0 20 0 1 0 7";
        assert_eq!(parse_stat(line), Some(Stat { parent: 2, ticks: 42 }));
        assert_eq!(parse_stat("77 (short) S 2"), None);
    }

    #[test]
    fn growth_counts_new_threads_and_reused_ids_and_not_the_gone() {
        let before = Times::from([(1, 100), (2, 50), (3, 900)]);
        let after = Times::from([(1, 150), (3, 7), (4, 20)]);
        assert_eq!(grown(&before, &after), 50 + 7 + 20);
    }

    #[test]
    fn time_of_threads_that_ended_is_found_in_the_process() {
        let of = |task, ticks| Cpu { tasks: Times::from([(1, task)]), waits: Times::from([(1, task / 10)]), ticks };
        let before = of(0, 0);
        let busy_helper_gone = of(5_000_000, 102);
        assert_eq!(busy_helper_gone.since(&before), 1_000_000_000);
        let only_task = of(1_001_000_000, 101);
        assert_eq!(only_task.since(&before), 1_001_000_000);
        assert_eq!(only_task.waited_since(&before), 100_100_000);
    }

    #[test]
    fn the_process_itself_can_be_measured() {
        let before = Cpu::of(std::process::id()).unwrap();
        let sum = (0..20_000_000_u64).fold(0_u64, |sum, n| std::hint::black_box(sum ^ n));
        let after = Cpu::of(std::process::id()).unwrap();
        assert!(after.since(&before) > 1_000_000, "{sum}");
    }

    #[test]
    fn stolen_time_is_a_share_of_all() {
        let look = |text: &str| parse_cpu(text).unwrap();
        let before = look("cpu  100 0 50 800 10 0 0 40 7 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n");
        let after = look("cpu  160 0 70 880 10 0 0 80 9 0\n");
        assert_eq!((before.all, after.stolen_since(&before)), (1000, 20.0));
        assert_eq!(parse_cpu("cpu  1 2 3\n"), None);
        assert!(Machine::now().all > 0);
    }

    #[test]
    fn a_file_takes_what_it_has_blocks_for() {
        let directory = std::env::temp_dir().join(format!("xtask-usage-{}", std::process::id()));
        fs::create_dir_all(directory.join("inner")).unwrap();
        let written = written_bytes(std::process::id()).unwrap();
        fs::write(directory.join("inner/file"), vec![1; 100_000]).unwrap();
        assert!((100_000..1 << 20).contains(&disk_usage(&directory)));
        assert!(written_bytes(std::process::id()).unwrap() >= written);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn diskstats_are_found_by_device_number() {
        let text = " 7 0 loop0 1 2 3 4 5 6 7 8 0 9 10 0 0 0 0 11 12\n 254 0 vda 16907421 103746 633432778 5601968 \
                    2601966 342889 734503080 611703 0 578996 6307233 227813 94 625909576 53918 846410 39642\n";
        let (name, disk) = parse_diskstats(text, 254, 0).unwrap();
        assert_eq!((name.as_str(), disk), ("vda", Disk { reads: 16_907_421, weighted_ms: 6_307_233 }));
        assert_eq!(parse_diskstats(text, 254, 1), None);
        let later = Disk { reads: disk.reads + 30, weighted_ms: disk.weighted_ms + 6_000 };
        assert_eq!((later.reads_since(&disk), later.depth_since(&disk, 2.0)), (30.0, 3.0));
    }

    #[test]
    fn device_numbers_split_as_in_the_c_library() {
        assert_eq!(split_device(0xfe00), (254, 0));
        assert_eq!(split_device(0x1_0000_0000_0301), (65_539, 1));
        assert_eq!(split_device(0x10_3005), (48, 261));
    }
}
