//! The command line: flags in, an [`Invocation`] with a complete, validated [`Config`] out. It starts nothing.
//!
//! Names and meaning of commands, flags and exit codes are stable: 0 done, 1 failed while running, 2 wrong flags or
//! configuration, 3 the preflight refused, 4 no member of its cluster any more.
//!
//! Invariant: a flag only ever sets the key of the configuration that has its name, so file and flags cannot drift apart.

mod dev;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::admin::Question;
use crate::config::{Config, Environment, Raw, Sources};
use crate::restore::Restore;

/// Exit code: failed while running.
pub const EXIT_FAILED: u8 = 1;
/// Exit code: wrong flags or configuration.
pub const EXIT_USAGE: u8 = 2;
/// Exit code: the preflight refused.
pub const EXIT_PREFLIGHT: u8 = 3;

/// Exit code: the node cannot go on as a member of its cluster.
pub const EXIT_NO_MEMBER: u8 = 4;

/// What the user wants.
#[derive(Debug)]
pub enum Invocation {
    /// Run a node.
    Serve(Box<Config>),
    /// Only the preflight of that node.
    Check(Box<Config>),
    /// Ask a running node.
    Admin(Question),
    /// Make a data directory of a snapshot, or a part of one.
    Restore(Restore),
    /// Run a local cluster, or tell a running one.
    Dev(crate::dev::Request),
    /// Print the version.
    Version,
    /// Print a shell's completion script.
    Completions(Shell),
}

/// Nothing to run: the text for the user (help included) and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What to print, possibly several lines, without a final line break.
    pub text: String,
    /// 0 for help, which goes to standard output; everything else goes to standard error.
    pub code: u8,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed while running, 2 wrong flags or configuration, \
 3 the preflight refused, 4 no member of \
 its cluster any more";

const ADMIN_QUESTIONS: &str = "\
Questions:
  status                    the node, the members of its cluster, and each of its cores
  ring                      how the partitions are spread over the nodes
  members                   the map of the cluster: who, where, as what
  join [--node ID|ADDRESS]  let a node own its share: the one that is asked, or another
  leave [--node ID|ADDRESS] let a node own nothing any more
  hints                     what each core keeps for nodes that did not answer
  sync [FIRST [LAST]]       since when the copies of partitions are known to be equal, and what was mended
  partitions [FIRST [LAST]] all partitions, one, or some
  merkle [FIRST [LAST]]     the Merkle roots of all partitions, of one, or of some
  compaction pause|resume   hold drains and compactions back, or let them go on
  snapshot DIR              keep what the node holds in DIR, a path on its machine that is empty or not there
  help                      everything that the node can be asked
Without a node:
  restore SNAPSHOT --data DIR                make a data directory of a snapshot
  restore SNAPSHOT --data DIR --partition N  add one partition of a snapshot to what a stopped node has of it
The password is read from --password-file, else from the environment variable ANNULUS_PASSWORD.";

#[derive(Debug, Parser)]
#[command(name = "annulus", version, about = "An always-writeable key-value store that Redis clients can use", after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node until SIGTERM
    Serve(NodeFlags),
    /// Check whether a node with these flags could run here, and say what to change
    Check(NodeFlags),
    /// Ask a running node how it stands
    #[command(after_help = ADMIN_QUESTIONS)]
    Admin(AdminFlags),
    /// Run a local cluster until Ctrl-C, and try failures on it
    Dev(dev::DevFlags),
    /// Print the version
    Version,
    /// Print the completion script of a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct NodeFlags {
    /// TOML file with the configuration; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory [default: ./annulus-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Address of the clients; core k is on the port plus 1 plus k [default: 127.0.0.1:7379]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// CPUs: a plain number counts those this process may use, a list has a comma or dash (0,2-3) [default: all]
    #[arg(long, value_name = "N|LIST")]
    cores: Option<String>,
    /// What a reply promises: sync = on stable storage, interval = soon, memory = nothing on disk [default: sync]
    #[arg(long, value_name = "sync|interval|memory")]
    durability: Option<String>,
    /// Cache of values, for example 512mb [default: a quarter of --memory-limit]
    #[arg(long, value_name = "BYTES")]
    cache: Option<String>,
    /// Limit of index, cache and buffers [default: 80 % of the cgroup or machine]
    #[arg(long, value_name = "BYTES")]
    memory_limit: Option<String>,
    /// Size of the hot log [default: 5 % of the live bytes, at least 256mb]
    #[arg(long, value_name = "BYTES")]
    hot_log_bytes: Option<String>,
    /// Address of health and metrics [default: 127.0.0.1, client port plus 2000]
    #[arg(long, value_name = "HOST:PORT|off")]
    http: Option<String>,
    /// Name or address that cluster clients are given [default: the address they reached]
    #[arg(long, value_name = "HOST")]
    announce_host: Option<String>,
    /// Name of the cluster that the node belongs to; without it the node is alone for ever
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// File with the cluster's secret, the same on every node: a line, or two while it is replaced
    #[arg(long, value_name = "FILE")]
    secret_file: Option<String>,
    /// Other nodes of the cluster, each by the address of its --listen
    #[arg(long, value_name = "HOST:PORT,...")]
    seeds: Option<String>,
    /// So many nodes with empty directories become the cluster as soon as they see each other
    #[arg(long, value_name = "N")]
    found: Option<String>,
    /// What this node fails together with, such as its rack: copies are spread over zones
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Address of other nodes, TCP and UDP [default: the host of --listen, its port plus 10000]
    #[arg(long, value_name = "HOST:PORT")]
    peer_listen: Option<String>,
    /// Address under which other nodes reach that one, where it is another [default: --announce-host, or the same]
    #[arg(long, value_name = "HOST:PORT")]
    peer_announce: Option<String>,
    /// Copies of a key, the same on every node [default: 3]
    #[arg(long, value_name = "N")]
    copies: Option<String>,
    /// Nodes that tell of a read [default: most of the copies]
    #[arg(long, value_name = "R")]
    read_quorum: Option<String>,
    /// Nodes that have a write before it is acknowledged [default: most of the copies]
    #[arg(long, value_name = "W")]
    write_quorum: Option<String>,
    /// Of them, nodes that have it on stable storage [default: all with --durability sync, else 0]
    #[arg(long, value_name = "DW")]
    durable_quorum: Option<String>,
    /// How long a command may take [default: 1s]
    #[arg(long, value_name = "DURATION")]
    deadline: Option<String>,
    /// Listen beyond loopback without a password
    #[arg(long)]
    insecure: bool,
    /// Keep every core's executor busy with a synthetic background task, to measure what clients notice of it
    #[arg(long, hide = true)]
    background_load: bool,
    /// Least severity that is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Args)]
struct AdminFlags {
    /// Any port of the node for clients
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7379", value_parser = endpoint)]
    endpoint: String,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Print JSON in one line instead of tables
    #[arg(long)]
    json: bool,
    /// Only for join and leave: the node that is meant, by its id or its HOST:PORT [default: the one that is asked]
    #[arg(long, value_name = "ID|ADDRESS")]
    node: Option<String>,
    /// Only for restore: the data directory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only for restore: this partition alone
    #[arg(long, value_name = "N", requires = "data")]
    partition: Option<u16>,
    /// What to ask, and its arguments
    #[arg(value_name = "QUESTION", required = true)]
    words: Vec<String>,
}

/// Reads the process's arguments, the configuration file that they name, and the machine's own limits.
pub fn parse() -> Result<Invocation, Refusal> {
    parse_from(std::env::args_os(), Environment::detect)
}

/// Like [`parse`], with the arguments (the program's name first) and the machine given.
pub fn parse_from(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl FnOnce() -> Result<Environment, String>,
) -> Result<Invocation, Refusal> {
    let cli = Cli::try_parse_from(arguments).map_err(|error| Refusal {
        text: error.render().to_string().trim_end().to_owned(),
        code: if error.use_stderr() { EXIT_USAGE } else { 0 },
    })?;
    let build = |flags: NodeFlags| -> Result<Box<Config>, Refusal> {
        let sources = flags.sources()?;
        let environment =
            environment().map_err(|text| Refusal { text: format!("error: {text}"), code: EXIT_FAILED })?;
        Config::build(&sources, &environment).map(Box::new).map_err(usage)
    };
    match cli.command {
        Command::Serve(flags) => build(flags).map(Invocation::Serve),
        Command::Check(flags) => build(flags).map(Invocation::Check),
        Command::Admin(flags) => flags.invocation(),
        Command::Dev(flags) => Ok(Invocation::Dev(flags.request())),
        Command::Version => Ok(Invocation::Version),
        Command::Completions { shell } => Ok(Invocation::Completions(shell)),
    }
}

impl AdminFlags {
    fn invocation(self) -> Result<Invocation, Refusal> {
        let Self { endpoint, password_file, json, node, data, partition, mut words } = self;
        let refused = |text: &str| Refusal { text: format!("error: {text}"), code: EXIT_USAGE };
        if let Some(node) = node {
            let is_change = matches!(words.as_slice(), [word] if ["join", "leave"].contains(&word.as_str()));
            if !is_change || data.is_some() {
                return Err(refused("--node is for join and leave alone, which take nothing else"));
            }
            words.push(node);
        }
        match (words.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), data) {
            (["restore", snapshot], Some(data)) => {
                Ok(Invocation::Restore(Restore { snapshot: snapshot.into(), data, partition }))
            }
            (["restore", ..], _) => Err(refused("restore wants one SNAPSHOT and --data DIR")),
            (_, Some(_)) => Err(refused("--data is for restore alone: everything else is asked of a running node")),
            (_, None) => Ok(Invocation::Admin(Question { endpoint, password_file, json, words })),
        }
    }
}

/// Checks the form; the host may be a name.
fn endpoint(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    match port.map(str::parse::<u16>) {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Err("it has the form HOST:PORT".to_owned()),
    }
}

/// `annulus` and its version.
pub fn version_text() -> String {
    format!("annulus {}", env!("CARGO_PKG_VERSION"))
}

/// Writes the completion script of `shell`.
pub fn write_completions(shell: Shell, out: &mut impl Write) {
    clap_complete::generate(shell, &mut Cli::command(), "annulus", out);
}

impl NodeFlags {
    fn sources(self) -> Result<Sources, Refusal> {
        let mut sources = match &self.config {
            Some(path) => Sources::read(path).map_err(usage)?,
            None => Sources::none(),
        };
        let texts = [
            ("data", self.data),
            ("listen", self.listen),
            ("cores", self.cores),
            ("durability", self.durability),
            ("cache", self.cache),
            ("memory-limit", self.memory_limit),
            ("hot-log-bytes", self.hot_log_bytes),
            ("http", self.http),
            ("announce-host", self.announce_host),
            ("cluster", self.cluster),
            ("secret-file", self.secret_file),
            ("seeds", self.seeds),
            ("found", self.found),
            ("zone", self.zone),
            ("peer-listen", self.peer_listen),
            ("peer-announce", self.peer_announce),
            ("copies", self.copies),
            ("read-quorum", self.read_quorum),
            ("write-quorum", self.write_quorum),
            ("durable-quorum", self.durable_quorum),
            ("deadline", self.deadline),
            ("log-level", self.log_level),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                sources.flag(key, Raw::Text(text));
            }
        }
        if self.insecure {
            sources.flag("insecure", Raw::Boolean(true));
        }
        if self.background_load {
            sources.flag("background-load", Raw::Boolean(true));
        }
        Ok(sources)
    }
}

fn usage(error: crate::config::ConfigError) -> Refusal {
    Refusal { text: format!("error: {error}"), code: EXIT_USAGE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Durability, LogLevel};

    fn parse(line: &str) -> Result<Invocation, Refusal> {
        let environment = Environment { affinity: vec![0, 1], memory_bytes: 1 << 30 };
        parse_from(line.split_whitespace().map(OsString::from), || Ok(environment))
    }

    fn refused(line: &str) -> String {
        let refusal = parse(line).unwrap_err();
        assert_eq!(refusal.code, EXIT_USAGE, "{refusal:?}");
        refusal.text
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_reaches_the_configuration() {
        let line = "annulus serve --data /tmp/d --listen 0.0.0.0:7000 --cores 1 --durability memory --cache 64mb \
                    --memory-limit 256mb --hot-log-bytes 128mb --http off --insecure --log-level debug \
                    --announce-host db1 --cluster c --secret-file s --seeds db2:7000 --found 3 --zone z \
                    --peer-listen 0.0.0.0:17001 --copies 2 --read-quorum 1 --write-quorum 2 --durable-quorum 0 --deadline 2s";
        let Invocation::Serve(config) = parse(line).unwrap() else { panic!("not serve") };
        assert_eq!(config.data.to_str(), Some("/tmp/d"));
        assert_eq!((config.listen.to_string().as_str(), config.cores.len()), ("0.0.0.0:7000", 1));
        assert_eq!((config.durability, config.http), (Durability::Memory, None));
        assert_eq!((config.cache_bytes, config.memory_limit_bytes), (64 << 20, 256 << 20));
        assert_eq!(config.hot_log_bytes, Some(128 << 20));
        assert!(config.insecure);
        assert_eq!(config.runtime.log_level, LogLevel::Debug);
        assert_eq!(config.announce_host.as_deref(), Some("db1"));
        let cluster = config.cluster.unwrap();
        assert_eq!((cluster.name.as_str(), cluster.found, cluster.seeds.len()), ("c", Some(3), 1));
        assert_eq!((cluster.zone.unwrap().name(), cluster.peer_listen.port()), ("z", 17_001));
        let quorums = config.quorums;
        assert_eq!((quorums.copies, quorums.read, quorums.write, quorums.durable), (2, 1, 2, 0));
        assert_eq!(quorums.deadline.as_secs(), 2);
    }

    #[test]
    fn commands() {
        assert!(matches!(parse("annulus serve").unwrap(), Invocation::Serve(_)));
        assert!(matches!(parse("annulus check --cores 1").unwrap(), Invocation::Check(_)));
        assert!(matches!(parse("annulus version").unwrap(), Invocation::Version));
        assert!(matches!(parse("annulus completions bash").unwrap(), Invocation::Completions(Shell::Bash)));
        let help = parse("annulus help serve").unwrap_err();
        assert_eq!(help.code, 0);
        assert!(help.text.contains("--hot-log-bytes <BYTES>"));
        assert!(parse("annulus --help").unwrap_err().text.contains("Exit codes: 0 done"));
    }

    #[test]
    fn questions_to_a_node() {
        let Invocation::Admin(question) = parse("annulus admin status").unwrap() else { panic!("not admin") };
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!((question.endpoint.as_str(), question.json), ("127.0.0.1:7379", false));
        assert_eq!(question.words, words("status"));
        let line = "annulus admin --endpoint db1:7380 --password-file /etc/pw partitions 3 9 --json";
        let Invocation::Admin(question) = parse(line).unwrap() else { panic!("not admin") };
        assert_eq!((question.endpoint.as_str(), question.json), ("db1:7380", true));
        assert_eq!(question.password_file.as_deref(), Some(std::path::Path::new("/etc/pw")));
        assert_eq!(question.words, words("partitions 3 9"));
        assert!(refused("annulus admin --endpoint 7379 status").contains("HOST:PORT"));
        assert!(refused("annulus admin --endpoint :7379 status").contains("--endpoint"));
        assert!(refused("annulus admin").contains("QUESTION"));
        let Invocation::Admin(question) = parse("annulus admin join --node 10.0.0.7:7379").unwrap() else {
            panic!("not admin")
        };
        assert_eq!(question.words, words("join 10.0.0.7:7379"));
        for line in ["status --node 1", "leave 1 --node 2", "restore s --data d --node 1"] {
            let text = refused(&format!("annulus admin {line}"));
            assert!(text.contains("--node is for join and leave alone"), "{line}: {text}");
        }
    }

    #[test]
    fn restoring() {
        let restored = |line: &str| match parse(line).unwrap() {
            Invocation::Restore(restore) => restore,
            other => panic!("{other:?}"),
        };
        let all = restored("annulus admin restore /backup/monday --data /data");
        assert_eq!(
            (all.snapshot.to_str(), all.data.to_str(), all.partition),
            (Some("/backup/monday"), Some("/data"), None)
        );
        assert_eq!(restored("annulus admin restore s --data d --partition 7").partition, Some(7));
        for line in ["annulus admin restore s", "annulus admin restore --data d", "annulus admin restore a b --data d"]
        {
            assert!(refused(line).contains("restore wants one SNAPSHOT and --data DIR"), "{line}");
        }
        assert!(refused("annulus admin status --data d").contains("--data is for restore alone"));
        assert!(refused("annulus admin restore s --partition 7").contains("--data"));
    }

    #[test]
    fn refusals_name_the_flag() {
        assert_eq!(
            refused("annulus serve --cores 3"),
            "error: --cores: 3 cores are wanted, but this process may use 2 (0-1)"
        );
        assert!(refused("annulus serve --durability never").contains("--durability: `never` is not one of"));
        assert!(
            refused("annulus serve --listen 0.0.0.0:7379").starts_with("error: --listen: 0.0.0.0:7379 can be reached")
        );
        assert!(
            refused("annulus serve --config /nonexistent/a.toml").contains("/nonexistent/a.toml: cannot be opened")
        );
        assert!(
            refused("annulus serve --found 0 --cluster c --secret-file s").contains("--found: 0 nodes found nothing")
        );
        assert!(refused("annulus serve --seeds a:1").contains("--seeds: it is of a cluster"));
        assert!(refused("annulus serve --nonsense").contains("--nonsense"));
        assert!(refused("annulus frobnicate").contains("frobnicate"));
        assert!(refused("annulus").contains("Usage: annulus"));
    }

    #[test]
    fn flags_override_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "cores = 2\nhttp = \"off\"\n").unwrap();
        let line = format!("annulus serve --config {} --cores 1", file.path().display());
        let Invocation::Serve(config) = parse(&line).unwrap() else { panic!("not serve") };
        assert_eq!((config.cores.len(), config.http), (1, None));
        std::fs::write(file.path(), "cores = 2\nhtpt = \"off\"\n").unwrap();
        assert!(refused(&line).contains(":2: unknown key `htpt`; did you mean `http`?"));
    }

    #[test]
    fn completions_and_version() {
        let mut script = Vec::new();
        write_completions(Shell::Bash, &mut script);
        assert!(String::from_utf8(script).unwrap().contains("--memory-limit"));
        assert!(version_text().starts_with("annulus 0."));
    }
}
