//! How a running local cluster is told what to do: a loopback port, one line in, one line out.
//!
//! ```text
//! TOKEN kill 2          ok
//! TOKEN cut 9 both      error: no node 9; nodes are 0 to 2
//! ```
//!
//! Invariant: nothing is done without the token, which only the owner of the directory can read.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::DevError;
use super::command::Command;
use super::state::State;

/// For a line, either way. A node that is healed may have to start first.
const ASK_PATIENCE: Duration = Duration::from_secs(2);
const ANSWER_PATIENCE: Duration = Duration::from_secs(90);
/// Of a line.
const LINE_BYTES_MAX: u64 = 4096;

/// Takes commands until the process ends. `carry_out` does them, one at a time.
pub(super) fn serve(
    listener: TcpListener,
    token: String,
    carry_out: Arc<dyn Fn(Command) -> Result<(), String> + Send + Sync>,
) -> io::Result<()> {
    let body = move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let _ = answer(stream, &token, &*carry_out);
        }
    };
    std::thread::Builder::new().name("dev-control".into()).spawn(body).map(drop)
}

fn answer(mut stream: TcpStream, token: &str, carry_out: &dyn Fn(Command) -> Result<(), String>) -> io::Result<()> {
    stream.set_read_timeout(Some(ASK_PATIENCE))?;
    stream.set_write_timeout(Some(ASK_PATIENCE))?;
    let mut line = String::new();
    BufReader::new(Read::take(&stream, LINE_BYTES_MAX)).read_line(&mut line)?;
    let done = match line.trim_end().split_once(' ') {
        Some((given, command)) if given == token => command.parse().and_then(carry_out),
        _ => Err("the token is wrong".to_owned()),
    };
    match done {
        Ok(()) => stream.write_all(b"ok\n"),
        Err(text) => writeln!(stream, "error: {}", text.replace('\n', " ")),
    }
}

/// Tells the local cluster of a directory to do something, and waits until it is done.
pub(super) fn tell(directory: &Path, command: Command) -> Result<(), DevError> {
    let none = || DevError::NotRunning(directory.to_owned());
    let state = State::read(directory).map_err(|error| DevError::Failed(error.to_string()))?.ok_or_else(none)?;
    if !state.parent.is_alive() {
        return Err(none());
    }
    let answer = exchange(state.control, &format!("{} {command}\n", state.token));
    let answer = answer.map_err(|error| DevError::Failed(format!("`annulus dev` does not answer: {error}")))?;
    match answer.strip_prefix("error: ") {
        None if answer == "ok" => Ok(()),
        None => Err(DevError::Failed(format!("`annulus dev` answers `{answer}`"))),
        Some(text) => Err(DevError::Failed(text.to_owned())),
    }
}

fn exchange(control: SocketAddr, line: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&control, ASK_PATIENCE)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}
