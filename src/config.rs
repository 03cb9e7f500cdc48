//! The configuration of one node: one typed [`Config`], read from one TOML file, overridden by flags, validated once.
//!
//! It is not consulted through text after that: what a key means is decided here, and every other module gets numbers.
//! What may change while the node runs is the small copy in [`RuntimeConfig`]; [`runtime`] names its parameters as Redis
//! does.
//!
//! Invariant: a `Config` that exists is consistent — every value is in its range, ports neither overlap nor overflow, and a
//! node that others can reach has a password or was told to do without. Errors name the key and where it was given: file
//! and line, or the flag.

mod cluster;
pub mod cores;
mod environment;
mod keys;
mod limits;
mod listing;
mod parse;
mod ports;
pub mod runtime;
mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use cluster::{ClusterConfig, QuorumConfig, Seed};
pub use environment::Environment;
pub use limits::ConfigLimits;
pub use ports::Ports;
pub use runtime::{LogLevel, OutputLimit, RuntimeConfig};
pub use source::{ConfigError, Origin, Raw, Sources};

use limits::ConfigLimits as Limits;

/// What an acknowledged write is guaranteed to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A reply means the write is on stable storage.
    Sync,
    /// Replies at once; on stable storage within [`Config::interval`].
    Interval,
    /// Values live in memory only.
    Memory,
}

/// What CLUSTER replies announce as a node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announce {
    /// Every core, with its own id and port: cluster clients land on the owning core.
    Core,
    /// The node as a whole, on the base port.
    Node,
    /// Nothing: the node calls itself standalone.
    Off,
}

/// A password; its debug form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Everything that was decided before the node starts. Sizes are bytes, of the whole node unless said otherwise.
#[derive(Debug, Clone)]
pub struct Config {
    /// Absolute path of the data directory.
    pub data: PathBuf,
    /// Where every client may connect; the other ports follow from it (see [`Ports`]).
    pub listen: SocketAddr,
    /// CPU number that each core is pinned to; the length is the number of cores, at least one.
    pub cores: Vec<usize>,
    /// What a reply promises.
    pub durability: Durability,
    /// Longest time until a write is durable with [`Durability::Interval`].
    pub interval: Duration,
    /// Cache of values.
    pub cache_bytes: u64,
    /// Limit of index, cache and buffers together.
    pub memory_limit_bytes: u64,
    /// Size of the hot log; `None` = chosen from the live bytes, see [`Config::hot_log_bytes_per_core`].
    pub hot_log_bytes: Option<u64>,
    /// Where health and metrics are served; `None` = nowhere.
    pub http: Option<SocketAddr>,
    /// Listening beyond loopback without a password is wanted.
    pub insecure: bool,
    /// Name or address that CLUSTER replies give; `None` = the address that the client reached.
    pub announce_host: Option<String>,
    /// What CLUSTER replies announce.
    pub announce: Announce,
    /// The cluster that the node belongs to; `None`: it is alone for ever.
    pub cluster: Option<ClusterConfig>,
    /// How many copies there are of a key, and how many have to answer.
    pub quorums: QuorumConfig,
    /// Partitions of the key space (Q); fixed when a cluster is founded.
    pub partitions: u32,
    /// How long a SIGTERM may take to drain.
    pub shutdown_timeout: Duration,
    /// How long an executor's task may run before it should yield.
    pub preempt_timer: Duration,
    /// Every core's executor has a synthetic background task that is always runnable, for measurements.
    pub background_load: bool,
    /// Start values of what may change while the node runs.
    pub runtime: RuntimeConfig,
    /// Where each key was given, for the listing; sorted by key.
    origins: Vec<(&'static str, Origin)>,
}

impl Config {
    /// Decides every key from `sources` (flags over file over default) and checks how they relate.
    pub fn build(sources: &Sources, environment: &Environment) -> Result<Self, ConfigError> {
        let cores = sources.get("cores", |raw| cores::parse(&raw.text()?, &environment.affinity))?;
        let cores = cores.unwrap_or_else(|| environment.affinity.clone());
        let listen = sources.get("listen", parse::address)?.unwrap_or(Limits::LISTEN);
        let memory_limit_bytes = sources.get("memory-limit", parse::bytes)?;
        let memory_limit_bytes = memory_limit_bytes.unwrap_or(environment.memory_share(Limits::MEMORY_LIMIT_PERCENT));
        let cache_bytes = sources.get("cache", parse::bytes)?.unwrap_or(memory_limit_bytes / Limits::CACHE_SHARE);
        let http = match sources.get("http", parse::address_or_off)? {
            Some(given) => given,
            None => ports::default_http(listen).map(Some).map_err(|text| sources.error("listen", text))?,
        };
        let durability = sources.get("durability", parse::durability)?.unwrap_or(Durability::Sync);
        let config = Self {
            data: sources
                .get("data", parse::path)?
                .map_or_else(|| parse::absolute(Limits::DATA), Ok)
                .map_err(|text| ConfigError::new("data", Origin::Default, text))?,
            listen,
            cores,
            durability,
            interval: sources.get("interval", parse::duration)?.unwrap_or(Limits::INTERVAL),
            cache_bytes,
            memory_limit_bytes,
            hot_log_bytes: sources.get("hot-log-bytes", parse::bytes)?,
            http,
            insecure: sources.get("insecure", parse::boolean)?.unwrap_or(false),
            announce_host: sources.get("announce-host", parse::host)?,
            announce: sources.get("announce", parse::announce)?.unwrap_or(Announce::Core),
            cluster: ClusterConfig::build(sources, listen)?,
            quorums: QuorumConfig::build(sources, durability)?,
            partitions: sources.get("partitions", parse::count)?.unwrap_or(Limits::PARTITIONS),
            shutdown_timeout: sources.get("shutdown-timeout", parse::duration)?.unwrap_or(Limits::SHUTDOWN_TIMEOUT),
            background_load: sources.get("background-load", parse::boolean)?.unwrap_or(false),
            preempt_timer: sources.get("preempt-timer", parse::duration)?.unwrap_or(Limits::PREEMPT_TIMER),
            runtime: RuntimeConfig::build(sources)?,
            origins: keys::KEYS.iter().map(|key| (key.name, sources.origin(key.name))).collect(),
        };
        config.validate(sources)?;
        Ok(config)
    }

    /// The number of cores; asserted to fit the partition table's type.
    pub fn core_count(&self) -> u16 {
        u16::try_from(self.cores.len()).expect("validated: at most CORES_MAX cores")
    }

    /// The ports of this node.
    pub fn ports(&self) -> Ports {
        self.try_ports().expect("validated when built")
    }

    fn try_ports(&self) -> Result<Ports, ports::PortConflict> {
        let peers = self.cluster.as_ref().map(|cluster| cluster.peer_listen);
        Ports::new(self.listen, self.core_count(), self.http, peers)
    }

    /// Size of one core's hot log when the node holds `live_bytes`: what was configured, else 5 % of the live bytes but at
    /// least 256 MiB a node, and in any case between the smallest and the largest size of a core's log.
    pub fn hot_log_bytes_per_core(&self, live_bytes: u64) -> u64 {
        let node = self.hot_log_bytes.unwrap_or(Limits::HOT_LOG_BYTES_MIN_AUTO.max(live_bytes / 20));
        (node / self.cores.len() as u64).clamp(Limits::HOT_LOG_CORE_BYTES_MIN, Limits::HOT_LOG_CORE_BYTES_MAX)
    }

    /// True when only this machine can reach the client ports.
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.listen.ip())
    }

    /// Logs the effective configuration, one line a section, each value that was not a default marked by where it is from.
    pub fn log(&self) {
        for (section, text) in listing::sections(self) {
            tracing::info!(target: "annulus::config", "configuration [{section}] {text}");
        }
    }

    /// Every key as (name, value as it would be written, origin), in the order of the documentation. A password is hidden.
    pub fn listing(&self) -> Vec<(&'static str, String, Origin)> {
        listing::entries(self)
    }

    fn validate(&self, sources: &Sources) -> Result<(), ConfigError> {
        self.validate_sizes(sources)?;
        let within = |key: &'static str, value: Duration, low: Duration, high: Duration| {
            let text = || format!("{value:?} is outside {low:?} to {high:?}");
            if (low..=high).contains(&value) { Ok(()) } else { Err(sources.error(key, text())) }
        };
        within("interval", self.interval, Limits::INTERVAL_MIN, Limits::INTERVAL_MAX)?;
        within("shutdown-timeout", self.shutdown_timeout, Limits::SHUTDOWN_MIN, Limits::SHUTDOWN_MAX)?;
        within("preempt-timer", self.preempt_timer, Limits::PREEMPT_MIN, Limits::PREEMPT_MAX)?;
        if !self.partitions.is_power_of_two() || self.partitions > Limits::PARTITIONS_MAX {
            let text = format!("{} is not a power of two up to {}", self.partitions, Limits::PARTITIONS_MAX);
            return Err(sources.error("partitions", text));
        }
        if self.cores.len() > Limits::CORES_MAX.min(self.partitions as usize) {
            let text = format!(
                "{} cores are more than {} or than the {} partitions",
                self.cores.len(),
                Limits::CORES_MAX,
                self.partitions
            );
            return Err(sources.error("cores", text));
        }
        self.try_ports().map_err(|conflict| sources.error(conflict.key, conflict.text))?;
        if !self.is_loopback() && self.runtime.requirepass.is_none() && !self.insecure {
            let text = format!(
                "{} can be reached from other machines and no password is set. Set `requirepass` in the configuration \
                 file, or listen on {}:{}, or pass --insecure if the network itself keeps strangers out",
                self.listen,
                Ipv4Addr::LOCALHOST,
                self.listen.port()
            );
            return Err(sources.error("listen", text));
        }
        if let Some(cluster) = &self.cluster {
            cluster.validate_host(self.announce_host.as_deref()).map_err(|text| sources.error("peer-listen", text))?;
        }
        Ok(())
    }

    fn validate_sizes(&self, sources: &Sources) -> Result<(), ConfigError> {
        let cores = self.cores.len() as u64;
        let size = |bytes: u64| parse::format_bytes(bytes);
        let least = cores * Limits::MEMORY_CORE_BYTES_MIN;
        if self.memory_limit_bytes < least {
            let text =
                format!("{} is below {}, the least for {cores} cores", size(self.memory_limit_bytes), size(least));
            return Err(sources.error("memory-limit", text));
        }
        if self.cache_bytes > self.memory_limit_bytes / 2 {
            let text = format!(
                "{} is more than half of memory-limit ({}): index and buffers need the rest",
                size(self.cache_bytes),
                size(self.memory_limit_bytes)
            );
            return Err(sources.error("cache", text));
        }
        if let Some(bytes) = self.hot_log_bytes {
            let low = cores * Limits::HOT_LOG_CORE_BYTES_MIN;
            let high = cores * Limits::HOT_LOG_CORE_BYTES_MAX;
            if !(low..=high).contains(&bytes) {
                let text = format!("{} is outside {} to {} for {cores} cores", size(bytes), size(low), size(high));
                return Err(sources.error("hot-log-bytes", text));
            }
        }
        self.runtime.validate().map_err(|(key, text)| sources.error(key, text))
    }
}

impl Password {
    /// Takes a password that is not empty.
    pub fn new(text: String) -> Self {
        assert!(!text.is_empty(), "an empty password means none");
        Self(text)
    }

    /// True when `given` is this password; the time it takes depends on the lengths only.
    pub fn matches(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let mut difference = own.len() ^ given.len();
        for (index, byte) in given.iter().enumerate() {
            difference |= usize::from(byte ^ own[index % own.len()]);
        }
        difference == 0
    }

    /// The password itself, for CONFIG GET.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(set)")
    }
}

impl Durability {
    /// As written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Interval => "interval",
            Self::Memory => "memory",
        }
    }
}

impl Announce {
    /// As written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Node => "node",
            Self::Off => "off",
        }
    }
}

/// True for addresses that only this machine can reach, IPv4 in IPv6 included.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
