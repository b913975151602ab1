//! Rust source as tokens, as far as the checks need them.

/// A word, a number, `::`, or one character of punctuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

pub(crate) fn is_name(text: &str) -> bool {
    text.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
}

/// Splits Rust source into tokens; comments, strings and characters vanish.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < chars.len() {
        let end = match skipped(&chars, at) {
            Some(end) => end,
            None if chars[at].is_alphanumeric() || chars[at] == '_' => {
                let end = (at..chars.len()).find(|i| !(chars[*i].is_alphanumeric() || chars[*i] == '_'));
                end.unwrap_or(chars.len())
            }
            None if chars[at] == ':' && chars.get(at + 1) == Some(&':') => at + 2,
            None => at + 1,
        };
        let piece: String = chars[at..end].iter().collect();
        if skipped(&chars, at).is_none() && !chars[at].is_whitespace() {
            found.push(Token { line, text: piece.clone() });
        }
        line += piece.matches('\n').count();
        at = end;
    }
    found
}

/// The end of the comment, string or character that starts at `at`; `None` when none does.
fn skipped(chars: &[char], at: usize) -> Option<usize> {
    let rest = &chars[at..];
    let follows_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match rest {
        ['/', '/', ..] => Some(at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => Some(at + block_comment_length(rest)),
        ['"', ..] => Some(at + 1 + quoted_length(&rest[1..], '"')),
        ['b' | 'c', '"', ..] if !follows_word => Some(at + 2 + quoted_length(&rest[2..], '"')),
        ['r', '"' | '#', ..] if !follows_word => raw_string_length(&rest[1..]).map(|n| at + 1 + n),
        ['b' | 'c', 'r', '"' | '#', ..] if !follows_word => raw_string_length(&rest[2..]).map(|n| at + 2 + n),
        ['\'', '\\', ..] => Some(at + 3 + quoted_length(&rest[3.min(rest.len())..], '\'')),
        // `'a'` is a character, `'a` a lifetime.
        ['\'', _, '\'', ..] => Some(at + 3),
        _ => None,
    }
}

/// The length up to and with the closing quote, where the text after the opening one is given.
fn quoted_length(text: &[char], quote: char) -> usize {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The length of `"…"` or `#"…"#` with any number of `#`; `None` when it is a raw name (`r#type`).
fn raw_string_length(text: &[char]) -> Option<usize> {
    let hashes = text.iter().take_while(|c| **c == '#').count();
    if text.get(hashes) != Some(&'"') {
        return None;
    }
    let mut closing = vec!['"'];
    closing.extend(std::iter::repeat_n('#', hashes));
    let body = &text[hashes + 1..];
    let length = body.windows(closing.len()).position(|w| w == closing).unwrap_or(body.len());
    Some((hashes + 1 + length + closing.len()).min(text.len()))
}

/// Block comments nest.
fn block_comment_length(text: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        match text[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Drops each item that stands under `#[cfg(test)]`, to its closing brace or semicolon.
pub(crate) fn without_test_items(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let marked = tokens[at..].len() >= MARK.len() && tokens[at..].iter().zip(MARK).all(|(t, m)| t.text == m);
        if !marked {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += MARK.len();
        let mut depth = 0;
        while at < tokens.len() {
            let text = tokens[at].text.as_str();
            at += 1;
            match text {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(text, ";" | "}") {
                break;
            }
        }
    }
    kept
}
