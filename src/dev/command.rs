//! What a local cluster can be told while it runs: one line of words.
//!
//! Invariant: what is printed is read back as the same.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Which directions are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Direction {
    /// Nothing gets in or out
    Both,
    /// Nothing gets out
    Out,
    /// Nothing gets in
    In,
}

/// One command; nodes count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// SIGKILL; the node stays down until it is healed.
    Kill(usize),
    /// SIGSTOP.
    Pause(usize),
    /// Its links to all other nodes hold everything back.
    Cut(usize, Direction),
    /// Its links are late by so long.
    Slow(usize, Duration),
    /// Undoes all of these.
    Heal(usize),
}

/// The longest that a link is slow.
const SLOW_MS_MAX: u64 = 60_000;

impl Command {
    /// The node that it is about.
    pub fn node(self) -> usize {
        match self {
            Self::Kill(node) | Self::Pause(node) | Self::Cut(node, _) | Self::Slow(node, _) | Self::Heal(node) => node,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Both => "both",
            Self::Out => "out",
            Self::In => "in",
        })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(node) => write!(out, "kill {node}"),
            Self::Pause(node) => write!(out, "pause {node}"),
            Self::Cut(node, direction) => write!(out, "cut {node} {direction}"),
            Self::Slow(node, delay) => write!(out, "slow {node} {}", delay.as_millis()),
            Self::Heal(node) => write!(out, "heal {node}"),
        }
    }
}

impl FromStr for Command {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let node = |text: &str| text.parse().map_err(|_| format!("`{text}` is no number of a node"));
        match words[..] {
            ["kill", number] => Ok(Self::Kill(node(number)?)),
            ["pause", number] => Ok(Self::Pause(node(number)?)),
            ["heal", number] => Ok(Self::Heal(node(number)?)),
            ["cut", number, way] => {
                let direction = match way {
                    "both" => Direction::Both,
                    "out" => Direction::Out,
                    "in" => Direction::In,
                    _ => return Err(format!("`{way}` is not both, out or in")),
                };
                Ok(Self::Cut(node(number)?, direction))
            }
            ["slow", number, ms] => match ms.parse() {
                Ok(ms) if ms <= SLOW_MS_MAX => Ok(Self::Slow(node(number)?, Duration::from_millis(ms))),
                _ => Err(format!("`{ms}` is no number of milliseconds up to {SLOW_MS_MAX}")),
            },
            _ => Err(format!("`{line}` is not kill N, pause N, cut N both|out|in, slow N MS or heal N")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_they_are_written() {
        let second = Duration::from_secs(1);
        let mut all = vec![Command::Kill(0), Command::Pause(1), Command::Slow(2, second), Command::Heal(12)];
        all.extend([Direction::Both, Direction::Out, Direction::In].map(|direction| Command::Cut(3, direction)));
        for command in all {
            assert_eq!(command.to_string().parse(), Ok(command));
        }
        for line in ["", "kill", "kill x", "kill 1 2", "cut 1 up", "cut 1", "slow 1 -5", "slow 1 99999999", "burn 1"] {
            assert!(line.parse::<Command>().is_err(), "{line}");
        }
    }
}
