//! Logs: through `tracing` to standard error, one line a thing; the level can change while the node runs.
//!
//! [`panics`] makes every panic end the process after one line that names core and command.

pub mod panics;

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::LogLevel;

/// Other people's code whose every step is of no interest.
const QUIET_TARGETS: &[&str] = &["glommio"];

/// Changes the level of the installed logs; cheap to clone.
#[derive(Debug, Clone)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
}

/// Installs the process's logs. Errors: they are installed already.
pub fn install(level: LogLevel) -> Result<LogHandle, String> {
    let (filter, handle) = reload::Layer::new(targets(level));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let installed = tracing_subscriber::registry().with(filter).with(lines).try_init();
    installed.map_err(|error| format!("logs cannot be installed: {error}"))?;
    Ok(LogHandle { filter: handle })
}

impl LogHandle {
    /// From now on `level` counts, on every thread.
    pub fn set(&self, level: LogLevel) {
        // It fails only when the subscriber is gone, and then nothing is logged anyway.
        if let Err(error) = self.filter.reload(targets(level)) {
            tracing::warn!("the log level stays as it is: {error}");
        }
    }
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let quiet = level.min(Level::WARN);
    Targets::new().with_default(level).with_targets(QUIET_TARGETS.iter().map(|target| (*target, quiet)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_quiet_targets() {
        let info = targets(LogLevel::Info);
        assert!(info.would_enable("annulus", &Level::INFO) && !info.would_enable("annulus", &Level::DEBUG));
        assert!(info.would_enable("glommio", &Level::WARN) && !info.would_enable("glommio::executor", &Level::INFO));
        let error = targets(LogLevel::Error);
        assert!(!error.would_enable("glommio", &Level::WARN));
        assert!(targets(LogLevel::Trace).would_enable("annulus", &Level::TRACE));
    }

    #[test]
    fn the_level_can_change() {
        let handle = install(LogLevel::Warn).unwrap();
        assert!(!tracing::enabled!(Level::INFO));
        handle.set(LogLevel::Debug);
        assert!(tracing::enabled!(Level::DEBUG));
        handle.set(LogLevel::Error);
        assert!(!tracing::enabled!(Level::WARN));
        assert!(install(LogLevel::Info).is_err());
    }
}
