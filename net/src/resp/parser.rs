//! Requests from bytes, a piece at a time. It finds arguments; it neither copies them (inline commands excepted, which
//! need unescaping) nor knows commands.
//!
//! Invariant: the result depends on the bytes alone, not on how they were cut into pieces, and no finished argument is
//! looked at twice.

use super::arguments::{Arguments, Span};
use super::error::ProtocolError;
use super::inline;
use super::number::{Line, number_line};
use crate::limits::Limits;

/// Argument spans kept from one command to the next; a larger command's are given back.
const SPANS_KEPT: usize = 1024;
/// Bytes of an inline command's arguments kept from one command to the next.
const SCRATCH_BYTES_KEPT: usize = 4096;

/// What [`Parser::parse`] found at the start of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A whole command of so many bytes; [`Parser::arguments`] has its arguments.
    Command {
        /// Bytes up to and including its end; at least 1.
        consumed: usize,
    },
    /// Something that asks for nothing and gets no reply: an empty line, `*0`, `*-1`.
    Nothing {
        /// Bytes up to and including its end; at least 1.
        consumed: usize,
    },
    /// The command is not all there. Call again with the same bytes and more after them.
    Incomplete {
        /// At least so many bytes are missing; at least 1, and never above what the limits let one argument have.
        needed: usize,
    },
}

/// Where an unfinished command stands. Positions count from its first byte.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// First byte not yet understood: of a line, or of an argument whose length is known.
    position: usize,
    /// First byte of an unfinished line not yet looked at; meaningless when at or before `position`.
    scanned: usize,
    /// Arguments still to come; 0 before the `*` line.
    missing: usize,
    /// The length of the argument at `position`, once known.
    bulk: Option<usize>,
    /// Bytes of the arguments so far announced.
    argument_bytes: usize,
}

/// One connection's request parser.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    spans: Vec<Span>,
    scratch: Vec<u8>,
    progress: Progress,
    inline: bool,
}

impl Parser {
    /// A parser at the start of a command. Panics on limits that contradict each other. Allocates nothing yet.
    pub fn new(limits: Limits) -> Self {
        limits.assert_valid();
        Self { limits, spans: Vec::new(), scratch: Vec::new(), progress: Progress::default(), inline: false }
    }

    /// Looks for one command at the start of `input`, which is the first byte of the unfinished command if the last
    /// call returned [`Parsed::Incomplete`], and else of the next one. Empty input is incomplete. `authenticated` lifts
    /// the limits on clients that still have to log in.
    ///
    /// Panics if an unfinished command has become shorter.
    #[inline]
    pub fn parse(&mut self, input: &[u8], authenticated: bool) -> Result<Parsed, ProtocolError> {
        match input.first() {
            Some(b'*') => self.parse_multibulk(input, authenticated),
            Some(_) => self.parse_inline(input),
            None => Ok(Parsed::Incomplete { needed: 1 }),
        }
    }

    /// The arguments of the command that [`Parser::parse`] has just found; `input` is what it was given. Meaningless
    /// after any other result.
    #[inline]
    pub fn arguments<'a>(&'a self, input: &'a [u8]) -> Arguments<'a> {
        debug_assert!(!self.is_midway(), "there is no whole command");
        Arguments::new(if self.inline { &self.scratch } else { input }, &self.spans)
    }

    /// As [`Parser::arguments`], but tied to the input alone, so that the next command can be parsed meanwhile; `None` for an
    /// inline command, whose arguments lie in the parser.
    #[inline]
    pub fn arguments_in<'a>(&self, input: &'a [u8]) -> Option<impl Iterator<Item = &'a [u8]> + use<'a, '_>> {
        debug_assert!(!self.is_midway(), "there is no whole command");
        (!self.inline).then(|| self.spans.iter().map(|span| span.of(input)))
    }

    /// Forgets an unfinished command: the next input begins with another.
    pub fn reset(&mut self) {
        self.progress = Progress::default();
    }

    /// Whether a command has begun whose end has not arrived.
    pub fn is_midway(&self) -> bool {
        self.progress.position > 0 || self.progress.scanned > 0
    }

    /// The limits it was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Bytes held beside the query buffer, for accounting.
    pub fn memory_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.scratch.capacity()
    }

    fn parse_multibulk(&mut self, input: &[u8], authenticated: bool) -> Result<Parsed, ProtocolError> {
        let mut progress = self.progress;
        assert!(progress.position <= input.len(), "an unfinished command has become shorter");
        if progress.missing == 0 {
            self.begin();
            let (count, next) = match number_line(input, 0, progress.scanned, self.limits.inline_bytes_max) {
                Line::Number { value, next } => (value, next),
                Line::Incomplete { needed } => return Ok(self.wait(progress, input.len(), needed)),
                Line::TooLong => return Err(ProtocolError::CountLineTooBig),
                Line::Malformed => return Err(ProtocolError::InvalidCount),
            };
            if count <= 0 {
                self.progress = Progress::default();
                return Ok(Parsed::Nothing { consumed: next });
            }
            progress.missing = self.check_count(count, authenticated)?;
            progress.position = next;
        }
        while progress.missing > 0 {
            if let Some(needed) = self.argument(input, &mut progress, authenticated)? {
                return Ok(self.wait(progress, input.len(), needed));
            }
        }
        self.progress = Progress::default();
        Ok(Parsed::Command { consumed: progress.position })
    }

    /// Reads the next argument; `Some` is how many bytes it lacks at least.
    #[inline]
    fn argument(
        &mut self,
        input: &[u8],
        progress: &mut Progress,
        authenticated: bool,
    ) -> Result<Option<usize>, ProtocolError> {
        let bytes = match progress.bulk {
            Some(bytes) => bytes,
            None => {
                match input.get(progress.position) {
                    Some(b'$') => {}
                    Some(&found) => return Err(ProtocolError::ExpectedBulk { found }),
                    None => return Ok(Some(1)),
                }
                match number_line(input, progress.position, progress.scanned, self.limits.inline_bytes_max) {
                    Line::Number { value, next } => {
                        let bytes = self.check_bulk(value, authenticated, progress)?;
                        progress.position = next;
                        bytes
                    }
                    Line::Incomplete { needed } => return Ok(Some(needed)),
                    Line::TooLong => return Err(ProtocolError::BulkLineTooBig),
                    Line::Malformed => return Err(ProtocolError::InvalidBulk),
                }
            }
        };
        let end = progress.position + bytes;
        match input.get(end..end + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Err(ProtocolError::ExpectedLineEnd { bytes }),
            None => {
                progress.bulk = Some(bytes);
                return Ok(Some(end + 2 - input.len()));
            }
        }
        self.spans.push(Span::new(progress.position, end));
        progress.position = end + 2;
        progress.bulk = None;
        progress.missing -= 1;
        Ok(None)
    }

    fn parse_inline(&mut self, input: &[u8]) -> Result<Parsed, ProtocolError> {
        self.begin();
        self.inline = true;
        let scanned = self.progress.scanned;
        assert!(scanned <= input.len(), "an unfinished command has become shorter");
        let window = &input[..input.len().min(self.limits.inline_bytes_max + 1)];
        let Some(found) = window[scanned..].iter().position(|byte| *byte == b'\n') else {
            if window.len() > self.limits.inline_bytes_max {
                return Err(ProtocolError::InlineTooBig);
            }
            return Ok(self.wait(Progress::default(), window.len(), 1));
        };
        let end = scanned + found;
        self.progress = Progress::default();
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        inline::split(line, &mut self.scratch, &mut self.spans).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        let consumed = end + 1;
        Ok(if self.spans.is_empty() { Parsed::Nothing { consumed } } else { Parsed::Command { consumed } })
    }

    /// Forgets the last command, and gives back what only a large one needs.
    #[inline]
    fn begin(&mut self) {
        self.inline = false;
        self.spans.clear();
        if self.spans.capacity() > SPANS_KEPT || self.scratch.capacity() > SCRATCH_BYTES_KEPT {
            self.spans.shrink_to(SPANS_KEPT);
            self.scratch.clear();
            self.scratch.shrink_to(SCRATCH_BYTES_KEPT);
        }
    }

    #[cold]
    fn wait(&mut self, progress: Progress, scanned: usize, needed: usize) -> Parsed {
        assert!(needed > 0);
        self.progress = Progress { scanned, ..progress };
        Parsed::Incomplete { needed }
    }

    #[inline]
    fn check_count(&self, count: i64, authenticated: bool) -> Result<usize, ProtocolError> {
        let maximum = self.limits.arguments_max;
        match usize::try_from(count) {
            Ok(count) if count > maximum => {}
            Ok(count) if !authenticated && count > self.limits.unauthenticated_arguments_max => {
                return Err(ProtocolError::UnauthenticatedCount);
            }
            Ok(count) => return Ok(count),
            Err(_) => {}
        }
        Err(ProtocolError::TooManyArguments { count, maximum })
    }

    #[inline]
    fn check_bulk(&self, value: i64, authenticated: bool, progress: &mut Progress) -> Result<usize, ProtocolError> {
        let bytes = usize::try_from(value).map_err(|_| ProtocolError::InvalidBulk)?;
        if bytes > self.limits.bulk_bytes_max {
            return Err(ProtocolError::BulkTooBig { bytes: value, maximum: self.limits.bulk_bytes_max });
        }
        if !authenticated && bytes > self.limits.unauthenticated_bulk_bytes_max {
            return Err(ProtocolError::UnauthenticatedBulk);
        }
        progress.argument_bytes += bytes;
        if progress.argument_bytes > self.limits.command_bytes_max {
            let maximum = self.limits.command_bytes_max;
            return Err(ProtocolError::CommandTooBig { bytes: progress.argument_bytes, maximum });
        }
        Ok(bytes)
    }
}
