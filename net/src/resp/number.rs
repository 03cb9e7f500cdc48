//! Decimal numbers and the lines that hold one, `*3` CR LF, as Redis reads them.
//!
//! Invariant: the result for a line does not depend on how much follows it.

/// A line of a type byte and a number.
pub(super) enum Line {
    Number { value: i64, next: usize },
    Incomplete { needed: usize },
    TooLong,
    Malformed,
}

/// Reads the line at `at`, whose type byte is known. Bytes before `scanned` hold no CR but perhaps as their last.
#[inline]
pub(super) fn number_line(input: &[u8], at: usize, scanned: usize, line_bytes_max: usize) -> Line {
    match short_number(input, at + 1) {
        Some((value, next)) => Line::Number { value, next },
        None => long_number(input, at, scanned, line_bytes_max),
    }
}

/// One to eight digits without a leading zero, CR LF: nearly every line there is. `None` leaves it to [`long_number`].
#[inline]
fn short_number(input: &[u8], at: usize) -> Option<(i64, usize)> {
    let line = input.get(at..)?;
    let mut value = i64::from(line.first()?.wrapping_sub(b'0'));
    if !(1..=9).contains(&value) {
        return None;
    }
    for index in 1..=8 {
        let byte = *line.get(index)?;
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + i64::from(digit);
        } else if byte == b'\r' && line.get(index + 1) == Some(&b'\n') {
            return Some((value, at + index + 2));
        } else {
            return None;
        }
    }
    None
}

/// Any line, complete or not.
#[cold]
fn long_number(input: &[u8], at: usize, scanned: usize, line_bytes_max: usize) -> Line {
    let window_end = input.len().min(at + line_bytes_max + 1);
    // The byte before `scanned` may be a CR whose LF was missing.
    let from = scanned.saturating_sub(1).max(at + 1).min(window_end);
    let Some(found) = input[from..window_end].iter().position(|byte| *byte == b'\r') else {
        return if window_end - at > line_bytes_max { Line::TooLong } else { Line::Incomplete { needed: 2 } };
    };
    let end = from + found;
    match input.get(end + 1) {
        None => Line::Incomplete { needed: 1 },
        Some(b'\n') => match decimal(&input[at + 1..end]) {
            Some(value) => Line::Number { value, next: end + 2 },
            None => Line::Malformed,
        },
        Some(_) => Line::Malformed,
    }
}

/// A decimal number as Redis reads one: an optional minus, no plus, no leading zeros, nothing else; 64 bits.
pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    if text == b"0" {
        return Some(0);
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 19 || !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut value: i64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Downwards, as there is one more negative number than there are positive ones.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}
