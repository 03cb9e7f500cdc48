//! `cargo xtask clients`: redis-py, ioredis and redis-cli, unmodified, against a release node with two cores.
//!
//! The clients come from their registries, in pinned versions, into `target/clients`; `redis-cli` comes from the
//! system, through apt where it is missing. In an automatic run (`ANNULUS_CI`) a client that cannot be installed is a
//! failure; elsewhere it is skipped with a message.

use crate::shell;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const READY: Duration = Duration::from_secs(60);

/// Builds, installs, runs.
pub fn run() -> Result<(), String> {
    run_for_results().map(|_| ())
}

/// The same, with the scripts' result lines.
pub fn run_for_results() -> Result<Vec<String>, String> {
    shell::run(&mut shell::cargo(&["build", "--release", "--locked"]))?;
    let place = shell::target().join("clients");
    std::fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    let mut results = Vec::new();
    for (name, install) in [("redis-py", python as Install), ("ioredis", node), ("redis-cli", cli)] {
        match install(&place) {
            Ok(script) => results.extend(with_server(&place, name, script)?),
            Err(why) if shell::is_ci() => return Err(format!("{name} could not be installed: {why}")),
            Err(why) => println!("SKIPPED {name}: {why}"),
        }
    }
    Ok(results)
}

type Install = fn(&Path) -> Result<Command, String>;

fn scripts() -> PathBuf {
    shell::root().join("tools/clients")
}

/// A virtual environment with the pinned packages; the script that uses it.
fn python(place: &Path) -> Result<Command, String> {
    let environment = place.join("python");
    let interpreter = environment.join("bin/python");
    let python = interpreter.to_string_lossy().into_owned();
    if shell::output(&mut shell::command(&python, &["-m", "pip", "--version"])).is_err() {
        let path = environment.to_string_lossy().into_owned();
        let create = || shell::run(&mut shell::command("python3", &["-m", "venv", "--clear", &path]));
        if create().is_err() {
            apt("python3 python3-venv")?;
            create()?;
        }
    }
    let requirements = scripts().join("requirements.txt").to_string_lossy().into_owned();
    let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", &requirements];
    shell::run(&mut shell::command(&python, &options))?;
    Ok(shell::command(&python, &[&scripts().join("redis_py.py").to_string_lossy()]))
}

/// `node_modules` beside copies of the script and its manifest, since node looks for modules beside the script.
fn node(place: &Path) -> Result<Command, String> {
    let directory = place.join("node");
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json", "ioredis.mjs"] {
        let (from, to) = (scripts().join(file), directory.join(file));
        std::fs::copy(&from, &to).map_err(|error| format!("{}: {error}", from.display()))?;
    }
    if !shell::exists("npm") {
        apt("nodejs npm")?;
    }
    shell::run(shell::command("npm", &["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&directory))?;
    let mut command = shell::command("node", &["ioredis.mjs"]);
    command.current_dir(&directory);
    Ok(command)
}

fn cli(_place: &Path) -> Result<Command, String> {
    if !shell::exists("redis-cli") {
        apt("redis-tools")?;
    }
    Ok(shell::command("bash", &[&scripts().join("redis_cli.sh").to_string_lossy()]))
}

fn apt(packages: &str) -> Result<(), String> {
    let line =
        format!("DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends {packages}");
    shell::run(&mut shell::command("sh", &["-c", &format!("{line} || (apt-get update --quiet && {line})")])).map(|_| ())
}

/// Runs a script against a fresh node on a free port.
fn with_server(place: &Path, name: &str, mut script: Command) -> Result<Vec<String>, String> {
    let data = place.join(format!("data-{name}"));
    let _ = std::fs::remove_dir_all(&data);
    let port = free_port()?;
    let mut server = Server::start(&data, port)?;
    let result = shell::run(script.env("ANNULUS_PORT", port.to_string()));
    let stopped = server.stop();
    let lines = result?;
    stopped?;
    let _ = std::fs::remove_dir_all(&data);
    match lines.as_slice() {
        [line] if line.ends_with(" passed, 0 failed") => Ok(vec![format!("{name}: {line}")]),
        _ => Err(format!("{name} did not say how many checks passed: {lines:?}")),
    }
}

/// A base port with room for two cores and HTTP beside it.
fn free_port() -> Result<u16, String> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = 8_000 + (std::process::id() % 100) as u16 * 8;
    (0..200)
        .map(|step| first + step * 8)
        .find(|&port| (port..port + 3).all(free) && free(port + 2_000))
        .ok_or_else(|| "no free block of ports on 127.0.0.1".into())
}

struct Server {
    child: Child,
}

impl Server {
    fn start(data: &Path, port: u16) -> Result<Server, String> {
        let cores = std::thread::available_parallelism().map_or(1, |count| count.get().min(2));
        let mut command = Command::new(shell::target().join("release/annulus"));
        command.arg("serve").arg("--data").arg(data);
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--cores", &cores.to_string(), "--http", "off"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", shell::shown(&command)))?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let server = Server { child };
        let (sender, ready) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                println!("  annulus: {line}");
                if line.starts_with("ready ") {
                    let _ = sender.send(());
                }
            }
        });
        ready.recv_timeout(READY).map_err(|_| format!("the node was not ready within {READY:?}"))?;
        Ok(server)
    }

    fn stop(&mut self) -> Result<(), String> {
        let id = self.child.id().to_string();
        shell::output(&mut shell::command("kill", &["-TERM", &id]))?;
        let started = Instant::now();
        while started.elapsed() < READY {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return if status.success() { Ok(()) } else { Err(format!("the node ended with {status}")) };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err("the node did not end after SIGTERM".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
