//! CONFIG GET and CONFIG SET: the parameters by Redis' names, each with how it is read and how, or why not, it is set.
//!
//! Pure: [`set`] gives a new [`RuntimeConfig`] or an error text, all or nothing; handing it to the cores is the caller's.

use super::super::limits::ConfigLimits as Limits;
use super::super::{Announce, Config, Durability, Password, parse};
use super::{LogLevel, OutputLimit, RuntimeConfig};

/// How a parameter can be changed.
#[derive(Clone, Copy)]
enum Change {
    /// At any time, by this function: value in, change or Redis' text out.
    Hot(fn(&mut RuntimeConfig, &str) -> Result<(), String>),
    /// Only to what it is already; the text says what to do instead.
    Fixed(&'static str),
    /// Never while running.
    Immutable,
}

struct Parameter {
    name: &'static str,
    get: fn(&Config, &RuntimeConfig) -> String,
    change: Change,
}

const RESTART: &str = "is fixed while the node runs: change the configuration and restart";

/// Every parameter, sorted by name.
const PARAMETERS: &[Parameter] = &[
    fixed("announce", |config, _| config.announce.name().to_owned(), RESTART),
    fixed("announce-host", |config, _| config.announce_host.clone().unwrap_or_default(), RESTART),
    fixed(
        "appendfsync",
        |config, _| appendfsync(config).to_owned(),
        "follows `durability`, which is fixed while the node runs",
    ),
    fixed(
        "appendonly",
        |config, _| yes_no(config.durability != Durability::Memory),
        "follows `durability`, which is fixed while the node runs",
    ),
    fixed("bind", |config, _| config.listen.ip().to_string(), RESTART),
    fixed("cache", |config, _| config.cache_bytes.to_string(), RESTART),
    hot("client-output-buffer-limit", |_, runtime| output_limit_text(runtime.output_limit), set_output_limit),
    immutable("cluster-enabled", |config, _| yes_no(config.announce != Announce::Off)),
    immutable("databases", |_, _| "1".to_owned()),
    immutable("dir", |config, _| config.data.display().to_string()),
    fixed("durability", |config, _| config.durability.name().to_owned(), RESTART),
    fixed("hot-log-bytes", |config, _| config.hot_log_bytes.unwrap_or(0).to_string(), RESTART),
    fixed("interval", |config, _| parse::format_duration(config.interval), RESTART),
    immutable("io-threads", |config, _| config.core_count().to_string()),
    hot(
        "latency-tracking",
        |_, runtime| yes_no(runtime.latency_tracking),
        |runtime, value| read_yes_no(value).map(|value| runtime.latency_tracking = value),
    ),
    hot("loglevel", |_, runtime| runtime.log_level.redis_name().to_owned(), set_log_level),
    hot("maxclients", |_, runtime| runtime.maxclients.to_string(), set_maxclients),
    fixed(
        "maxmemory",
        |config, _| config.memory_limit_bytes.to_string(),
        "follows `memory-limit`, which is fixed while the node runs",
    ),
    fixed(
        "maxmemory-policy",
        |_, _| "noeviction".to_owned(),
        "nothing is ever evicted here; above the limit new keys are refused",
    ),
    immutable("partitions", |config, _| config.partitions.to_string()),
    immutable("port", |config, _| config.listen.port().to_string()),
    hot(
        "proto-max-bulk-len",
        |_, runtime| runtime.bulk_bytes_max.to_string(),
        |runtime, value| {
            read_memory(value, Limits::BULK_BYTES_MIN, Limits::BULK_BYTES_MAX)
                .map(|value| runtime.bulk_bytes_max = value)
        },
    ),
    hot(
        "relaxed-commands",
        |_, runtime| yes_no(runtime.relaxed_commands),
        |runtime, value| read_yes_no(value).map(|value| runtime.relaxed_commands = value),
    ),
    hot("requirepass", |_, runtime| password_text(runtime), set_password),
    fixed("save", |_, _| String::new(), "there are no snapshots by time: the log itself is the data"),
    hot(
        "slowlog-log-slower-than",
        |_, runtime| runtime.slowlog_slower_than_us.to_string(),
        |runtime, value| read_integer(value, -1, i64::MAX).map(|value| runtime.slowlog_slower_than_us = value),
    ),
    hot(
        "slowlog-max-len",
        |_, runtime| runtime.slowlog_entries_max.to_string(),
        |runtime, value| {
            read_count(value, 0, Limits::SLOWLOG_ENTRIES_MAX).map(|value| runtime.slowlog_entries_max = value)
        },
    ),
    hot(
        "tcp-keepalive",
        |_, runtime| runtime.tcp_keepalive_s.to_string(),
        |runtime, value| read_count(value, 0, Limits::SECONDS_MAX).map(|value| runtime.tcp_keepalive_s = value),
    ),
    hot(
        "timeout",
        |_, runtime| runtime.timeout_s.to_string(),
        |runtime, value| read_count(value, 0, Limits::SECONDS_MAX).map(|value| runtime.timeout_s = value),
    ),
];

type Get = fn(&Config, &RuntimeConfig) -> String;

const fn hot(name: &'static str, get: Get, set: fn(&mut RuntimeConfig, &str) -> Result<(), String>) -> Parameter {
    Parameter { name, get, change: Change::Hot(set) }
}

const fn fixed(name: &'static str, get: Get, why: &'static str) -> Parameter {
    Parameter { name, get, change: Change::Fixed(why) }
}

const fn immutable(name: &'static str, get: Get) -> Parameter {
    Parameter { name, get, change: Change::Immutable }
}

/// The parameters whose lower-case names `matches`, as (name, value), sorted by name. CONFIG GET passes a function that
/// tries every pattern it was given.
pub fn get(
    config: &Config,
    runtime: &RuntimeConfig,
    matches: impl Fn(&'static str) -> bool,
) -> Vec<(&'static str, String)> {
    let chosen = PARAMETERS.iter().filter(|parameter| matches(parameter.name));
    chosen.map(|parameter| (parameter.name, (parameter.get)(config, runtime))).collect()
}

/// True when CONFIG SET of `name` can take effect while the node runs.
pub fn is_hot(name: &str) -> bool {
    find(name).is_some_and(|parameter| matches!(parameter.change, Change::Hot(_)))
}

/// Sets all `pairs`, or none: the new values, or the whole error reply without its leading dash.
pub fn set(config: &Config, runtime: &RuntimeConfig, pairs: &[(&[u8], &[u8])]) -> Result<RuntimeConfig, String> {
    let mut changed = runtime.clone();
    let mut seen: Vec<&'static str> = Vec::with_capacity(pairs.len().min(PARAMETERS.len()));
    for (name, value) in pairs {
        let shown = String::from_utf8_lossy(name);
        let Some(parameter) = find(&shown) else {
            return Err(format!("ERR Unknown option or number of arguments for CONFIG SET - '{}'", clip(&shown)));
        };
        let failed =
            |why: &str| format!("ERR CONFIG SET failed (possibly related to argument '{}') - {why}", parameter.name);
        if seen.contains(&parameter.name) {
            return Err(failed("duplicate parameter"));
        }
        seen.push(parameter.name);
        let value = std::str::from_utf8(value).map_err(|_| failed("argument is not valid UTF-8"))?;
        match parameter.change {
            Change::Hot(set) => set(&mut changed, value).map_err(|why| failed(&why))?,
            Change::Fixed(_) if (parameter.get)(config, runtime).eq_ignore_ascii_case(value) => {}
            Change::Fixed(why) => return Err(failed(why)),
            Change::Immutable => return Err(failed("can't set immutable config")),
        }
    }
    let relation = |(key, why): (&'static str, String)| {
        format!("ERR CONFIG SET failed (possibly related to argument '{key}') - {why}")
    };
    changed.validate().map_err(relation)?;
    if changed.requirepass.is_none() && !config.is_loopback() && !config.insecure {
        let why = "other machines can reach this node: it keeps a password unless started with --insecure";
        return Err(relation(("requirepass", why.to_owned())));
    }
    Ok(changed)
}

fn find(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name))
}

/// Keeps an error reply short whatever a client sends.
fn clip(text: &str) -> String {
    text.chars().take(128).collect()
}

fn appendfsync(config: &Config) -> &'static str {
    match config.durability {
        Durability::Sync => "always",
        Durability::Interval => "everysec",
        Durability::Memory => "no",
    }
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn read_yes_no(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".to_owned()),
    }
}

fn read_integer(value: &str, low: i64, high: i64) -> Result<i64, String> {
    let integer: i64 = value.parse().map_err(|_| "argument couldn't be parsed into an integer".to_owned())?;
    if (low..=high).contains(&integer) {
        return Ok(integer);
    }
    Err(format!("argument must be between {low} and {high} inclusive"))
}

fn read_count(value: &str, low: u32, high: u32) -> Result<u32, String> {
    let integer = read_integer(value, low.into(), high.into())?;
    Ok(u32::try_from(integer).expect("within 32-bit bounds"))
}

fn read_memory(value: &str, low: u64, high: u64) -> Result<u64, String> {
    let bytes = parse::bytes_text(value).ok_or_else(|| "argument must be a memory value".to_owned())?;
    match (low..=high).contains(&bytes) {
        true => Ok(bytes),
        false => Err(format!("argument must be between {low} and {high} inclusive")),
    }
}

fn set_maxclients(runtime: &mut RuntimeConfig, value: &str) -> Result<(), String> {
    let wanted = read_count(value, 1, Limits::MAXCLIENTS_MAX)?;
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let possible = descriptors.saturating_sub(Limits::DESCRIPTORS_RESERVED);
    // The number in force was accepted before, whatever the limit.
    if wanted > runtime.maxclients && u64::from(wanted) > possible {
        return Err(format!(
            "The operating system is not able to handle the specified number of clients, try with {possible}"
        ));
    }
    runtime.maxclients = wanted;
    Ok(())
}

fn set_password(runtime: &mut RuntimeConfig, value: &str) -> Result<(), String> {
    if value.len() > Limits::PASSWORD_BYTES_MAX {
        return Err(format!("a password has at most {} bytes", Limits::PASSWORD_BYTES_MAX));
    }
    runtime.requirepass = Some(value.to_owned()).filter(|text| !text.is_empty()).map(Password::new);
    Ok(())
}

fn password_text(runtime: &RuntimeConfig) -> String {
    runtime.requirepass.as_ref().map_or_else(String::new, |password| password.reveal().to_owned())
}

fn set_log_level(runtime: &mut RuntimeConfig, value: &str) -> Result<(), String> {
    let wanted = value.to_ascii_lowercase();
    let named = |level: &LogLevel| level.redis_name() == wanted;
    // `debug` means the most there is, as in Redis; our own names are understood too.
    let found = LogLevel::ALL
        .into_iter()
        .find(named)
        .or_else(|| LogLevel::ALL.into_iter().find(|level| level.name() == wanted));
    runtime.log_level = found.ok_or_else(|| {
        "argument(s) must be one of the following: debug, verbose, notice, warning, nothing".to_owned()
    })?;
    Ok(())
}

fn output_limit_text(limit: OutputLimit) -> String {
    format!("normal {} {} {} slave 0 0 0 pubsub 0 0 0", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
}

/// Groups of `CLASS HARD SOFT SECONDS`; replicas and subscribers do not exist here, so their limits are read and dropped.
fn set_output_limit(runtime: &mut RuntimeConfig, value: &str) -> Result<(), String> {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    let (groups, rest) = words.as_chunks::<4>();
    if groups.is_empty() || !rest.is_empty() {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    for [class, hard, soft, seconds] in groups {
        let limit = OutputLimit::parse(&format!("{hard} {soft} {seconds}"));
        let limit = limit
            .ok_or_else(|| "Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned())?;
        match class.to_ascii_lowercase().as_str() {
            "normal" => runtime.output_limit = limit,
            "slave" | "replica" | "pubsub" => {}
            _ => return Err("Invalid client class specified in buffer limit configuration.".to_owned()),
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) fn names() -> Vec<&'static str> {
    PARAMETERS.iter().map(|parameter| parameter.name).collect()
}
