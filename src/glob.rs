//! Redis' glob patterns, for KEYS, SCAN, CONFIG GET and COMMAND LIST.
//!
//! `*` any bytes, `?` one byte, `[abc]` `[a-z]` `[^a]` one of or none of these, `\x` x itself. It works on
//! bytes, knows no directories, and keeps Redis' reading of broken patterns: a class that is not closed
//! ends with the pattern, a backslash at the end is itself.
//!
//! Invariant: at most pattern × text steps and no recursion. When a byte does not match, only the last
//! `*` takes one byte more: whatever an earlier one took, a later `*` can make up for it.

/// Whether the whole text matches.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    glob(pattern, text, |byte| byte)
}

/// The same, with ASCII letters equal in both cases.
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    glob(pattern, text, |byte| byte.to_ascii_lowercase())
}

/// Whether a pattern matches one text only, itself: then it names a key and nothing need be searched.
pub fn is_literal(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

fn glob(pattern: &[u8], text: &[u8], fold: impl Fn(u8) -> u8 + Copy) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where to go on after the last `*`, and the text that it has not taken.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            if at == pattern.len() {
                return true;
            }
            star = Some((at, read));
            continue;
        }
        let Some(&byte) = text.get(read) else {
            return at == pattern.len();
        };
        if let Some(length) = match_one(&pattern[at..], byte, fold) {
            at += length;
            read += 1;
            continue;
        }
        let Some((after, taken)) = star else {
            return false;
        };
        star = Some((after, taken + 1));
        (at, read) = (after, taken + 1);
    }
}

/// The length of the element at the start of the pattern, when it matches the byte.
fn match_one(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8 + Copy) -> Option<usize> {
    let (found, length) = match *pattern {
        [] => (false, 0),
        [b'?', ..] => (true, 1),
        [b'[', ..] => match_class(pattern, byte, fold),
        [b'\\', literal, ..] => (fold(literal) == fold(byte), 2),
        [literal, ..] => (fold(literal) == fold(byte), 1),
    };
    found.then_some(length)
}

/// Whether the class at the start of the pattern holds the byte, and the length of the class.
fn match_class(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8 + Copy) -> (bool, usize) {
    let byte = fold(byte);
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        match pattern[at..] {
            [] => break,
            [b'\\', literal, ..] => {
                found |= fold(literal) == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [one, b'-', other, ..] => {
                let (one, other) = (fold(one), fold(other));
                found |= (one.min(other)..=one.max(other)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= fold(literal) == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} should match {text}");
        }
        for text in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} should not match {text}");
        }
    }

    #[test]
    fn patterns() {
        check("", &[""], &["a"]);
        check("*", &["", "a", "abc"], &[]);
        check("**", &["", "a"], &[]);
        check("h?llo", &["hello", "hxllo"], &["hllo", "heello", "hello "]);
        check("h*llo", &["hllo", "heeeello"], &["hell", "ahllo"]);
        check("h[ae]llo", &["hello", "hallo"], &["hillo", "hllo"]);
        check("h[^e]llo", &["hallo", "hbllo"], &["hello"]);
        check("h[a-b]llo", &["hallo", "hbllo"], &["hcllo"]);
        check("h[b-a]llo", &["hallo", "hbllo"], &["hcllo"]);
        check("a*b*c", &["abc", "axxbxxc", "abcbc"], &["acb", "ab"]);
        check("*abc*", &["abc", "xabcx", "ababc"], &["ab", "acb"]);
        check("*?*?", &["ab", "abc"], &["a", ""]);
        check(r"h\?llo", &["h?llo"], &["hello"]);
        check(r"a\", &[r"a\"], &["a"]);
        check(r"[\]]", &["]"], &["\\"]);
        check("[a-]", &["a", "]", "^"], &["b"]);
        check("[ab", &["a", "b"], &["c"]);
        check("[", &[], &["[", ""]);
        check("[^", &["x"], &[""]);
        check("[]", &[], &["a", ""]);
        check("[^]", &["a"], &[""]);
    }

    #[test]
    fn case_and_literals() {
        assert!(matches_ignoring_case(b"MAX[A-M]*", b"maxmemory"));
        assert!(!matches(b"MAX*", b"maxmemory"));
        assert!(is_literal(b"plain:{key}^]"));
        for pattern in ["*", "a?", "[a]", "\\a"] {
            assert!(!is_literal(pattern.as_bytes()));
        }
    }

    #[test]
    fn many_stars_end_soon() {
        let pattern = [b"a*".repeat(5_000), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &vec![b'a'; 20_000]));
    }

    /// Every short pattern and text over a few bytes, against the plain recursive definition.
    #[test]
    fn agrees_with_the_definition() {
        fn defined(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern, text) {
                ([], []) => true,
                ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| defined(rest, &text[taken..])),
                (_, [byte, left @ ..]) => {
                    match_one(pattern, *byte, |byte| byte).is_some_and(|length| defined(&pattern[length..], left))
                }
                _ => false,
            }
        }
        let words = |alphabet: &[u8], length: u32| -> Vec<Vec<u8>> {
            let base = alphabet.len();
            let word = |number: usize, length: u32| -> Vec<u8> {
                (0..length).map(|at| alphabet[number / base.pow(at) % base]).collect()
            };
            (0..=length).flat_map(|n| (0..base.pow(n)).map(move |i| (i, n))).map(|(i, n)| word(i, n)).collect()
        };
        let texts = words(b"ab", 5);
        for pattern in words(b"ab*?", 5) {
            for text in &texts {
                assert_eq!(matches(&pattern, text), defined(&pattern, text), "{pattern:?} {text:?}");
            }
        }
    }
}
