//! Clients from their registries, in pinned versions, into `target/clients`; `redis-cli` from the system's packages, through apt
//! where it is missing.
//!
//! Invariant: what is returned can be run; it ends by itself, or is ended.

use super::Scripts;
use crate::shell;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A script that takes longer hangs.
const SCRIPT_SECONDS: &str = "300";

fn scripts() -> PathBuf {
    shell::root().join("tools/clients")
}

/// A program with a script of `tools/clients`.
fn script(program: &str, name: &str) -> Command {
    shell::command("timeout", &[SCRIPT_SECONDS, program, &scripts().join(name).to_string_lossy()])
}

/// A virtual environment with the pinned packages.
pub fn python(place: &Path) -> Result<Scripts, String> {
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
    let run = |name| {
        let mut command = script(&python, name);
        // The scripts share a module, whose compiled form would be left beside it.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    Ok(Scripts { node: run("redis_py.py"), cluster: run("redis_py_cluster.py") })
}

/// `node_modules` beside copies of the scripts and their manifest, since node looks for modules beside the script.
pub fn node(place: &Path) -> Result<Scripts, String> {
    let directory = place.join("node");
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json", "checks.mjs", "ioredis.mjs", "ioredis_cluster.mjs"] {
        let (from, to) = (scripts().join(file), directory.join(file));
        std::fs::copy(&from, &to).map_err(|error| format!("{}: {error}", from.display()))?;
    }
    if !shell::exists("npm") {
        apt("nodejs npm")?;
    }
    shell::run(shell::command("npm", &["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&directory))?;
    let run = |name| {
        let mut command = shell::command("timeout", &[SCRIPT_SECONDS, "node", name]);
        command.current_dir(&directory);
        command
    };
    Ok(Scripts { node: run("ioredis.mjs"), cluster: run("ioredis_cluster.mjs") })
}

pub fn cli(_place: &Path) -> Result<Scripts, String> {
    if !shell::exists("redis-cli") {
        apt("redis-tools")?;
    }
    Ok(Scripts { node: script("bash", "redis_cli.sh"), cluster: script("bash", "redis_cli_cluster.sh") })
}

fn apt(packages: &str) -> Result<(), String> {
    let line =
        format!("DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends {packages}");
    shell::run(&mut shell::command("sh", &["-c", &format!("{line} || (apt-get update --quiet && {line})")])).map(|_| ())
}
