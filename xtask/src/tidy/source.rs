//! A Rust file with its comments and literals blanked out, so that rules look at code only. Lines keep their numbers.

/// A file's code.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) code: String,
}

impl Source {
    /// Blanks `text`.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), code: blank(text) }
    }

    /// Byte offsets of `word` where it stands alone.
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let inside = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let bytes = self.code.as_bytes();
        self.code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
            let before = at.checked_sub(1).and_then(|before| bytes.get(before));
            !inside(before) && !inside(bytes.get(at + word.len()))
        })
    }

    /// The line of a byte offset, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

/// Spaces instead of comments, strings and characters. Everything outside ASCII becomes a space too, so offsets are plain.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = vec![b' '; bytes.len()];
    let mut at = 0;
    while at < bytes.len() {
        let end = match &bytes[at..] {
            [b'/', b'/', ..] => until(bytes, at, b"\n"),
            [b'/', b'*', ..] => block_comment(bytes, at),
            [b'r' | b'b' | b'c', ..] if !is_inside_word(bytes, at) => raw_string(bytes, at).unwrap_or(at),
            [b'"', ..] => string(bytes, at),
            [b'\'', ..] => character(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end > at {
            for index in at..end.min(bytes.len()) {
                if bytes[index] == b'\n' {
                    code[index] = b'\n';
                }
            }
            at = end;
        } else {
            if bytes[at].is_ascii() {
                code[at] = bytes[at];
            }
            at += 1;
        }
    }
    String::from_utf8(code).expect("only ASCII was written")
}

fn is_inside_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn until(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    bytes[from..].windows(end.len()).position(|window| window == end).map_or(bytes.len(), |found| from + found)
}

fn block_comment(bytes: &[u8], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(bytes: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// `r"…"`, `r#"…"#`, `br"…"`, `b"…"`, `c"…"`; none where the letter starts a name.
fn raw_string(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at < from + 2 && matches!(bytes.get(at), Some(b'r' | b'b' | b'c')) {
        at += 1;
    }
    let raw = bytes[at - 1] == b'r';
    let hashes = bytes[at..].iter().take_while(|&&byte| byte == b'#').count();
    match bytes.get(at + hashes) {
        Some(b'"') if raw => {
            let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
            Some(until(bytes, at + hashes + 1, &end) + end.len())
        }
        Some(b'"') if hashes == 0 => Some(string(bytes, at)),
        Some(b'\'') if hashes == 0 && !raw => character(bytes, at),
        _ => None,
    }
}

/// A character, or none where the tick starts a lifetime.
fn character(bytes: &[u8], tick: usize) -> Option<usize> {
    match bytes.get(tick + 1)? {
        // What follows the backslash may be a tick itself.
        b'\\' => Some(until(bytes, tick + 3, b"'") + 1),
        first => {
            let length = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            (bytes.get(tick + 1 + length) == Some(&b'\'')).then_some(tick + length + 2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let words: Vec<_> = blank(text).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn comments_and_literals_vanish_and_code_stays() {
        check("a // b\nc /* d /* e */ f */ g", "a c g");
        check(r##"a "b \" c" d r#"e " f"# g b"h" i"##, "a d g i");
        check("a 'b' '\\'' '\\n' b'c' 'é' &'d e", "a &'d e");
        check("bar r#type \"", "bar r#type");
    }

    #[test]
    fn a_word_stands_alone_and_knows_its_line() {
        let source = Source::new("a.rs", "unsafe_fn\n// unsafe\nlet x = unsafe { 1 };");
        let found: Vec<_> = source.words("unsafe").map(|at| source.line(at)).collect();
        assert_eq!(found, [3]);
    }
}
