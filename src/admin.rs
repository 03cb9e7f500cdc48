//! `annulus admin`: asks a running node one of the questions of DYN.ADMIN, and prints the answer as tables or as JSON.
//!
//! It knows no subcommand: what is asked is passed on, and the reply is shown by its shape. So a node can be asked whatever it
//! serves, and a new subcommand needs nothing here, unless its answer takes long.
//!
//! Invariant: the password is neither an argument nor printed.

mod client;
mod table;
mod value;

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use annulus_net::resp::reader::ReplyError;

use client::Client;

/// The variable that holds the password when no file is named.
pub const PASSWORD_VARIABLE: &str = "ANNULUS_PASSWORD";

/// What to ask whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// `HOST:PORT`.
    pub endpoint: String,
    /// The file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// JSON instead of tables.
    pub json: bool,
    /// The subcommand and its arguments.
    pub words: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The password cannot be read.
    #[error("{}: {error}", .path.display())]
    PasswordFile {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Nobody is there.
    #[error("{endpoint} cannot be reached: {error}")]
    Connect {
        /// Whom.
        endpoint: String,
        /// What the system says.
        error: io::Error,
    },
    /// The conversation broke off.
    #[error("{endpoint} does not answer: {error}")]
    Exchange {
        /// Whom.
        endpoint: String,
        /// What the system says.
        error: io::Error,
    },
    /// Whoever is there speaks something else.
    #[error("{endpoint} does not speak the Redis protocol: {error}")]
    Protocol {
        /// Whom.
        endpoint: String,
        /// What is wrong with its bytes.
        error: ReplyError,
    },
    /// The node wants a password, or another one.
    #[error("{0} (give the password with --password-file or in {PASSWORD_VARIABLE})")]
    Password(String),
    /// The node answers with an error.
    #[error("{0}")]
    Refused(String),
}

impl AdminError {
    /// The process' exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::PasswordFile { .. } => crate::cli::EXIT_USAGE,
            _ => crate::cli::EXIT_FAILED,
        }
    }
}

/// Asks, and gives what to print.
pub fn run(question: &Question) -> Result<String, AdminError> {
    let password = match &question.password_file {
        Some(path) => Some(read_password(path)?),
        None => std::env::var_os(PASSWORD_VARIABLE).map(OsString::into_vec),
    };
    let mut client = Client::connect(&question.endpoint)?;
    let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
    if let Some(password) = &password {
        hello.extend([&b"AUTH"[..], b"default", password]);
    }
    client.ask(&hello)?;
    let command: Vec<&[u8]> =
        std::iter::once(&b"DYN.ADMIN"[..]).chain(question.words.iter().map(String::as_bytes)).collect();
    if question.words.first().is_some_and(|word| word.eq_ignore_ascii_case("snapshot")) {
        client.be_patient()?;
    }
    let answer = client.ask(&command)?;
    Ok(if question.json { answer.to_json() } else { table::render(&answer) })
}

/// The first line of a file.
fn read_password(path: &Path) -> Result<Vec<u8>, AdminError> {
    let bytes = std::fs::read(path).map_err(|error| AdminError::PasswordFile { path: path.to_path_buf(), error })?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_the_first_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (content, password) in [("secret", "secret"), ("two words\r\nmore\n", "two words"), ("", "")] {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(read_password(file.path()).unwrap(), password.as_bytes());
        }
        let error = read_password(Path::new("/nonexistent/password")).unwrap_err();
        assert_eq!(error.exit_code(), crate::cli::EXIT_USAGE);
        assert!(error.to_string().starts_with("/nonexistent/password: No such file"), "{error}");
    }
}
