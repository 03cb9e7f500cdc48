//! Water marks of the disk.
//!
//! Invariant: a level holds everything back that the levels below it hold back.

const GIB: u64 = 1 << 30;

/// Which water mark the disk has reached; each by share or by free bytes, whichever is laxer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskLevel {
    /// None.
    #[default]
    Ample,
    /// 75 % used, less than 20 GiB free: garbage should go sooner.
    Hurry,
    /// 85 %, 10 GiB: nothing comes from other nodes.
    NoTransfers,
    /// 92 %, 5 GiB: deletes only.
    NoWrites,
    /// 96 %, 2 GiB: reads only.
    ReadOnly,
}

impl DiskLevel {
    /// The level of a disk.
    pub fn of(total_bytes: u64, available_bytes: u64) -> Self {
        let used = total_bytes.saturating_sub(available_bytes);
        let reached = |percent: u64, free: u64| {
            u128::from(used) * 100 >= u128::from(total_bytes) * u128::from(percent) && available_bytes < free
        };
        match () {
            () if total_bytes == 0 => Self::Ample,
            () if reached(96, 2 * GIB) => Self::ReadOnly,
            () if reached(92, 5 * GIB) => Self::NoWrites,
            () if reached(85, 10 * GIB) => Self::NoTransfers,
            () if reached(75, 20 * GIB) => Self::Hurry,
            () => Self::Ample,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DiskLevel, GIB};

    #[test]
    fn the_laxer_of_share_and_bytes_counts() {
        let level = DiskLevel::of;
        assert_eq!(level(100 * GIB, 26 * GIB), DiskLevel::Ample);
        assert_eq!(level(100 * GIB, 19 * GIB), DiskLevel::Hurry);
        assert_eq!(level(100 * GIB, 9 * GIB), DiskLevel::NoTransfers);
        assert_eq!(level(100 * GIB, 4 * GIB), DiskLevel::NoWrites);
        assert_eq!(level(100 * GIB, GIB), DiskLevel::ReadOnly);
        // Much is left of a large disk, and little is used of a small one.
        assert_eq!(level(10_000 * GIB, 300 * GIB), DiskLevel::Ample);
        assert_eq!(level(4 * GIB, 3 * GIB), DiskLevel::Ample);
        assert_eq!(level(0, 0), DiskLevel::Ample);
    }
}
