//! An answer as it is kept: status, fields and body, without the memory of the connection it came on.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// `name:value` and a line feed for each field: a tenth of a map's memory.
    pub fields: Box<[u8]>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Of a head whose body is still to come. `Trailer` is left out, as trailers are not kept.
    pub fn begin(status: StatusCode, headers: &HeaderMap) -> Self {
        let mut fields = Vec::with_capacity(headers.iter().map(|(name, value)| line(name, value)).sum());
        for (name, value) in headers.iter().filter(|(name, _)| *name != header::TRAILER) {
            fields.extend_from_slice(name.as_str().as_bytes());
            fields.push(b':');
            fields.extend_from_slice(value.as_bytes());
            fields.push(b'\n');
        }
        Self { status, fields: fields.into(), body: Bytes::new() }
    }

    /// The fields, those of one name in their order.
    pub fn headers(&self) -> HeaderMap {
        let lines = self.fields.split(|byte| *byte == b'\n');
        let pairs = lines.filter_map(|line| {
            let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
            let value = HeaderValue::from_bytes(value.get(1..)?).ok()?;
            Some((HeaderName::from_bytes(name).ok()?, value))
        });
        // Not collected: that would keep the last of one name only.
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    }

    /// The bytes it takes.
    pub fn size(&self) -> u64 {
        (self.fields.len() + self.body.len()) as u64
    }
}

fn line(name: &HeaderName, value: &HeaderValue) -> usize {
    name.as_str().len() + value.len() + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", &b"application/json"[..]),
            ("x-two", b"a"),
            ("x-two", b"b: c"),
            ("x-empty", b""),
            ("x-odd", b"caf\xe9 \tx"),
            ("location", b"https://jira.example/rest/api/2/issue/1"),
        ] {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let answer = Answer::begin(StatusCode::CREATED, &headers);
        assert_eq!(answer.headers(), headers);
        headers.insert("trailer", HeaderValue::from_static("x-sum"));
        assert_eq!(Answer::begin(StatusCode::CREATED, &headers), answer);
        assert!(answer.size() > 80);
        assert_eq!(Answer::begin(StatusCode::NO_CONTENT, &HeaderMap::new()).headers(), HeaderMap::new());
    }
}
