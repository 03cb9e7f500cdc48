//! Which CPUs the node runs on: `all`, a number of CPUs of the affinity mask, or a list of CPU numbers.
//!
//! Invariant: the result is not empty, ascending for a count and `all`, in the order given for a list, without repeats, and
//! within the affinity mask.

/// Highest CPU number that is understood.
const CPU_MAX: usize = 8191;

/// Reads `text` against the CPUs that the process may use. A plain number is a count; a list has a comma or a dash
/// (`3,` or `3-3` is CPU 3 alone).
pub fn parse(text: &str, affinity: &[usize]) -> Result<Vec<usize>, String> {
    assert!(!affinity.is_empty());
    let text = text.trim();
    if text == "all" {
        return Ok(affinity.to_vec());
    }
    if !text.contains([',', '-']) {
        let count: usize = text.parse().map_err(|_| refusal(text))?;
        return match count {
            0 => Err("0 cores cannot serve; give at least 1".to_owned()),
            _ if count > affinity.len() => Err(format!(
                "{count} cores are wanted, but this process may use {} ({})",
                affinity.len(),
                format(affinity)
            )),
            _ => Ok(affinity[..count].to_vec()),
        };
    }
    let mut cpus: Vec<usize> = Vec::new();
    for part in text.strip_suffix(',').unwrap_or(text).split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let low: usize = low.trim().parse().map_err(|_| refusal(text))?;
        let high: usize = high.trim().parse().map_err(|_| refusal(text))?;
        if low > high || high > CPU_MAX {
            return Err(refusal(text));
        }
        for cpu in low..=high {
            if !affinity.contains(&cpu) {
                return Err(format!("CPU {cpu} is not among those that this process may use ({})", format(affinity)));
            }
            if cpus.contains(&cpu) {
                return Err(format!("CPU {cpu} is listed twice"));
            }
            cpus.push(cpu);
        }
    }
    assert!(!cpus.is_empty());
    Ok(cpus)
}

/// A list that [`parse`] reads back, ranges shortened.
pub fn format(cpus: &[usize]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = cpus;
    while let Some(first) = rest.first() {
        let run = rest.iter().zip(*first..).take_while(|(cpu, expected)| **cpu == *expected).count();
        match run {
            1 => parts.push(first.to_string()),
            _ => parts.push(format!("{first}-{}", first + run - 1)),
        }
        rest = &rest[run..];
    }
    let text = parts.join(",");
    if text.contains([',', '-']) { text } else { format!("{text},") }
}

fn refusal(text: &str) -> String {
    format!("`{text}` is neither `all`, a number of cores, nor a list of CPUs such as 0,2-3")
}
