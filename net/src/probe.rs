//! Whether this process may have rings like the core's, and if not, exactly why. For the preflight only: the rings built
//! here are dropped at once.
//!
//! Pure but for [`rings`]: the reason is decided by `classify` from the error number and three facts about the machine.

use std::fmt;
use std::fs;

use io_uring::{IoUring, Probe, opcode};

use rustix::io::Errno;

/// Why a ring is refused. Each variant has one remedy, which the caller words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeError {
    /// A system-call filter forbids it: a container's default profile.
    Seccomp,
    /// `kernel.io_uring_disabled` has that value.
    Sysctl(u8),
    /// The kernel is older than 6.1.
    KernelTooOld(String),
    /// The kernel was built without io_uring.
    NotBuilt,
    /// Locked memory does not suffice for all rings.
    LockedMemory {
        /// Rings that were wanted at once.
        wanted: usize,
        /// Rings that could be built.
        built: usize,
    },
    /// The descriptor limit is exhausted.
    Descriptors,
    /// The kernel lacks an operation that the core's ring uses.
    Operation(&'static str),
    /// Something else, by its error number.
    Other(i32),
}

/// What the machine says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// As `uname` gives it.
    pub kernel_release: String,
    /// `kernel.io_uring_disabled`; `None` when the kernel does not know it.
    pub io_uring_disabled: Option<u8>,
    /// A system-call filter is active on this process.
    pub is_filtered: bool,
}

/// Oldest kernel whose rings can defer their work to the turn.
pub const KERNEL_MIN: (u32, u32) = (6, 1);

const SUBMISSION_ENTRIES: u32 = 256;
const COMPLETION_ENTRIES: u32 = 2048;

/// Every operation that the core's ring submits.
const OPERATIONS: &[(u8, &str)] = &[
    (opcode::Nop::CODE, "NOP"),
    (opcode::Read::CODE, "READ"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::Send::CODE, "SEND"),
    (opcode::RecvMulti::CODE, "RECV"),
    (opcode::AcceptMulti::CODE, "ACCEPT"),
    (opcode::AsyncCancel2::CODE, "ASYNC_CANCEL"),
    (opcode::MsgRingData::CODE, "MSG_RING"),
];

/// Builds `count` rings as the cores do, all at once, and asks the first for its operations.
pub fn rings(count: usize) -> Result<(), ProbeError> {
    assert!(count > 0);
    let mut built: Vec<IoUring> = Vec::with_capacity(count);
    while built.len() < count {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETION_ENTRIES)
            .build(SUBMISSION_ENTRIES);
        match ring {
            Ok(ring) => built.push(ring),
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                return Err(classify(errno, &Facts::read(), count, built.len()));
            }
        }
    }
    let mut probe = Probe::new();
    let answer = built[0].submitter().register_probe(&mut probe);
    answer.map_err(|error| ProbeError::Other(error.raw_os_error().unwrap_or(0)))?;
    match OPERATIONS.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, name)) => Err(ProbeError::Operation(name)),
        None => Ok(()),
    }
}

/// One ring: see [`rings`].
pub fn ring() -> Result<(), ProbeError> {
    rings(1)
}

impl Facts {
    /// Asks the kernel.
    pub fn read() -> Self {
        let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map(str::trim);
        Self {
            kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
            io_uring_disabled: disabled.ok().and_then(|text| text.trim().parse().ok()),
            is_filtered: seccomp.is_some_and(|mode| mode != "0"),
        }
    }

    /// True when the release is at least [`KERNEL_MIN`]; releases that cannot be read count as new.
    pub fn is_kernel_new_enough(&self) -> bool {
        kernel_version(&self.kernel_release).is_none_or(|version| version >= KERNEL_MIN)
    }
}

/// Major and minor number of a kernel release such as `6.1.0-13-amd64`.
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Why setting up ring number `built` of `wanted` failed with `errno`.
fn classify(errno: i32, facts: &Facts, wanted: usize, built: usize) -> ProbeError {
    assert!(built < wanted);
    let disabled = facts.io_uring_disabled.filter(|value| *value > 0);
    match Errno::from_raw_os_error(errno) {
        Errno::NOMEM => ProbeError::LockedMemory { wanted, built },
        Errno::MFILE | Errno::NFILE => ProbeError::Descriptors,
        // Rings were allowed before: the reasons below are about all of them.
        _ if built > 0 => ProbeError::Other(errno),
        Errno::PERM | Errno::ACCESS if disabled.is_some() => ProbeError::Sysctl(disabled.unwrap_or_default()),
        Errno::PERM | Errno::ACCESS if facts.is_filtered => ProbeError::Seccomp,
        _ if !facts.is_kernel_new_enough() => ProbeError::KernelTooOld(facts.kernel_release.clone()),
        Errno::NOSYS if facts.is_filtered => ProbeError::Seccomp,
        Errno::NOSYS => ProbeError::NotBuilt,
        // A new kernel's number with an old kernel's answer: an emulation that does not know the flags.
        Errno::INVAL => ProbeError::KernelTooOld(facts.kernel_release.clone()),
        _ => ProbeError::Other(errno),
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seccomp => formatter.write_str("a system-call filter (seccomp) forbids io_uring"),
            Self::Sysctl(value) => write!(formatter, "the sysctl kernel.io_uring_disabled is {value}"),
            Self::KernelTooOld(release) => write!(formatter, "kernel {release} is older than 6.1"),
            Self::NotBuilt => formatter.write_str("this kernel was built without io_uring"),
            Self::LockedMemory { wanted, built } => {
                write!(formatter, "memory for {built} of {wanted} rings only: the locked-memory limit is too small")
            }
            Self::Descriptors => formatter.write_str("the descriptor limit is exhausted"),
            Self::Operation(name) => write!(formatter, "the kernel lacks the io_uring operation {name}"),
            Self::Other(errno) => {
                write!(formatter, "io_uring_setup failed: {}", std::io::Error::from_raw_os_error(*errno))
            }
        }
    }
}

impl std::error::Error for ProbeError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(release: &str, io_uring_disabled: Option<u8>, is_filtered: bool) -> Facts {
        Facts { kernel_release: release.to_owned(), io_uring_disabled, is_filtered }
    }

    #[test]
    fn every_cause_is_told_from_the_others() {
        let (perm, nosys, inval, nomem) = (1, 38, 22, 12);
        let new = "6.8.0-31-generic";
        let cases = [
            (perm, facts(new, Some(2), true), ProbeError::Sysctl(2)),
            (perm, facts(new, Some(1), false), ProbeError::Sysctl(1)),
            (perm, facts(new, Some(0), true), ProbeError::Seccomp),
            (perm, facts("5.15.0", None, true), ProbeError::Seccomp),
            (perm, facts(new, Some(0), false), ProbeError::Other(perm)),
            (nosys, facts(new, Some(0), true), ProbeError::Seccomp),
            (nosys, facts(new, None, false), ProbeError::NotBuilt),
            (nosys, facts("4.19.0", None, true), ProbeError::KernelTooOld("4.19.0".to_owned())),
            (inval, facts("5.15.0", None, false), ProbeError::KernelTooOld("5.15.0".to_owned())),
            (inval, facts(new, None, false), ProbeError::KernelTooOld(new.to_owned())),
            (nomem, facts(new, Some(0), true), ProbeError::LockedMemory { wanted: 3, built: 0 }),
            (24, facts(new, Some(0), true), ProbeError::Descriptors),
        ];
        for (errno, facts, expected) in cases {
            assert_eq!(classify(errno, &facts, 3, 0), expected, "{errno} {facts:?}");
        }
        assert_eq!(classify(nomem, &facts(new, None, false), 3, 2), ProbeError::LockedMemory { wanted: 3, built: 2 });
        assert_eq!(classify(perm, &facts(new, Some(2), true), 3, 2), ProbeError::Other(perm));
    }

    #[test]
    fn kernel_releases() {
        assert_eq!(kernel_version("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(kernel_version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(kernel_version("6.1+"), Some((6, 1)));
        assert_eq!(kernel_version("strange"), None);
        assert!(facts("6.10", None, false).is_kernel_new_enough());
        assert!(!facts("5.19.17", None, false).is_kernel_new_enough());
    }

    #[test]
    fn rings_can_be_built_here_or_the_reason_is_named() {
        match rings(2) {
            Ok(()) => ring().unwrap(),
            Err(error) => assert!(!matches!(error, ProbeError::Other(_)), "{error}"),
        }
    }
}
