//! Writes records as compact JSON, by hand: this runs twice for each call.

use std::time::SystemTime;

/// Adds members to one JSON object.
pub(super) struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    /// Into this buffer.
    pub(super) fn new(into: &'a mut Vec<u8>) -> Self {
        Self(into)
    }

    /// How long the buffer is by now.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A text that needs no escapes: ours, or an id. `key` comes with its comma, quotes and colon.
    pub(super) fn plain(&mut self, key: &str, value: &str) {
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b'"');
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'"');
    }

    /// A text from elsewhere: escaped, and cut where it is too long.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b'"');
        self.escaped(value);
        self.0.push(b'"');
    }

    /// As it is.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A time, without quotes.
    pub(super) fn time(&mut self, stamps: &mut Stamps, time: i64) {
        stamps.write(self.0, time);
    }

    /// Several texts in one.
    pub(super) fn joined(&mut self, key: &str, values: &[&str]) {
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b'"');
        for value in values {
            self.escaped(value);
        }
        self.0.push(b'"');
    }

    /// A file and a line in it.
    pub(super) fn place(&mut self, key: &str, file: &str, line: usize) {
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b'"');
        self.escaped(file);
        self.0.push(b':');
        digits(self.0, line as u64);
        self.0.push(b'"');
    }

    pub(super) fn number(&mut self, key: &str, value: u64) {
        self.0.extend_from_slice(key.as_bytes());
        digits(self.0, value);
    }

    /// The inside of a JSON string (RFC 8259, section 7).
    pub(super) fn escaped(&mut self, value: &str) {
        let (value, cut) = bounded(value);
        let mut rest = value.as_bytes();
        // Without a way out of the loop this looks at many bytes at once; most texts need nothing more.
        let any = rest.iter().fold(false, |any, byte| any | needs_escape(*byte));
        while let Some(at) = any.then(|| rest.iter().position(|byte| needs_escape(*byte))).flatten() {
            let (before, after) = rest.split_at(at);
            self.0.extend_from_slice(before);
            let Some((byte, after)) = after.split_first() else { break };
            match byte {
                b'"' | b'\\' => self.0.extend_from_slice(&[b'\\', *byte]),
                _ => {
                    self.0.extend_from_slice(b"\\u00");
                    self.0.extend([byte >> 4, byte & 15].map(hexadecimal));
                }
            }
            rest = after;
        }
        self.0.extend_from_slice(rest);
        if cut {
            self.0.extend_from_slice("…".as_bytes());
        }
    }
}

/// No text in a record is longer, in bytes.
pub(super) const LONGEST_TEXT: usize = 4096;

fn needs_escape(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\' | 0x7f)
}

fn bounded(value: &str) -> (&str, bool) {
    if value.len() <= LONGEST_TEXT {
        return (value, false);
    }
    let end = (0..=LONGEST_TEXT).rev().find(|end| value.is_char_boundary(*end)).unwrap_or(0);
    (value.get(..end).unwrap_or(""), true)
}

fn hexadecimal(half: u8) -> u8 {
    if half < 10 { b'0' + half } else { b'a' + half - 10 }
}

fn digits(into: &mut Vec<u8>, mut value: u64) {
    // A u64 has at most twenty digits.
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        start = index;
        if value == 0 {
            break;
        }
    }
    into.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Writes times as RFC 3339 with milliseconds, in UTC. Keeps the seconds of the last one: most records share them.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    second: Option<i64>,
    text: String,
}

impl Stamps {
    /// Adds the time, without quotes.
    pub(super) fn write(&mut self, into: &mut Vec<u8>, time: i64) {
        let (second, milliseconds) = (time.div_euclid(1000), time.rem_euclid(1000));
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = jiff::Timestamp::from_second(second)
                .map(|stamp| stamp.strftime("%Y-%m-%dT%H:%M:%S").to_string())
                .unwrap_or_default();
        }
        into.extend_from_slice(self.text.as_bytes());
        into.push(b'.');
        into.extend(
            [milliseconds / 100, milliseconds / 10 % 10, milliseconds % 10]
                .map(|one| b'0' + one.unsigned_abs() as u8),
        );
        into.push(b'Z');
    }
}

/// Milliseconds since 1970; within the years that RFC 3339 can write.
pub(super) fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    i64::try_from(since).unwrap_or(i64::MAX).clamp(0, LATEST)
}

/// 9999-12-31T23:59:59Z would be later; jiff's own end is a day before.
const LATEST: i64 = 253_402_207_200_000;

/// One time, as text.
pub(super) fn stamp(time: i64) -> String {
    let mut bytes = Vec::new();
    Stamps::default().write(&mut bytes, time);
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_reads_back(text in ".{0,200}|[\\x00-\\x7f]{0,40}") {
            let mut bytes = b"{".to_vec();
            Writer::new(&mut bytes).text("\"k\":", &text);
            bytes.push(b'}');
            prop_assert!(!bytes.contains(&b'\n'));
            let read: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(read["k"].as_str().unwrap(), text);
        }

        #[test]
        fn any_number_and_time_reads_back(number: u64, time in 0..LATEST) {
            let mut bytes = Vec::new();
            Writer::new(&mut bytes).number("", number);
            prop_assert_eq!(std::str::from_utf8(&bytes).unwrap(), number.to_string());
            let read: jiff::Timestamp = stamp(time).parse().unwrap();
            prop_assert_eq!(read.as_millisecond(), time);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes).text("", &"é".repeat(LONGEST_TEXT));
        let text: String = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(text.len(), LONGEST_TEXT + "…".len());
        assert!(text.ends_with("é…"));
    }

    #[test]
    fn times_keep_their_form() {
        for (time, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_551_825_007, "2026-11-24T20:23:45.007Z"),
            (LATEST, "9999-12-30T22:00:00.000Z"),
        ] {
            assert_eq!(stamp(time), text);
        }
        let mut stamps = Stamps::default();
        let mut bytes = Vec::new();
        for time in [1000, 1001, 999] {
            stamps.write(&mut bytes, time);
        }
        assert_eq!(
            std::str::from_utf8(&bytes).unwrap(),
            "1970-01-01T00:00:01.000Z1970-01-01T00:00:01.001Z1970-01-01T00:00:00.999Z"
        );
    }
}
