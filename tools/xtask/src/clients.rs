//! `cargo xtask clients`: clients of other languages, unmodified, against release nodes with two cores: first a node alone, then
//! a cluster of three, of which one is killed and comes back.
//!
//! [`install`] brings a client onto this machine, [`server`] runs what it talks to, and the scripts of `tools/clients` compare
//! and count. In an automatic run (`ANNULUS_CI`) a client that cannot be installed is a failure; elsewhere it is skipped with
//! a message.
//!
//! Invariant: a run in which nothing was compared fails, of one script as of all.

mod install;
mod server;

use crate::shell;
use server::Server;
use std::path::Path;
use std::process::Command;

#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Only these: redis-py, ioredis, redis-cli; all of them unless told
    names: Vec<String>,
}

/// What a client is checked with.
struct Scripts {
    node: Command,
    cluster: Command,
}

struct Client {
    name: &'static str,
    install: fn(&Path) -> Result<Scripts, String>,
}

const CLIENTS: &[Client] = &[
    Client { name: "redis-py", install: install::python },
    Client { name: "ioredis", install: install::node },
    Client { name: "redis-cli", install: install::cli },
];

/// Builds, installs, runs.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    run_for_results(arguments).map(|_| ())
}

/// The same, with the scripts' result lines.
pub fn run_for_results(arguments: &Arguments) -> Result<Vec<String>, String> {
    let names = &arguments.names;
    if let Some(unknown) = names.iter().find(|name| CLIENTS.iter().all(|client| client.name != *name)) {
        let known: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
        return Err(format!("there is no client {unknown}; there are {}", known.join(", ")));
    }
    let is_wanted = |client: &&Client| names.is_empty() || names.iter().any(|name| name == client.name);
    shell::run(&mut shell::cargo(&["build", "--release", "--locked"]))?;
    let place = shell::target().join("clients");
    std::fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    let mut results = Vec::new();
    for Client { name, install } in CLIENTS.iter().filter(is_wanted) {
        match install(&place) {
            Ok(Scripts { node, cluster }) => {
                results.push(with_node(&place, name, node)?);
                results.push(with_cluster(&place, name, cluster)?);
            }
            Err(why) if shell::is_ci() => return Err(format!("{name} could not be installed: {why}")),
            Err(why) => println!("SKIPPED {name}: {why}"),
        }
    }
    if results.is_empty() { Err("no client could be run".into()) } else { Ok(results) }
}

/// Runs a script against a fresh node.
fn with_node(place: &Path, name: &str, mut script: Command) -> Result<String, String> {
    let data = place.join(format!("data-{name}"));
    let port = server::free_port()?;
    script.env("ANNULUS_PORT", port.to_string());
    checked(&data, || Server::node(&data, port), script)
        .map_err(|why| format!("{name}, one node: {why}"))
        .map(|line| format!("{name}, one node: {line}"))
}

/// Runs a script against a fresh cluster of three nodes, which it may hurt.
fn with_cluster(place: &Path, name: &str, mut script: Command) -> Result<String, String> {
    let data = place.join(format!("cluster-{name}"));
    let ports = server::free_ports_of_cluster()?;
    script.env("ANNULUS_PORTS", ports.map(|port| port.to_string()).join(","));
    script.env("ANNULUS_CORES", server::cores().to_string());
    script.env("ANNULUS_BINARY", server::binary()).env("ANNULUS_DIR", &data);
    checked(&data, || Server::cluster(&data, ports[0]), script)
        .map_err(|why| format!("{name}, three nodes: {why}"))
        .map(|line| format!("{name}, three nodes: {line}"))
}

/// Starts a server on an empty directory, runs a script, ends the server; the script's line of counts.
fn checked(data: &Path, start: impl FnOnce() -> Result<Server, String>, mut script: Command) -> Result<String, String> {
    let _ = std::fs::remove_dir_all(data);
    let mut server = start()?;
    let result = shell::run(&mut script);
    let stopped = server.stop();
    let lines = result?;
    stopped?;
    let _ = std::fs::remove_dir_all(data);
    match lines.as_slice() {
        [line] if line.ends_with(" passed, 0 failed") && !line.starts_with("0 ") => Ok(line.clone()),
        _ => Err(format!("the script did not say how many checks passed: {lines:?}")),
    }
}
