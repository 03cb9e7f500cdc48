//! Values from text: sizes, durations, addresses, names. Pure but for the resolution of host names and of relative paths.
//!
//! Errors are sentences about the value; the caller adds key and place.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::runtime::{LogLevel, OutputLimit};
use super::source::Raw;
use super::{Announce, Durability};

/// A size: a plain number of bytes, or with a suffix `k`, `kb`, `kib`, `m` … `t` (all powers of 1024).
pub(super) fn bytes(raw: &Raw) -> Result<u64, String> {
    let text = raw.text()?;
    bytes_text(&text).ok_or_else(|| format!("`{text}` is not a size; write for example 64mb, 2gb or 1048576"))
}

/// The number of bytes that `text` names, `None` when it names none or overflows.
pub(super) fn bytes_text(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// A size in the largest unit that gives it exactly; [`bytes_text`] reads it back.
pub(super) fn format_bytes(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let exact = units.iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    exact.map_or_else(|| format!("{bytes}B"), |(shift, suffix)| format!("{}{suffix}", bytes >> shift))
}

/// A duration with its unit: `250us`, `100ms`, `10s`, `5m`.
pub(super) fn duration(raw: &Raw) -> Result<Duration, String> {
    let text = raw.text()?;
    let refusal = || format!("`{text}` is not a duration; write a number and us, ms, s or m, for example 100ms");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| refusal())?;
    match text[digits..].trim() {
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or_else(refusal),
        _ => Err(refusal()),
    }
}

/// A duration in the form that [`duration`] reads.
pub(super) fn format_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        _ if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        _ if micros.is_multiple_of(1000) => format!("{}ms", micros / 1000),
        _ => format!("{micros}us"),
    }
}

/// A whole number from 0 to 4294967295.
pub(super) fn count(raw: &Raw) -> Result<u32, String> {
    let text = raw.text()?;
    text.parse().map_err(|_| format!("`{text}` is not a whole number from 0 to {}", u32::MAX))
}

/// A whole number with sign.
pub(super) fn integer(raw: &Raw) -> Result<i64, String> {
    let text = raw.text()?;
    text.parse().map_err(|_| format!("`{text}` is not a whole number"))
}

/// A boolean: true, false, yes or no.
pub(super) fn boolean(raw: &Raw) -> Result<bool, String> {
    match raw {
        Raw::Boolean(value) => Ok(*value),
        Raw::Text(text) if text == "yes" || text == "true" => Ok(true),
        Raw::Text(text) if text == "no" || text == "false" => Ok(false),
        other => Err(format!("`{}` is not true or false", other.text()?)),
    }
}

/// HOST:PORT, where the host is an address or a name that resolves; the first address counts.
pub(super) fn address(raw: &Raw) -> Result<SocketAddr, String> {
    let text = raw.text()?;
    let refusal = |why: &str| format!("`{text}` is not HOST:PORT, for example 127.0.0.1:7379 or [::1]:7379{why}");
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(refusal(""));
    };
    let port: u16 = port.parse().map_err(|_| refusal(": the port is a number from 1 to 65535"))?;
    if port == 0 {
        return Err(refusal(": port 0 would leave the ports of the cores undetermined"));
    }
    if host.is_empty() {
        return Err(refusal(": the host is missing; 0.0.0.0 means every address"));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let mut addresses = text.to_socket_addrs().map_err(|error| refusal(&format!(": {error}")))?;
    let preferred = addresses.next().ok_or_else(|| refusal(": the name has no address"))?;
    assert_eq!(preferred.port(), port);
    Ok(preferred)
}

/// HOST:PORT, or `off`.
pub(super) fn address_or_off(raw: &Raw) -> Result<Option<SocketAddr>, String> {
    match raw {
        Raw::Text(text) if text == "off" => Ok(None),
        _ => address(raw).map(Some).map_err(|text| format!("{text}, or off")),
    }
}

/// A host name or address that clients can be given.
pub(super) fn host(raw: &Raw) -> Result<String, String> {
    let text = raw.text()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if text.is_empty() || text.len() > 253 || !text.bytes().all(plain) {
        return Err(format!("`{text}` is not a host name or address"));
    }
    if text.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified()) {
        return Err(format!("`{text}` is a wildcard: clients could not connect to it"));
    }
    Ok(text)
}

/// A path, made absolute.
pub(super) fn path(raw: &Raw) -> Result<PathBuf, String> {
    absolute(&raw.text()?)
}

/// Makes a path absolute without touching the file system.
pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("the path is empty or holds a zero byte".to_owned());
    }
    std::path::absolute(Path::new(text)).map_err(|error| format!("`{text}` cannot be made absolute: {error}"))
}

/// sync, interval or memory.
pub(super) fn durability(raw: &Raw) -> Result<Durability, String> {
    one_of(raw, &[Durability::Sync, Durability::Interval, Durability::Memory], Durability::name)
}

/// core, node or off.
pub(super) fn announce(raw: &Raw) -> Result<Announce, String> {
    one_of(raw, &[Announce::Core, Announce::Node, Announce::Off], Announce::name)
}

/// error, warn, info, debug or trace.
pub(super) fn log_level(raw: &Raw) -> Result<LogLevel, String> {
    one_of(raw, &LogLevel::ALL, LogLevel::name)
}

/// `HARD`, or `HARD SOFT SECONDS`: sizes and a number of seconds.
pub(super) fn output_limit(raw: &Raw) -> Result<OutputLimit, String> {
    let text = raw.text()?;
    OutputLimit::parse(&text).ok_or_else(|| format!("`{text}` is not HARD SOFT SECONDS, for example 256mb 64mb 60"))
}

fn one_of<T: Copy>(raw: &Raw, values: &[T], name: impl Fn(T) -> &'static str) -> Result<T, String> {
    let text = raw.text()?;
    let found = values.iter().copied().find(|value| name(*value) == text);
    let names: Vec<&str> = values.iter().map(|value| name(*value)).collect();
    found.ok_or_else(|| format!("`{text}` is not one of {}", names.join(", ")))
}
