//! A panic anywhere ends the process: one line on standard error names the core, the command and the place, then abort.
//!
//! Going on with the other cores would mean answering for partitions that nobody holds. The line is written without the
//! log's machinery, which may be what panicked.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io::Write;
use std::panic::PanicHookInfo;

/// What a thread that is no core has in [`CURRENT`].
const NO_CORE: u16 = u16::MAX;

thread_local! {
    /// Core and command that this thread is at.
    static CURRENT: Cell<(u16, &'static str)> = const { Cell::new((NO_CORE, "")) };
}

/// Says that this thread is a core, between commands. Once, when the core starts.
pub fn enter_core(core: u16) {
    assert!(core < NO_CORE);
    CURRENT.set((core, ""));
}

/// Says which command this core runs; empty for none. Cheap: two stores.
pub fn enter_command(command: &'static str) {
    CURRENT.set((CURRENT.get().0, command));
}

/// Core and command of this thread, for other reports such as stalls.
pub fn current() -> (Option<u16>, &'static str) {
    let (core, command) = CURRENT.get();
    (Some(core).filter(|core| *core != NO_CORE), command)
}

/// Installs the hook for the whole process, once, before the cores start.
pub fn install() {
    std::panic::set_hook(Box::new(|panic| {
        report(panic);
        std::process::abort();
    }));
}

fn report(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload_as_str().unwrap_or("(no text)").replace(['\n', '\r'], " ");
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    // A thread that is being torn down has no current command any more.
    let (core, command) = CURRENT.try_with(Cell::get).unwrap_or((NO_CORE, ""));
    let thread = std::thread::current();
    let who = match (core, command) {
        (NO_CORE, _) => format!("thread {}", thread.name().unwrap_or("(unnamed)")),
        (core, "") => format!("core {core} between commands"),
        (core, command) => format!("core {core} in command {command}"),
    };
    let mut line = format!("ERROR annulus: panic on {who} at {place}: {payload}; the process aborts\n");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        line.push_str(&backtrace.to_string());
    }
    // Nothing is left to tell when standard error is closed.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const CHILD: &str = "ANNULUS_TEST_PANIC_CHILD";

    /// Run by the test below in a process of its own, where it never returns.
    #[test]
    fn child() {
        let Ok(kind) = std::env::var(CHILD) else { return };
        install();
        let thread = std::thread::Builder::new().name("other".to_owned()).spawn(move || {
            if kind == "core" {
                enter_core(3);
                enter_command("SET");
            }
            panic!("first\nsecond");
        });
        let _ = thread.unwrap().join();
        std::process::exit(0);
    }

    fn run_child(kind: &str) -> String {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "logging::panics::tests::child", "--nocapture"])
            .env(CHILD, kind)
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        assert_eq!(child.status.signal(), Some(6), "aborted: {child:?}");
        String::from_utf8(child.stderr).unwrap()
    }

    #[test]
    fn a_panic_names_core_and_command_and_aborts() {
        let text = run_child("core");
        let line = text.lines().find(|line| line.starts_with("ERROR annulus: panic on")).unwrap();
        assert!(
            line.contains("core 3 in command SET at ") && line.contains("first second; the process aborts"),
            "{line}"
        );
        assert!(run_child("thread").contains("panic on thread other at "));
    }

    #[test]
    fn current_is_of_this_thread() {
        assert_eq!(current(), (None, ""));
        enter_core(1);
        enter_command("GET");
        assert_eq!(current(), (Some(1), "GET"));
        std::thread::spawn(|| assert_eq!(current(), (None, ""))).join().unwrap();
        CURRENT.set((NO_CORE, ""));
    }
}
