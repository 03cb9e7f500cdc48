//! CLIENT: what a connection says about itself, the list of connections, and closing them.

use std::fmt::Write as _;

use annulus_engine::Disk;
use annulus_net::resp::{Protocol, writer};

use super::Args;
use super::data::parse_integer;
use super::session::{Answer, CorePart, SessionCommand, ok, syntax_error};
use super::table::{Command, Gather};
use crate::session::{ReplyMode, Session};

/// The error for names that would break lines of CLIENT LIST.
pub const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// True for text of printable ASCII without spaces.
pub fn is_plain(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

/// CLIENT ID.
pub fn id(context: &mut SessionCommand<'_>) {
    writer::integer(context.out, i64::try_from(context.session.id).unwrap_or(i64::MAX));
}

/// CLIENT GETNAME.
pub fn get_name(context: &mut SessionCommand<'_>) {
    match context.session.name.as_slice() {
        [] => writer::null(context.out, context.session.protocol),
        name => writer::bulk(context.out, name),
    }
}

/// CLIENT SETNAME.
pub fn set_name(context: &mut SessionCommand<'_>, args: Args<'_>) {
    if !is_plain(args[2]) {
        return writer::error(context.out, BAD_NAME);
    }
    context.session.name = args[2].to_vec();
    ok(context.out);
}

/// CLIENT SETINFO.
pub fn set_info(context: &mut SessionCommand<'_>, args: Args<'_>) {
    let (option, value) = (args[2], args[3]);
    let (name, field) = match option.to_ascii_lowercase().as_slice() {
        b"lib-name" => ("lib-name", &mut context.session.driver_name),
        b"lib-ver" => ("lib-ver", &mut context.session.driver_version),
        _ => {
            let option = String::from_utf8_lossy(option);
            return writer::error(context.out, &format!("ERR Unrecognized option '{option}'"));
        }
    };
    if !is_plain(value) {
        let text = format!("ERR {name} cannot contain spaces, newlines or special characters.");
        return writer::error(context.out, &text);
    }
    *field = value.to_vec();
    ok(context.out);
}

/// CLIENT INFO.
pub fn info(context: &mut SessionCommand<'_>) {
    let mut text = String::new();
    describe(context.session, context.now_ms, &mut text);
    writer::verbatim(context.out, context.session.protocol, "txt", text.as_bytes());
}

/// CLIENT REPLY. Only ON is answered.
pub fn reply(context: &mut SessionCommand<'_>, args: Args<'_>) {
    let mode = &mut context.session.reply_mode;
    match args[2].to_ascii_uppercase().as_slice() {
        b"ON" => {
            *mode = ReplyMode::On;
            ok(context.out);
        }
        b"OFF" => *mode = ReplyMode::Off,
        b"SKIP" if *mode == ReplyMode::Off => {}
        b"SKIP" => *mode = ReplyMode::SkipNext,
        _ => syntax_error(context.out),
    }
}

/// CLIENT NO-EVICT, CLIENT NO-TOUCH.
pub fn no_use(command: Command, context: &mut SessionCommand<'_>, args: Args<'_>) {
    let wanted = match args[2].to_ascii_uppercase().as_slice() {
        b"ON" => true,
        b"OFF" => false,
        _ => return syntax_error(context.out),
    };
    match command {
        Command::ClientNoEvict => context.session.no_evict = wanted,
        _ => context.session.no_touch = wanted,
    }
    ok(context.out);
}

/// Which clients CLIENT LIST and CLIENT KILL mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Filter {
    /// Any of these; empty means all.
    ids: Vec<u64>,
    /// Not this one.
    not_id: Option<u64>,
    address: Option<String>,
    local_address: Option<String>,
    /// Connected for at least so many seconds.
    age_s: Option<u64>,
    /// Of another type or user than any client has.
    nobody: bool,
}

impl Filter {
    fn fits(&self, session: &Session, now_ms: u64) -> bool {
        !self.nobody
            && (self.ids.is_empty() || self.ids.contains(&session.id))
            && self.not_id.is_none_or(|id| id != session.id)
            && self.address.as_ref().is_none_or(|address| *address == session.peer.to_string())
            && self.local_address.as_ref().is_none_or(|address| *address == session.local.to_string())
            && self.age_s.is_none_or(|age_s| seconds(session.connected_ms, now_ms) >= age_s)
    }

    /// TYPE: all clients are normal ones.
    fn take_type(&mut self, kind: &[u8]) -> Result<(), String> {
        match kind.to_ascii_lowercase().as_slice() {
            b"normal" => {}
            b"master" | b"replica" | b"slave" | b"pubsub" => self.nobody = true,
            _ => return Err(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(kind))),
        }
        Ok(())
    }

    /// The arguments of CLIENT LIST behind its name. The error is the reply.
    fn of_list(args: Args<'_>) -> Result<Self, String> {
        let mut filter = Self::default();
        match args {
            [] => {}
            [option, kind] if option.eq_ignore_ascii_case(b"TYPE") => filter.take_type(kind)?,
            [option, ids @ ..] if option.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
                let parsed = ids.iter().map(|id| parse_integer(id).and_then(|id| u64::try_from(id).ok()));
                filter.ids = parsed.collect::<Option<_>>().ok_or("ERR Invalid client ID")?;
            }
            _ => return Err("ERR syntax error".to_owned()),
        }
        Ok(filter)
    }

    /// The pairs of CLIENT KILL's filters. `own_id` is the client that asks; a core part, which does not know it, gets it as
    /// `NOTID`. The error is the reply.
    fn of_kill(pairs: Args<'_>, own_id: Option<u64>) -> Result<Self, String> {
        let mut filter = Self { not_id: own_id, ..Self::default() };
        let (pairs, []) = pairs.as_chunks::<2>() else {
            return Err("ERR syntax error".to_owned());
        };
        for [option, value] in pairs {
            let positive = || parse_integer(value).and_then(|number| u64::try_from(number).ok()).filter(|id| *id > 0);
            let text = || String::from_utf8_lossy(value).into_owned();
            match option.to_ascii_uppercase().as_slice() {
                b"ID" => filter.ids = vec![positive().ok_or("ERR client-id should be greater than 0")?],
                b"NOTID" if own_id.is_none() => filter.not_id = positive(),
                b"ADDR" => filter.address = Some(text()),
                b"LADDR" => filter.local_address = Some(text()),
                b"TYPE" => filter.take_type(value)?,
                b"USER" if *value == b"default" => {}
                b"USER" => return Err(format!("ERR No such user '{}'", text())),
                b"MAXAGE" => {
                    filter.age_s = Some(positive().ok_or("ERR maxage is not an integer or out of range")?);
                }
                b"SKIPME" if value.eq_ignore_ascii_case(b"yes") => filter.not_id = own_id,
                b"SKIPME" if value.eq_ignore_ascii_case(b"no") => filter.not_id = None,
                _ => return Err("ERR syntax error".to_owned()),
            }
        }
        Ok(filter)
    }
}

/// CLIENT LIST.
pub fn list(context: &mut SessionCommand<'_>, args: Args<'_>) -> Answer {
    match Filter::of_list(&args[2..]) {
        Ok(_) => Answer::EveryCore(Gather::Text),
        Err(text) => {
            writer::error(context.out, &text);
            Answer::Done
        }
    }
}

/// CLIENT LIST on one core: lines.
pub fn list_part<D: Disk>(part: &mut CorePart<'_, D>, args: Args<'_>) {
    let filter = match Filter::of_list(&args[2..]) {
        Ok(filter) => filter,
        Err(text) => return writer::error(part.out, &text),
    };
    let mut text = String::new();
    let sessions = part.sessions.iter().map(|(_, session)| session);
    for session in sessions.filter(|session| !session.closed && filter.fits(session, part.now_ms)) {
        describe(session, part.now_ms, &mut text);
    }
    writer::bulk(part.out, text.as_bytes());
}

/// CLIENT KILL: by one address, answered with OK; or by filters, answered with the number of clients.
pub fn kill(context: &mut SessionCommand<'_>, args: Args<'_>) -> Answer {
    if args.len() == 3 {
        return Answer::EveryCore(Gather::AnyOr("ERR No such client"));
    }
    let filter = match Filter::of_kill(&args[2..], Some(context.session.id)) {
        Ok(filter) => filter,
        Err(text) => {
            writer::error(context.out, &text);
            return Answer::Done;
        }
    };
    let is_skipme = |pair: &[&[u8]]| pair[0].eq_ignore_ascii_case(b"SKIPME");
    let pairs = args[2..].chunks_exact(2).filter(|pair| !is_skipme(pair)).flatten();
    let mut part: Vec<Vec<u8>> = args[..2].iter().chain(pairs).map(|arg| arg.to_vec()).collect();
    if let Some(id) = filter.not_id {
        part.extend([b"NOTID".to_vec(), id.to_string().into_bytes()]);
    }
    if part.len() == 2 {
        part.extend([b"TYPE".to_vec(), b"normal".to_vec()]);
    }
    Answer::EveryCoreWith(Gather::Sum, part)
}

/// CLIENT KILL on one core.
pub fn kill_part<D: Disk>(part: &mut CorePart<'_, D>, args: Args<'_>) {
    let filter = match args {
        [_, _, address] => {
            Ok(Filter { address: Some(String::from_utf8_lossy(address).into_owned()), ..Filter::default() })
        }
        _ => Filter::of_kill(&args[2..], None),
    };
    let filter = match filter {
        Ok(filter) => filter,
        Err(text) => return writer::error(part.out, &text),
    };
    let sessions = part.sessions.iter();
    let fitting = sessions.filter(|(_, session)| !session.closed && filter.fits(session, part.now_ms));
    let before = part.kill.len();
    part.kill.extend(fitting.map(|(index, _)| index));
    let killed = part.kill.len() - before;
    match (args.len(), killed) {
        (3, 0) => writer::null(part.out, part.protocol),
        (3, _) => ok(part.out),
        _ => writer::integer(part.out, i64::try_from(killed).expect("clients are far fewer")),
    }
}

fn seconds(since_ms: u64, now_ms: u64) -> u64 {
    now_ms.saturating_sub(since_ms) / 1000
}

/// One line of CLIENT LIST, in Redis' fields; figures that do not exist here are 0.
fn describe(session: &Session, now_ms: u64, text: &mut String) {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let resp = match session.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let (input, output) = (session.input.len(), session.replies.bytes());
    let mut flags = String::new();
    let marks = [(session.no_evict, 'e'), (session.no_touch, 'T'), (session.closing, 'c')];
    flags.extend(marks.iter().filter(|(set, _)| *set).map(|(_, mark)| mark));
    if flags.is_empty() {
        flags.push('N');
    }
    writeln!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf={input} \
         qbuf-free={} argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={output} oll=0 omem={output} tot-mem={} events=r cmd={} \
         user=default redir=-1 resp={resp} lib-name={} lib-ver={} tot-net-in={} tot-net-out={} tot-cmds={}",
        session.id,
        session.peer,
        session.local,
        session.connection.map_or(-1, |connection| i64::try_from(connection.index()).unwrap_or(-1)),
        shown(&session.name),
        seconds(session.connected_ms, now_ms),
        seconds(session.last_ms, now_ms),
        session.input.capacity() - input,
        session.buffer_bytes() + size_of::<Session>(),
        if session.last_command.is_empty() { "NULL" } else { session.last_command },
        shown(&session.driver_name),
        shown(&session.driver_version),
        session.bytes_in,
        session.bytes_out,
        session.commands,
    )
    .expect("writing to a string");
}

#[cfg(test)]
mod tests;
