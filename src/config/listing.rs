//! The effective configuration as text: what the node prints at start.

use super::keys::KEYS;
use super::{ClusterConfig, Config, Origin, cores, parse};

/// One line a section: (section, `key=value …`); values that were given are marked with their origin.
pub(super) fn sections(config: &Config) -> Vec<(&'static str, String)> {
    let mut sections: Vec<(&'static str, String)> = Vec::new();
    for (key, (name, value, origin)) in KEYS.iter().zip(entries(config)) {
        let mark = if origin == Origin::Default { String::new() } else { format!(" ({origin})") };
        let text = format!("{name}={value}{mark}");
        match sections.last_mut() {
            Some((section, line)) if *section == key.section => {
                line.push(' ');
                line.push_str(&text);
            }
            _ => sections.push((key.section, text)),
        }
    }
    sections
}

/// Every key with its value as it would be written in the file and its origin.
pub(super) fn entries(config: &Config) -> Vec<(&'static str, String, Origin)> {
    assert_eq!(config.origins.len(), KEYS.len());
    config.origins.iter().map(|(name, origin)| (*name, value(config, name), origin.clone())).collect()
}

fn value(config: &Config, key: &str) -> String {
    let runtime = &config.runtime;
    match key {
        "data" => config.data.display().to_string(),
        "durability" => config.durability.name().to_owned(),
        "interval" => parse::format_duration(config.interval),
        "hot-log-bytes" => config.hot_log_bytes.map_or_else(|| "auto".to_owned(), parse::format_bytes),
        "partitions" => config.partitions.to_string(),
        "memory-limit" => parse::format_bytes(config.memory_limit_bytes),
        "cache" => parse::format_bytes(config.cache_bytes),
        "listen" => config.listen.to_string(),
        "http" => config.http.map_or_else(|| "off".to_owned(), |address| address.to_string()),
        "insecure" => config.insecure.to_string(),
        "requirepass" => if runtime.requirepass.is_some() { "(set)" } else { "(none)" }.to_owned(),
        "announce" => config.announce.name().to_owned(),
        "announce-host" => config.announce_host.clone().unwrap_or_else(|| "(as reached)".to_owned()),
        "copies" => config.quorums.copies.to_string(),
        "read-quorum" => config.quorums.read.to_string(),
        "write-quorum" => config.quorums.write.to_string(),
        "durable-quorum" => config.quorums.durable.to_string(),
        "deadline" => parse::format_duration(config.quorums.deadline),
        "cluster" | "secret-file" | "seeds" | "found" | "zone" | "peer-listen" | "peer-announce" => {
            config.cluster.as_ref().map_or_else(|| "(none)".to_owned(), |cluster| of_cluster(cluster, key))
        }
        "maxclients" => runtime.maxclients.to_string(),
        "timeout" => runtime.timeout_s.to_string(),
        "tcp-keepalive" => runtime.tcp_keepalive_s.to_string(),
        "proto-max-bulk-len" => parse::format_bytes(runtime.bulk_bytes_max),
        "client-output-buffer-limit" => {
            let limit = runtime.output_limit;
            let (hard, soft) = (parse::format_bytes(limit.hard_bytes), parse::format_bytes(limit.soft_bytes));
            format!("\"{hard} {soft} {}\"", limit.soft_seconds)
        }
        "relaxed-commands" => runtime.relaxed_commands.to_string(),
        "cores" => cores::format(&config.cores),
        "background-load" => config.background_load.to_string(),
        "preempt-timer" => parse::format_duration(config.preempt_timer),
        "shutdown-timeout" => parse::format_duration(config.shutdown_timeout),
        "log-level" => runtime.log_level.name().to_owned(),
        "slowlog-log-slower-than" => runtime.slowlog_slower_than_us.to_string(),
        "slowlog-max-len" => runtime.slowlog_entries_max.to_string(),
        "latency-tracking" => runtime.latency_tracking.to_string(),
        other => unreachable!("every key of the table has a value: {other}"),
    }
}

fn of_cluster(cluster: &ClusterConfig, key: &str) -> String {
    match key {
        "cluster" => cluster.name.clone(),
        "secret-file" => cluster.secret_file.display().to_string(),
        "seeds" if cluster.seeds.is_empty() => "(none)".to_owned(),
        "seeds" => cluster.seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        "found" => cluster.found.map_or_else(|| "(none)".to_owned(), |count| count.to_string()),
        "zone" => cluster.zone.map_or_else(|| "(none)".to_owned(), |zone| zone.name().to_owned()),
        "peer-listen" => cluster.peer_listen.to_string(),
        "peer-announce" => match &cluster.peer_announce {
            Some(to) => format!("{}:{}", to.host, to.port),
            None => "(none)".to_owned(),
        },
        other => unreachable!("no key of the cluster's: {other}"),
    }
}
