//! Commands on the connection itself: greeting, authentication, leaving.

use annulus_net::resp::{Protocol, writer};

use super::data::parse_integer;
use super::session::{Answer, SessionCommand, not_an_integer, ok, syntax_error};
use super::{Args, client, table};
use crate::config::{Announce, RuntimeConfig};
use crate::consistency::Consistency;
use crate::session::ReplyMode;

/// The version of Redis whose replies are given.
pub const REDIS_VERSION: &str = "7.2.4";

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. Are you \
    sure your configuration is correct?";
const HELLO_BEFORE_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
    <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
    same time";

/// PING.
pub fn ping(context: &mut SessionCommand<'_>, args: Args<'_>) -> Answer {
    match args {
        [_] => context.out.extend_from_slice(writer::PONG),
        [_, message] => writer::bulk(context.out, message),
        _ => {
            let row = table::lookup(b"ping").expect("it has a row");
            table::wrong_arity(context.out, row);
        }
    }
    Answer::Done
}

/// QUIT.
pub fn quit(context: &mut SessionCommand<'_>) -> Answer {
    ok(context.out);
    Answer::Close
}

/// RESET: as if just connected; what the client library told about itself stays.
pub fn reset(context: &mut SessionCommand<'_>) -> Answer {
    let session = &mut *context.session;
    session.protocol = Protocol::Resp2;
    session.consistency = Consistency::default();
    session.authenticated = context.runtime.requirepass.is_none();
    session.name.clear();
    session.reply_mode = ReplyMode::On;
    session.no_evict = false;
    session.no_touch = false;
    writer::simple(context.out, "RESET");
    Answer::Done
}

/// SELECT.
pub fn select(context: &mut SessionCommand<'_>, args: Args<'_>) -> Answer {
    match parse_integer(args[1]).map(i32::try_from) {
        Some(Ok(0)) => ok(context.out),
        Some(Ok(_)) => writer::error(context.out, "ERR DB index is out of range"),
        Some(Err(_)) | None => not_an_integer(context.out),
    }
    Answer::Done
}

/// Whether a name and a password let a client in. There is one user, `default`; without a password anything does for it.
fn may_enter(runtime: &RuntimeConfig, user: &[u8], password: &[u8]) -> bool {
    let right = runtime.requirepass.as_ref().is_none_or(|required| required.matches(password));
    right & (user == b"default")
}

/// AUTH.
pub fn auth(context: &mut SessionCommand<'_>, args: Args<'_>) -> Answer {
    let (user, password) = match *args {
        [_, password] if context.runtime.requirepass.is_some() => (&b"default"[..], password),
        [_, _] => {
            writer::error(context.out, NO_PASSWORD_SET);
            return Answer::Done;
        }
        [_, user, password] => (user, password),
        _ => {
            syntax_error(context.out);
            return Answer::Done;
        }
    };
    if may_enter(context.runtime, user, password) {
        context.session.authenticated = true;
        ok(context.out);
    } else {
        writer::error(context.out, WRONG_PASSWORD);
    }
    Answer::Done
}

/// What HELLO was given.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hello<'a> {
    protocol: Option<Protocol>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Hello<'a> {
    /// The error is the reply.
    fn parse(args: Args<'a>) -> Result<Self, String> {
        let mut hello = Self::default();
        let Some(version) = args.get(1) else { return Ok(hello) };
        hello.protocol = match parse_integer(version) {
            None => return Err("ERR Protocol version is not an integer or out of range".to_owned()),
            Some(2) => Some(Protocol::Resp2),
            Some(3) => Some(Protocol::Resp3),
            Some(_) => return Err("NOPROTO unsupported protocol version".to_owned()),
        };
        let mut options = &args[2..];
        while let [option, rest @ ..] = options {
            match (option.to_ascii_uppercase().as_slice(), rest) {
                (b"AUTH", [user, password, rest @ ..]) => {
                    hello.credentials = Some((user, password));
                    options = rest;
                }
                (b"SETNAME", [name, ..]) if !client::is_plain(name) => return Err(client::BAD_NAME.to_owned()),
                (b"SETNAME", [name, rest @ ..]) => {
                    hello.name = Some(name);
                    options = rest;
                }
                _ => {
                    return Err(format!("ERR Syntax error in HELLO option '{}'", String::from_utf8_lossy(option)));
                }
            }
        }
        Ok(hello)
    }
}

/// HELLO.
pub fn hello(context: &mut SessionCommand<'_>, args: Args<'_>) -> Answer {
    if let Err(text) = try_hello(context, args) {
        writer::error(context.out, &text);
    }
    Answer::Done
}

fn try_hello(context: &mut SessionCommand<'_>, args: Args<'_>) -> Result<(), String> {
    let hello = Hello::parse(args)?;
    if let Some((user, password)) = hello.credentials {
        if !may_enter(context.runtime, user, password) {
            return Err(WRONG_PASSWORD.to_owned());
        }
        context.session.authenticated = true;
    }
    if !context.session.authenticated {
        return Err(HELLO_BEFORE_AUTH.to_owned());
    }
    if let Some(name) = hello.name {
        context.session.name = name.to_vec();
    }
    if let Some(protocol) = hello.protocol {
        context.session.protocol = protocol;
        // RESP2 has no attributes.
        context.session.consistency.attributes &= protocol == Protocol::Resp3;
    }
    greet(context);
    Ok(())
}

/// What the server is, as a map.
fn greet(context: &mut SessionCommand<'_>) {
    let protocol = context.session.protocol;
    let version = match protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let mode = match context.node.config.announce {
        Announce::Core | Announce::Node => "cluster",
        Announce::Off => "standalone",
    };
    let out = &mut *context.out;
    writer::map_header(out, protocol, 7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        writer::bulk(out, name.as_bytes());
        writer::bulk(out, value.as_bytes());
    }
    writer::bulk(out, b"proto");
    writer::integer(out, version);
    writer::bulk(out, b"id");
    writer::integer(out, i64::try_from(context.session.id).unwrap_or(i64::MAX));
    for (name, value) in [("mode", mode), ("role", "master")] {
        writer::bulk(out, name.as_bytes());
        writer::bulk(out, value.as_bytes());
    }
    writer::bulk(out, b"modules");
    writer::array_header(out, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Password;

    fn parse(text: &str) -> Result<String, String> {
        let args: Vec<&[u8]> = text.split_ascii_whitespace().map(str::as_bytes).collect();
        Hello::parse(&args).map(|hello| {
            let shown = |text: &[u8]| text.escape_ascii().to_string();
            let credentials = hello.credentials.map(|(user, password)| (shown(user), shown(password)));
            format!("{:?} {credentials:?} {:?}", hello.protocol, hello.name.map(shown))
        })
    }

    #[test]
    fn hello_is_read_as_redis_does() {
        let good = [
            ("HELLO", "None None None"),
            ("HELLO 2", "Some(Resp2) None None"),
            ("hello 3 setname me auth u p", "Some(Resp3) Some((\"u\", \"p\")) Some(\"me\")"),
        ];
        for (text, expected) in good {
            assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
        }
        let bad = [
            ("HELLO x", "ERR Protocol version is not an integer or out of range"),
            ("HELLO 4", "NOPROTO unsupported protocol version"),
            ("HELLO 3 AUTH u", "ERR Syntax error in HELLO option 'AUTH'"),
            ("HELLO 3 SETNAME", "ERR Syntax error in HELLO option 'SETNAME'"),
            ("HELLO 3 what", "ERR Syntax error in HELLO option 'what'"),
            ("HELLO 3 SETNAME ä", client::BAD_NAME),
        ];
        for (text, expected) in bad {
            assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn one_user_and_one_password() {
        let open = RuntimeConfig::default();
        assert!(may_enter(&open, b"default", b"anything"));
        assert!(!may_enter(&open, b"root", b"anything"));
        let closed = RuntimeConfig { requirepass: Some(Password::new("secret".to_owned())), ..open };
        assert!(may_enter(&closed, b"default", b"secret"));
        assert!(!may_enter(&closed, b"default", b"Secret"));
        assert!(!may_enter(&closed, b"root", b"secret"));
    }
}
