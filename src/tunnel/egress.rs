//! What the relay says first on an egress stream: one short line, then the bytes of the connection.
//!
//! `ok` and a line feed: it is connected. `no`, a word from a closed list and a line feed: it is not, and nothing follows.
//! The agent has its own words for each; a relay's text is never shown. See `docs/protocol.md`, "Egress".

/// What the stream's OPEN names as its purpose.
pub const PURPOSE: &str = "egress";

/// No line is longer, its line feed included.
pub const LONGEST_LINE: usize = 64;

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $word:literal;)*) => {
        /// Why the relay does not connect a stream.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $($(#[$doc])* $variant,)*
        }

        impl Refusal {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// On the wire, and in metrics.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    };
}

refusals! {
    /// The operator allows this site no host at all.
    Off = "off";
    /// The operator does not list this host and port for this site.
    NotListed = "not-listed";
    /// The target is no host and port.
    BadTarget = "bad-target";
    /// The operator has paused the site.
    Paused = "paused";
    /// The relay's DNS gives no address.
    Unresolved = "unresolved";
    /// The name leads to an address that the relay reaches for nobody.
    ForbiddenAddress = "forbidden-address";
    /// No address took the connection.
    Unreachable = "unreachable";
    /// Not within the time for connecting.
    TooSlow = "too-slow";
    /// As many connections as may be are open, or they are opened too fast.
    TooMany = "too-many";
    /// The site's bytes of the day are used up.
    Quota = "quota";
}

/// A relay's first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Connected: the bytes follow.
    Connected,
    /// Not connected.
    Refused(Refusal),
    /// Not connected, for a reason of a newer version.
    Other,
}

impl Answer {
    /// As it goes on the wire.
    pub fn line(self) -> String {
        match self {
            Self::Connected => "ok\n".to_owned(),
            Self::Refused(refusal) => format!("no {}\n", refusal.word()),
            Self::Other => "no other\n".to_owned(),
        }
    }

    /// Reads a line, its line feed left out; `None` if it is none.
    pub fn read(line: &[u8]) -> Option<Self> {
        if line == b"ok" {
            return Some(Self::Connected);
        }
        let word = line.strip_prefix(b"no ")?;
        let plain = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'-';
        if word.is_empty() || !word.iter().all(plain) {
            return None;
        }
        let known = Refusal::ALL.iter().find(|refusal| refusal.word().as_bytes() == word);
        Some(known.map_or(Self::Other, |refusal| Self::Refused(*refusal)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_back_and_are_short() {
        let all = Refusal::ALL.iter().map(|refusal| Answer::Refused(*refusal));
        for answer in all.chain([Answer::Connected, Answer::Other]) {
            let line = answer.line();
            assert!(line.len() <= LONGEST_LINE && line.ends_with('\n'), "{line}");
            assert_eq!(Answer::read(line.trim_end().as_bytes()), Some(answer), "{line}");
        }
        assert_eq!(Answer::read(b"no brainer"), Some(Answer::Other));
        for bad in [b"".as_slice(), b"OK", b"ok ", b"no", b"no ", b"no A", b"no off\r", b"HTTP/1.1 200 OK"] {
            assert_eq!(Answer::read(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
