//! Just enough Rust: comments and literals blanked out, functions and test modules found by their braces.
//!
//! Not a parser. Lines and columns stay where they were, so that findings point at the source.

use std::ops::Range;

/// A Rust file whose comments, strings and characters are spaces.
pub struct Masked {
    code: String,
    lines: Vec<Range<usize>>,
    test_lines: Vec<Range<usize>>,
}

/// A function: its name and its lines, from 1, from `fn` to the closing brace.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub first: usize,
    pub last: usize,
}

impl Masked {
    /// Blanks the text.
    pub fn new(text: &str) -> Self {
        let code = blank(text);
        let mut start = 0;
        let mut lines = Vec::new();
        for line in code.split_inclusive('\n') {
            lines.push(start..start + line.len());
            start += line.len();
        }
        let mut masked = Masked { code, lines, test_lines: Vec::new() };
        masked.test_lines = masked.find_test_lines();
        masked
    }

    /// The lines of code, numbered from 1.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines.iter().enumerate().map(|(index, line)| (index + 1, &self.code[line.clone()]))
    }

    /// Whether the line belongs to an item behind `#[cfg(test)]` or `#[test]`.
    pub fn is_test(&self, line: usize) -> bool {
        self.test_lines.iter().any(|range| range.contains(&line))
    }

    /// Lines on which the word stands as a whole.
    pub fn lines_with(&self, word: &str) -> Vec<usize> {
        self.numbered().filter(|(_, code)| has_word(code, word)).map(|(line, _)| line).collect()
    }

    /// Every function with a body.
    pub fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for start in words(&self.code, "fn") {
            let name: String = self.code[start + 2..].trim_start().chars().take_while(|c| is_word(*c)).collect();
            if name.is_empty() {
                continue;
            }
            if let Some(end) = self.block_after(start) {
                found.push(Function { name, first: self.line_of(start), last: self.line_of(end) });
            }
        }
        found
    }

    /// The end of the block that begins after `start`, unless a `;` ends the item first.
    fn block_after(&self, start: usize) -> Option<usize> {
        let (mut depth, mut inside) = (0usize, 0usize);
        for (at, byte) in self.code.bytes().enumerate().skip(start) {
            match byte {
                b'(' | b'[' => inside += 1,
                b')' | b']' => inside = inside.saturating_sub(1),
                b';' if depth == 0 && inside == 0 => return None,
                b'{' => depth += 1,
                b'}' => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(at);
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|line| line.end <= offset) + 1
    }

    fn find_test_lines(&self) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for attribute in ["#[cfg(test)]", "#[cfg(any(test", "#[cfg(all(test", "#[test]"] {
            for (at, _) in self.code.match_indices(attribute) {
                if let Some(end) = self.block_after(at + attribute.len()) {
                    found.push(self.line_of(at)..self.line_of(end) + 1);
                }
            }
        }
        found
    }
}

/// Whether `word` stands in `code` with no letter, digit or underscore beside it.
pub fn has_word(code: &str, word: &str) -> bool {
    words(code, word).next().is_some()
}

fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Comments, strings and characters become spaces; line ends stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        match end {
            Some(end) => {
                out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
                at = end;
            }
            None => at += 1,
        }
    }
    String::from_utf8(out).expect("literals are blanked as a whole, so that no character is cut")
}

/// Where the comment or literal that begins at `at` ends, if one does.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let starts_word = at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => Some(at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => Some(at + block_comment(rest)),
        [b'"', ..] => Some(at + quoted(rest, 1)),
        [b'b' | b'c', b'"', ..] if starts_word => Some(at + quoted(rest, 2)),
        [b'r', b'"' | b'#', ..] if starts_word => raw(rest, 1).map(|length| at + length),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if starts_word => raw(rest, 2).map(|length| at + length),
        [b'\'', b'\\', ..] => Some(at + character(rest)),
        [b'\'', ..] => {
            // A lifetime has no closing quote after its first character.
            let text = std::str::from_utf8(&rest[1..rest.len().min(6)]);
            let text = text.unwrap_or_else(|error| {
                std::str::from_utf8(&rest[1..1 + error.valid_up_to()]).expect("valid up to there")
            });
            let length = text.chars().next()?.len_utf8();
            (rest.get(1 + length) == Some(&b'\'')).then_some(at + length + 2)
        }
        _ => None,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn character(rest: &[u8]) -> usize {
    let closing = rest.iter().skip(3).position(|&byte| byte == b'\'');
    closing.map_or(rest.len(), |at| at + 4)
}

fn raw(rest: &[u8], start: usize) -> Option<usize> {
    let hashes = rest[start..].iter().take_while(|&&byte| byte == b'#').count();
    if rest.get(start + hashes) != Some(&b'"') {
        return None;
    }
    let closing: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = start + hashes + 1;
    let end = rest[body..].windows(closing.len()).position(|window| window == closing);
    Some(end.map_or(rest.len(), |end| body + end + closing.len()))
}
