//! What SCAN's arguments say.

use super::Args;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanOptions<'a> {
    /// Where it goes on; 0 from the beginning.
    pub cursor: u64,
    /// Only keys that match; `None` for any.
    pub pattern: Option<&'a [u8]>,
    /// Keys to look at, at least one.
    pub count: usize,
    /// False when a TYPE was asked for that no key has.
    pub any_type: bool,
}

/// Takes SCAN's arguments apart, its name first and a cursor behind it. The error is what the client is told.
pub fn parse<'a>(args: Args<'a>) -> Result<ScanOptions<'a>, &'static str> {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<u64>().ok();
    let cursor = number(args[1]).ok_or("ERR invalid cursor")?;
    let mut options = ScanOptions { cursor, pattern: None, count: 10, any_type: true };
    let mut rest = &args[2..];
    while let [name, value, others @ ..] = rest {
        rest = others;
        if name.eq_ignore_ascii_case(b"match") {
            options.pattern = (*value != b"*").then_some(*value);
        } else if name.eq_ignore_ascii_case(b"count") {
            let count = number(value).ok_or("ERR value is not an integer or out of range")?;
            options.count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or("ERR syntax error")?;
        } else if name.eq_ignore_ascii_case(b"type") {
            options.any_type = value.eq_ignore_ascii_case(b"string");
        } else {
            return Err("ERR syntax error");
        }
    }
    if rest.is_empty() { Ok(options) } else { Err("ERR syntax error") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &'static str) -> Result<ScanOptions<'static>, &'static str> {
        let args: Vec<&[u8]> = text.split_ascii_whitespace().map(str::as_bytes).collect();
        parse(args.leak())
    }

    #[test]
    fn options_in_any_order_and_what_is_none() {
        let all = ScanOptions { cursor: 7, pattern: Some(b"a*"), count: 3, any_type: false };
        assert_eq!(parsed("SCAN 7 count 3 MATCH a* type list"), Ok(all));
        let none = ScanOptions { cursor: 0, pattern: None, count: 10, any_type: true };
        assert_eq!(parsed("SCAN 0 MATCH * TYPE STRING"), Ok(none));
        for (text, error) in [
            ("SCAN x", "ERR invalid cursor"),
            ("SCAN -1", "ERR invalid cursor"),
            ("SCAN 0 COUNT", "ERR syntax error"),
            ("SCAN 0 COUNT 0", "ERR syntax error"),
            ("SCAN 0 COUNT x", "ERR value is not an integer or out of range"),
            ("SCAN 0 LIMIT 1", "ERR syntax error"),
        ] {
            assert_eq!(parsed(text), Err(error), "{text}");
        }
    }
}
