//! How an answer's body was framed, and what of that goes on. Pure.
//!
//! The connection has read the body by RFC 9112, section 6.3. What goes on must not say anything else about it: a
//! length that the chunks overrule would cut the body for whoever reads next.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};

/// What an answer's fields say about its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// One thing.
    Plain,
    /// Two things, of which one counts: the connection can't be trusted with another request.
    Doubtful,
}

/// Leaves of an answer's framing one length at most, and that only where it counts. The error says what can't be
/// passed on.
pub(super) fn settle(headers: &mut HeaderMap) -> Result<Framing, &'static str> {
    if headers.contains_key(TRANSFER_ENCODING) {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let chunked = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        // The body would go on with its coding, and without the field that names it (RFC 9112, section 7).
        if !chunked || codings.next().is_some() {
            return Err("its transfer coding was not asked for");
        }
        let both = headers.remove(CONTENT_LENGTH).is_some();
        return Ok(if both { Framing::Doubtful } else { Framing::Plain });
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (first, more) = (lengths.next(), lengths.next().is_some());
    let Some(first) = first else { return Ok(Framing::Plain) };
    if !more && is_number(first.as_bytes()) {
        return Ok(Framing::Plain);
    }
    // The same number said several times counts once (RFC 9110, section 8.6).
    let values = headers.get_all(CONTENT_LENGTH).iter();
    let mut words =
        values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let first = words.next().unwrap_or_default();
    if !is_number(first) || words.any(|word| word != first) {
        return Err("its Content-Length can't be read");
    }
    let length = HeaderValue::from_bytes(first).map_err(|_| "its Content-Length can't be read")?;
    headers.insert(CONTENT_LENGTH, length);
    Ok(Framing::Doubtful)
}

fn is_number(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(lines: &[(&'static str, &'static str)]) -> Result<(Framing, Vec<String>), &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let framing = settle(&mut headers)?;
        let lengths = headers.get_all(CONTENT_LENGTH).iter();
        Ok((framing, lengths.map(|length| length.to_str().unwrap().to_owned()).collect()))
    }

    #[test]
    fn one_framing_is_left_or_none() {
        let (length, coding) = ("content-length", "transfer-encoding");
        let one = |framing, length: &str| Ok((framing, vec![length.to_owned()]));
        assert_eq!(settled(&[]), Ok((Framing::Plain, vec![])));
        assert_eq!(settled(&[(length, "5")]), one(Framing::Plain, "5"));
        assert_eq!(settled(&[(length, "5"), (length, "5")]), one(Framing::Doubtful, "5"));
        assert_eq!(settled(&[(length, "5, 5")]), one(Framing::Doubtful, "5"));
        assert_eq!(settled(&[(coding, "chunked")]), Ok((Framing::Plain, vec![])));
        assert_eq!(settled(&[(coding, "CHUNKED")]), Ok((Framing::Plain, vec![])));
        assert_eq!(settled(&[(coding, "chunked"), (length, "5")]), Ok((Framing::Doubtful, vec![])));
        for bad in [
            &[(length, "5"), (length, "6")][..],
            &[(length, "5, 6")],
            &[(length, "5,")],
            &[(length, "")],
            &[(length, "+5")],
            &[(coding, "gzip")],
            &[(coding, "identity")],
            &[(coding, "gzip, chunked")],
            &[(coding, "chunked, chunked")],
            &[(coding, "gzip"), (coding, "chunked")],
            &[(coding, "chunked"), (coding, "chunked")],
        ] {
            assert!(settled(bad).is_err(), "{bad:?}");
        }
    }
}
