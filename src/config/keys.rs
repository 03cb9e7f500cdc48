//! The table of keys: every key of the configuration file once, with its section of the listing and its flag.

/// One key of the configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// As written in the file.
    pub(super) name: &'static str,
    /// Under which heading it is printed.
    pub(super) section: &'static str,
    /// In the file it may be an array, of which a flag takes the elements with commas between them.
    pub(super) is_list: bool,
}

const fn key(section: &'static str, name: &'static str) -> Key {
    Key { name, section, is_list: false }
}

const fn list(section: &'static str, name: &'static str) -> Key {
    Key { name, section, is_list: true }
}

/// Every key, in the order in which the listing prints them; sections are contiguous.
pub(super) const KEYS: &[Key] = &[
    key("storage", "data"),
    key("storage", "durability"),
    key("storage", "interval"),
    key("storage", "hot-log-bytes"),
    key("storage", "partitions"),
    key("memory", "memory-limit"),
    key("memory", "cache"),
    key("network", "listen"),
    key("network", "http"),
    key("network", "insecure"),
    key("network", "requirepass"),
    key("network", "announce"),
    key("network", "announce-host"),
    key("cluster", "cluster"),
    key("cluster", "secret-file"),
    list("cluster", "seeds"),
    key("cluster", "found"),
    key("cluster", "zone"),
    key("cluster", "peer-listen"),
    key("cluster", "peer-announce"),
    key("cluster", "copies"),
    key("cluster", "read-quorum"),
    key("cluster", "write-quorum"),
    key("cluster", "durable-quorum"),
    key("cluster", "deadline"),
    key("clients", "maxclients"),
    key("clients", "timeout"),
    key("clients", "tcp-keepalive"),
    key("clients", "proto-max-bulk-len"),
    key("clients", "client-output-buffer-limit"),
    key("clients", "relaxed-commands"),
    key("cores", "cores"),
    key("cores", "preempt-timer"),
    key("cores", "background-load"),
    key("cores", "shutdown-timeout"),
    key("observability", "log-level"),
    key("observability", "slowlog-log-slower-than"),
    key("observability", "slowlog-max-len"),
    key("observability", "latency-tracking"),
];

/// The key of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key that is meant by a misspelt name, if one is close.
pub(super) fn similar(name: &str) -> Option<&'static str> {
    let name = name.replace('_', "-").to_ascii_lowercase();
    let closest = KEYS.iter().map(|key| (distance(&name, key.name), key.name)).min();
    closest.filter(|(distance, _)| *distance <= 2).map(|(_, name)| name)
}

/// Insertions, deletions and replacements between two short names.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<u8> = right.bytes().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, byte) in left.bytes().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for column in 0..right.len() {
            let replaced = diagonal + usize::from(byte != right[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}
