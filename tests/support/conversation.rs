//! Conversations as text: a command, and the exact reply, from us and from Redis.
//!
//! ```text
//! > SET k "two words"      a command; quotes and escapes as in redis-cli
//! +OK                      the reply in both protocols, as `Reply` prints it
//! 2: $-1                   … or one line for each protocol
//! 3: _
//! ~ :*                     … or a pattern, `*` standing for anything
//! annulus: -ERR syntax*    a deliberate difference: ours (a pattern); the lines before it are Redis's
//! why: conditional writes …   the reason, required with `annulus:`
//! ```
//!
//! Nothing else is in here: files are read once, a step is a command and its expectations.

use super::resp::{Client, Reply};
use std::path::Path;

/// Who is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Server {
    /// our node
    Annulus,
    /// `redis-server`
    Redis,
}

/// One command with its replies.
#[derive(Debug, Default)]
struct Step {
    line: usize,
    arguments: Vec<Vec<u8>>,
    redis: [Option<String>; 2],
    ours: Option<String>,
    why: Option<String>,
    pattern: bool,
}

/// One file.
#[derive(Debug)]
pub struct Conversation {
    name: String,
    steps: Vec<Step>,
}

impl Conversation {
    /// Reads a file; panics at a line that says nothing it understands.
    pub fn read(path: &Path) -> Self {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).expect("the conversation can be read");
        let mut steps: Vec<Step> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with("# ") || line == "#" {
                continue;
            }
            if let Some(command) = line.strip_prefix("> ") {
                steps.push(Step { line: index + 1, arguments: split(command), ..Step::default() });
                continue;
            }
            let step = steps.last_mut().unwrap_or_else(|| panic!("{name}:{}: no command yet", index + 1));
            step.expect(line).unwrap_or_else(|what| panic!("{name}:{}: {what}", index + 1));
        }
        for step in &steps {
            assert!(step.ours.is_some() == step.why.is_some(), "{name}:{}: a difference has a reason", step.line);
            assert!(step.redis.iter().all(Option::is_some), "{name}:{}: no reply", step.line);
        }
        Conversation { name, steps }
    }

    /// Holds it with a server that has no keys; returns what differed, and how many replies were compared.
    pub fn hold(&self, server: Server, port: u16, protocol: usize) -> (Vec<String>, usize) {
        let mut client = Client::connect(port);
        client.command(&[b"HELLO", protocol.to_string().as_bytes()]);
        client.words("FLUSHALL").expect_ok();
        let mut differences = Vec::new();
        let mut compared = 0;
        for step in &self.steps {
            let arguments: Vec<&[u8]> = step.arguments.iter().map(Vec::as_slice).collect();
            let found = match client.try_command(&arguments) {
                Ok(reply) => reply.to_string(),
                Err(error) => format!("no reply: {error}"),
            };
            let (expected, pattern) = step.expected(server, protocol);
            let same = if pattern { matches_pattern(expected, &found) } else { expected == found };
            if !same {
                let place = format!("{}:{}", self.name, step.line);
                let said: Vec<String> = arguments.iter().map(|part| part.escape_ascii().to_string()).collect();
                differences.push(format!(
                    "{place} RESP{protocol} {server:?}: {}\n  expected {expected}\n  found    {found}",
                    said.join(" ")
                ));
            }
            compared += 1;
            if found.starts_with("no reply") {
                client = Client::connect(port);
            }
        }
        (differences, compared)
    }
}

impl Step {
    fn expect(&mut self, line: &str) -> Result<(), String> {
        if let Some(text) = line.strip_prefix("annulus: ") {
            self.ours = Some(text.into());
        } else if let Some(text) = line.strip_prefix("why: ") {
            self.why = Some(text.into());
        } else if let Some(text) = line.strip_prefix("2: ") {
            self.redis[0] = Some(text.into());
        } else if let Some(text) = line.strip_prefix("3: ") {
            self.redis[1] = Some(text.into());
        } else if let Some(text) = line.strip_prefix("~ ") {
            self.pattern = true;
            self.redis = [Some(text.into()), Some(text.into())];
        } else if self.redis[0].is_none() {
            self.redis = [Some(line.into()), Some(line.into())];
        } else {
            return Err(format!("a second reply: {line}"));
        }
        Ok(())
    }

    fn expected(&self, server: Server, protocol: usize) -> (&str, bool) {
        match (&self.ours, server) {
            (Some(ours), Server::Annulus) => (ours, true),
            _ => (self.redis[protocol - 2].as_deref().expect("checked when read"), self.pattern),
        }
    }
}

/// `*` stands for anything, itself included; everything else for itself.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Splits a line into arguments: spaces separate, double quotes group, `\n \r \t \" \\ \xHH` inside quotes.
fn split(line: &str) -> Vec<Vec<u8>> {
    let mut arguments = Vec::new();
    let mut bytes = line.bytes().peekable();
    while let Some(&next) = bytes.peek() {
        if next == b' ' {
            bytes.next();
            continue;
        }
        let mut argument = Vec::new();
        if next != b'"' {
            while let Some(byte) = bytes.next_if(|&byte| byte != b' ') {
                argument.push(byte);
            }
            arguments.push(argument);
            continue;
        }
        bytes.next();
        loop {
            match bytes.next().expect("quotes are closed") {
                b'"' => break,
                b'\\' => argument.push(match bytes.next().expect("an escape has a letter") {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'x' => {
                        let digits = [bytes.next().expect("two digits"), bytes.next().expect("two digits")];
                        let digits = std::str::from_utf8(&digits).expect("hex digits");
                        u8::from_str_radix(digits, 16).expect("hex digits")
                    }
                    other => other,
                }),
                other => argument.push(other),
            }
        }
        arguments.push(argument);
    }
    arguments
}

/// Asserts that a reply's text matches.
pub fn assert_pattern(reply: &Reply, pattern: &str) {
    let text = reply.to_string();
    assert!(matches_pattern(pattern, &text), "expected {pattern}, got {text}");
}
