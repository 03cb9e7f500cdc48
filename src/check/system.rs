//! Tests of the machine: kernel, io_uring, locked memory, descriptors, CPUs, memory.

use annulus_net::probe::{self, Facts, ProbeError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Finding;
use crate::config::{Config, ConfigLimits, Environment, cores};

/// Below this limit of locked memory the executor refuses to start.
const LOCKED_BYTES_MIN: u64 = 512 * 1024;
/// Rings of one core: its own and those of its executor.
const RINGS_PER_CORE: usize = 4;

const MEMLOCK_REMEDY: &str = "raise the locked-memory limit: `ulimit -l unlimited`, LimitMEMLOCK=infinity in the systemd \
                              unit, or `--ulimit memlock=-1` for a container";

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let locked = getrlimit(Resource::Memlock).current;
    vec![
        kernel(&Facts::read()),
        io_uring(probe::rings(config.cores.len() * RINGS_PER_CORE), config.cores.len()),
        locked_memory(locked),
        descriptors(config, raise_descriptor_limit()),
        cpus(config, Environment::detect()),
    ]
}

/// Raises the descriptor limit to its hard limit and gives what is in force; `u64::MAX` for none.
pub fn raise_descriptor_limit() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
    let in_force = if raised.is_ok() { before.maximum } else { before.current };
    in_force.unwrap_or(u64::MAX)
}

fn kernel(facts: &Facts) -> Finding {
    let (major, minor) = probe::KERNEL_MIN;
    match facts.is_kernel_new_enough() {
        true => Finding::ok("kernel", format!("{} is at least {major}.{minor}", facts.kernel_release)),
        false => Finding::fail(
            "kernel",
            format!("{} is older than {major}.{minor}", facts.kernel_release),
            format!("boot Linux {major}.{minor} or newer"),
        ),
    }
}

/// The result of building the rings of all cores at once.
pub(super) fn io_uring(result: Result<(), ProbeError>, cores: usize) -> Finding {
    let name = "io_uring";
    let Err(error) = result else {
        return Finding::ok(name, format!("the rings of {cores} cores can be built"));
    };
    let remedy = match &error {
        ProbeError::Seccomp => {
            "run the container with a profile that allows io_uring_setup, io_uring_enter and io_uring_register, for example \
             `docker run --security-opt seccomp=profile.json` (or seccomp=unconfined), or \
             securityContext.seccompProfile in Kubernetes"
        }
        ProbeError::Sysctl(1) => {
            "`sysctl -w kernel.io_uring_disabled=0` on the host, or put this user into the group of kernel.io_uring_group"
        }
        ProbeError::Sysctl(_) => "`sysctl -w kernel.io_uring_disabled=0` on the host",
        ProbeError::KernelTooOld(_) => "boot Linux 6.1 or newer",
        ProbeError::NotBuilt => "boot a kernel built with CONFIG_IO_URING=y",
        ProbeError::LockedMemory { .. } => MEMLOCK_REMEDY,
        ProbeError::Descriptors => "raise the descriptor limit: `ulimit -n`, or LimitNOFILE= in the systemd unit",
        ProbeError::Operation(_) => "boot an unmodified Linux 6.1 or newer",
        ProbeError::Other(_) => "a security module (SELinux, AppArmor) may forbid it: its audit log says so",
    };
    Finding::fail(name, error.to_string(), remedy)
}

/// `None` is no limit.
pub(super) fn locked_memory(limit: Option<u64>) -> Finding {
    let name = "locked memory";
    match limit {
        None => Finding::ok(name, "unlimited"),
        Some(bytes) if bytes < LOCKED_BYTES_MIN => Finding::fail(
            name,
            format!("the limit is {} KiB, the executor wants at least {} KiB", bytes / 1024, LOCKED_BYTES_MIN / 1024),
            MEMLOCK_REMEDY,
        ),
        Some(bytes) => Finding::ok(name, format!("the limit is {} KiB", bytes / 1024)),
    }
}

pub(super) fn descriptors(config: &Config, limit: u64) -> Finding {
    let name = "descriptors";
    let cores = ConfigLimits::DESCRIPTORS_PER_CORE * config.cores.len() as u64;
    let partitions = ConfigLimits::DESCRIPTORS_PER_PARTITION * u64::from(config.partitions);
    let own = ConfigLimits::DESCRIPTORS_RESERVED + cores + partitions;
    let wanted = u64::from(config.runtime.maxclients) + own;
    if limit >= wanted {
        return Finding::ok(name, format!("{limit} suffice for {} clients", config.runtime.maxclients));
    }
    let remedy = format!("`ulimit -Hn {wanted}`, LimitNOFILE={wanted} in the systemd unit, or a smaller maxclients");
    match limit.checked_sub(own) {
        None | Some(0) => Finding::fail(name, format!("{limit} do not suffice for the node itself ({own})"), remedy),
        Some(clients) => {
            let clients_max = config.runtime.maxclients;
            Finding::warn(name, format!("{limit} suffice for about {clients} of {clients_max} clients"), remedy)
        }
    }
}

pub(super) fn cpus(config: &Config, environment: Result<Environment, String>) -> Finding {
    let name = "cores";
    let list = cores::format(&config.cores);
    let list = list.trim_end_matches(',');
    let environment = match environment {
        Ok(environment) => environment,
        Err(text) => return Finding::fail(name, text, "mount /proc"),
    };
    if let Some(cpu) = config.cores.iter().find(|cpu| !environment.affinity.contains(cpu)) {
        let allowed = cores::format(&environment.affinity);
        return Finding::fail(
            name,
            format!("CPU {cpu} may not be used by this process, only {allowed}"),
            "choose others with --cores",
        );
    }
    if config.memory_limit_bytes > environment.memory_bytes {
        return Finding::warn(
            "memory",
            format!(
                "memory-limit is {} MiB, the cgroup or machine has {} MiB",
                config.memory_limit_bytes >> 20,
                environment.memory_bytes >> 20
            ),
            "choose at most 80 % of it with --memory-limit",
        );
    }
    let memory = config.memory_limit_bytes >> 20;
    Finding::ok(name, format!("{} cores on CPUs {list}, {memory} MiB of memory", config.cores.len()))
}
