// Reads `paths.txt`; its head says what stands there. Used by the tests of the agent's paths and by those of its front.

/// What must become of a spelling.
#[derive(Debug)]
pub(crate) enum Fate {
    /// Refused, with this reason.
    Refused(String),
    /// Let through.
    Allowed {
        /// What goes to the application.
        sent: String,
        /// What the rules see.
        segments: Vec<String>,
    },
}

/// One line.
#[derive(Debug)]
pub(crate) struct Spelling {
    /// As it stands in the file, for messages.
    pub(crate) line: &'static str,
    /// The path as a caller writes it.
    pub(crate) raw: String,
    /// What becomes of it.
    pub(crate) fate: Fate,
}

/// All lines.
pub(crate) fn spellings() -> Vec<Spelling> {
    let lines = include_str!("paths.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(spelling).collect()
}

fn spelling(line: &'static str) -> Spelling {
    let (raw, fate) = if let Some(rest) = line.strip_prefix("allow ") {
        let (raw, rest) = rest.split_once(" => ").unwrap_or_else(|| panic!("no => in: {line}"));
        let (sent, segments) = rest.split_once(' ').unwrap_or_else(|| panic!("no segments in: {line}"));
        let segments = serde_json::from_str(segments).unwrap_or_else(|error| panic!("{error}: {line}"));
        (raw, Fate::Allowed { sent: sent.to_owned(), segments })
    } else {
        let rest = line.strip_prefix("refuse ").unwrap_or_else(|| panic!("no verdict in: {line}"));
        let (reason, raw) = rest.split_once(' ').unwrap_or_else(|| panic!("no path in: {line}"));
        (raw, Fate::Refused(reason.to_owned()))
    };
    Spelling { line, raw: unescape(raw), fate }
}

fn unescape(text: &str) -> String {
    let mut raw = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            raw.push(letter);
            continue;
        }
        match letters.next() {
            Some('s') => raw.push(' '),
            Some('\\') => raw.push('\\'),
            Some('x') => {
                let digits: String = letters.by_ref().take(2).collect();
                raw.push(char::from(u8::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("{text}"))));
            }
            _ => panic!("an unknown escape in: {text}"),
        }
    }
    raw
}
