//! What may change while the node runs: a small plain copy that every core holds, and its parameters by Redis' names.
//!
//! Changing it here changes nothing by itself: whoever serves CONFIG SET hands the new copy to the cores. [`parameters`]
//! says which names exist, which of them can be set, and why others cannot.

pub mod parameters;
#[cfg(test)]
mod tests;

use super::Password;
use super::limits::ConfigLimits as Limits;
use super::parse;
use super::source::{ConfigError, Raw, Sources};

/// Values that may change while the node runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// What clients must give to AUTH; `None` = nothing.
    pub requirepass: Option<Password>,
    /// Clients connected at once, of the whole node.
    pub maxclients: u32,
    /// Seconds after which an idle client is disconnected; 0 = never.
    pub timeout_s: u32,
    /// Seconds between keep-alive probes; 0 = none.
    pub tcp_keepalive_s: u32,
    /// Longest bulk string that is accepted, in bytes.
    pub bulk_bytes_max: u64,
    /// When a client that does not read is disconnected.
    pub output_limit: OutputLimit,
    /// Commands that answer with a value and replace it are served although a key has several copies: as two steps.
    pub relaxed_commands: bool,
    /// Commands that took at least this many microseconds are kept in the slow log; below 0 = none.
    pub slowlog_slower_than_us: i64,
    /// Entries of the slow log.
    pub slowlog_entries_max: u32,
    /// Latency of every command is measured.
    pub latency_tracking: bool,
    /// What is logged.
    pub log_level: LogLevel,
}

/// When a client that does not read its replies is disconnected: at once above `hard_bytes` waiting for it, or after
/// `soft_seconds` above `soft_bytes` (0 = no soft limit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimit {
    /// Disconnected at once above it.
    pub hard_bytes: u64,
    /// Disconnected when above it for `soft_seconds`; 0 = never.
    pub soft_bytes: u64,
    /// See `soft_bytes`.
    pub soft_seconds: u32,
}

/// The least severity that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what needs somebody.
    Error,
    /// And what may need somebody.
    Warn,
    /// And what the node does.
    Info,
    /// And why.
    Debug,
    /// And every step.
    Trace,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            requirepass: None,
            maxclients: Limits::MAXCLIENTS,
            timeout_s: 0,
            tcp_keepalive_s: Limits::TCP_KEEPALIVE_S,
            bulk_bytes_max: Limits::BULK_BYTES,
            output_limit: OutputLimit {
                hard_bytes: Limits::OUTPUT_HARD_BYTES,
                soft_bytes: Limits::OUTPUT_SOFT_BYTES,
                soft_seconds: Limits::OUTPUT_SOFT_SECONDS,
            },
            relaxed_commands: false,
            slowlog_slower_than_us: Limits::SLOWLOG_US,
            slowlog_entries_max: Limits::SLOWLOG_ENTRIES,
            latency_tracking: true,
            log_level: LogLevel::Info,
        }
    }
}

impl RuntimeConfig {
    pub(super) fn build(sources: &Sources) -> Result<Self, ConfigError> {
        let default = Self::default();
        let requirepass = sources.get("requirepass", |raw| match raw {
            Raw::Text(text) if text.len() > Limits::PASSWORD_BYTES_MAX => {
                Err(format!("longer than {} bytes", Limits::PASSWORD_BYTES_MAX))
            }
            Raw::Text(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty()).map(Password::new)),
            _ => Err("the password must be a string in quotes".to_owned()),
        })?;
        Ok(Self {
            requirepass: requirepass.flatten(),
            maxclients: sources.get("maxclients", parse::count)?.unwrap_or(default.maxclients),
            timeout_s: sources.get("timeout", parse::count)?.unwrap_or(default.timeout_s),
            tcp_keepalive_s: sources.get("tcp-keepalive", parse::count)?.unwrap_or(default.tcp_keepalive_s),
            bulk_bytes_max: sources.get("proto-max-bulk-len", parse::bytes)?.unwrap_or(default.bulk_bytes_max),
            output_limit: sources
                .get("client-output-buffer-limit", parse::output_limit)?
                .unwrap_or(default.output_limit),
            relaxed_commands: sources.get("relaxed-commands", parse::boolean)?.unwrap_or(default.relaxed_commands),
            slowlog_slower_than_us: sources
                .get("slowlog-log-slower-than", parse::integer)?
                .unwrap_or(default.slowlog_slower_than_us),
            slowlog_entries_max: sources.get("slowlog-max-len", parse::count)?.unwrap_or(default.slowlog_entries_max),
            latency_tracking: sources.get("latency-tracking", parse::boolean)?.unwrap_or(default.latency_tracking),
            log_level: sources.get("log-level", parse::log_level)?.unwrap_or(default.log_level),
        })
    }

    /// Checks the ranges; an error names the configuration key and what is wrong.
    pub(super) fn validate(&self) -> Result<(), (&'static str, String)> {
        let within = |key: &'static str, value: u64, low: u64, high: u64| match (low..=high).contains(&value) {
            true => Ok(()),
            false => Err((key, format!("{value} is outside {low} to {high}"))),
        };
        within("maxclients", self.maxclients.into(), 1, Limits::MAXCLIENTS_MAX.into())?;
        within("timeout", self.timeout_s.into(), 0, Limits::SECONDS_MAX.into())?;
        within("tcp-keepalive", self.tcp_keepalive_s.into(), 0, Limits::SECONDS_MAX.into())?;
        within("proto-max-bulk-len", self.bulk_bytes_max, Limits::BULK_BYTES_MIN, Limits::BULK_BYTES_MAX)?;
        within("slowlog-max-len", self.slowlog_entries_max.into(), 0, Limits::SLOWLOG_ENTRIES_MAX.into())?;
        if self.slowlog_slower_than_us < -1 {
            return Err(("slowlog-log-slower-than", "microseconds, or -1 for none".to_owned()));
        }
        let output = self.output_limit;
        // A client that asked for one value must be able to get it.
        let least = 2 * self.bulk_bytes_max;
        within("client-output-buffer-limit", output.hard_bytes, least, Limits::OUTPUT_BYTES_MAX)?;
        within("client-output-buffer-limit", output.soft_bytes, 0, output.hard_bytes)
    }
}

impl OutputLimit {
    /// Reads `HARD` or `HARD SOFT SECONDS`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let hard_bytes = parse::bytes_text(words.first()?)?;
        match words[1..] {
            [] => Some(Self { hard_bytes, soft_bytes: 0, soft_seconds: 0 }),
            [soft, seconds] => {
                Some(Self { hard_bytes, soft_bytes: parse::bytes_text(soft)?, soft_seconds: seconds.parse().ok()? })
            }
            _ => None,
        }
    }
}

impl LogLevel {
    /// All of them, the most severe first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// As written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// As Redis calls it.
    pub fn redis_name(self) -> &'static str {
        match self {
            Self::Error => "nothing",
            Self::Warn => "warning",
            Self::Info => "notice",
            Self::Debug => "verbose",
            Self::Trace => "debug",
        }
    }
}
