//! What a node counts, as its page of metrics tells it.
//!
//! Invariant: every read has a deadline; a counter that the page lacks is an error, never zero.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Longest page that is read.
const PAGE_BYTES_MAX: u64 = 4 << 20;
/// What all names begin with.
const PREFIX: &str = "annulus_";

/// All values, each summed over the cores, by their names without prefix and without `_total`.
#[derive(Debug, Clone, PartialEq)]
pub struct Page(BTreeMap<String, f64>);

impl Page {
    /// Asks the node that tells its metrics at this port.
    pub fn of(port: u16, deadline: Duration) -> Result<Page, String> {
        let text = fetch(port, deadline).map_err(|error| format!("metrics on port {port}: {error}"))?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or("the page of metrics has no end of its head")?;
        let status = head.lines().next().unwrap_or_default();
        if !status.contains(" 200 ") {
            return Err(format!("metrics on port {port}: {status}"));
        }
        Ok(Page::parse(body))
    }

    fn parse(body: &str) -> Page {
        let mut values = BTreeMap::new();
        for line in body.lines() {
            let Some((head, value)) = line.strip_prefix(PREFIX).and_then(|line| line.rsplit_once(' ')) else {
                continue;
            };
            let Ok(value) = value.parse::<f64>() else { continue };
            let name = head.split('{').next().unwrap_or_default();
            *values.entry(name.strip_suffix("_total").unwrap_or(name).to_string()).or_insert(0.0) += value;
        }
        Page(values)
    }

    /// One that is a whole number.
    pub fn count(&self, name: &str) -> Result<u64, String> {
        self.0.get(name).map(|value| *value as u64).ok_or_else(|| format!("the page of metrics has no {name}"))
    }
}

fn fetch(port: u16, deadline: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), deadline)?;
    stream.set_read_timeout(Some(deadline))?;
    stream.set_write_timeout(Some(deadline))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut text = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_summed_over_cores_and_known_by_their_whole_name() {
        let page = Page::parse(
            "# HELP annulus_link_sent_bytes_total Bytes\n# TYPE annulus_link_sent_bytes_total counter\n\
             annulus_link_sent_bytes_total{core=\"0\"} 40\nannulus_link_sent_bytes_total{core=\"1\"} 2\n\
             annulus_hints_kept{core=\"0\"} 7\nprocess_cpu_seconds_total 5\n",
        );
        assert_eq!((page.count("link_sent_bytes"), page.count("hints_kept")), (Ok(42), Ok(7)));
        assert!(page.count("link_sent").is_err() && page.count("cpu_seconds").is_err());
    }
}
