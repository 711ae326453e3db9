//! Requests as they must look on the wire to an upstream (RFC 9112), read strictly: one way to read each byte.

/// A request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    /// In order, names in lower case.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
}

/// How a request's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

impl Framing {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Length(_) => "length",
            Self::Chunked => "chunked",
        }
    }
}

impl Head {
    /// Reads a head with the empty line at its end.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = bytes.strip_suffix(b"\r\n\r\n").ok_or("no end")?;
        let mut lines = Vec::new();
        let mut rest = text;
        while let Some(end) = find(rest, b"\r\n") {
            lines.push(&rest[..end]);
            rest = &rest[end + 2..];
        }
        lines.push(rest);
        if lines.iter().any(|line| line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))) {
            return Err("a bare CR, LF or NUL".to_owned());
        }
        let first = std::str::from_utf8(lines[0]).map_err(|_| "the first line is no text")?;
        let words: Vec<&str> = first.split(' ').collect();
        let [method, target, "HTTP/1.1"] = words[..] else { return Err(format!("first line {first:?}")) };
        if !is_token(method.as_bytes())
            || !target.starts_with('/')
            || !target.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(format!("first line {first:?}"));
        }
        let mut fields = Vec::new();
        for line in &lines[1..] {
            let colon = line.iter().position(|byte| *byte == b':').ok_or("a line without a colon")?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if !is_token(name) || value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
                return Err(format!("field {:?}", String::from_utf8_lossy(line)));
            }
            fields.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value.trim_ascii().to_vec()));
        }
        Ok(Self { method: method.to_owned(), target: target.to_owned(), fields })
    }

    /// All values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_slice()).collect()
    }

    /// Its framing; an error if there could be two readings.
    pub(crate) fn framing(&self) -> Result<Framing, String> {
        match (&self.all("transfer-encoding")[..], &self.all("content-length")[..]) {
            ([], []) => Ok(Framing::Length(0)),
            ([], [length]) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
                let length = String::from_utf8_lossy(length).parse();
                length.map(Framing::Length).map_err(|_| "a length out of range".to_owned())
            }
            ([b"chunked"], []) => Ok(Framing::Chunked),
            (encodings, lengths) => Err(format!("framing by {encodings:?} and {lengths:?}")),
        }
    }
}

/// A chunk's size line as a sender of ours may write it: hexadecimal and nothing else.
pub(crate) fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = !line.is_empty() && line.len() <= 16 && line.iter().all(u8::is_ascii_hexdigit);
    digits.then(|| u64::from_str_radix(&String::from_utf8_lossy(line), 16).ok()).flatten()
}

/// What one connection's bytes are.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Whole requests, each with its body.
    pub(crate) whole: Vec<(Head, Vec<u8>)>,
    /// A last one that broke off in its body.
    pub(crate) cut: Option<Head>,
    /// What could not be read.
    pub(crate) fault: Option<String>,
}

/// Takes the bytes of one connection apart.
pub(crate) fn read(mut raw: &[u8]) -> Reading {
    let mut reading = Reading::default();
    while !raw.is_empty() {
        match request(raw) {
            Ok(Some((head, body, rest))) => {
                reading.whole.push((head, body));
                raw = rest;
            }
            Ok(None) => {
                let end = find(raw, b"\r\n\r\n").map_or(raw.len(), |end| end + 4);
                reading.cut = Head::parse(&raw[..end]).ok();
                break;
            }
            Err(fault) => {
                reading.fault = Some(fault);
                break;
            }
        }
    }
    reading
}

type Rest<'a> = &'a [u8];

/// The first request, its body, and what follows; none if it breaks off.
fn request(raw: &[u8]) -> Result<Option<(Head, Vec<u8>, Rest<'_>)>, String> {
    let Some(end) = find(raw, b"\r\n\r\n") else {
        return Err(format!("a piece of a head: {:?}", String::from_utf8_lossy(raw)));
    };
    let head = Head::parse(&raw[..end + 4])?;
    let mut rest = &raw[end + 4..];
    let mut body = Vec::new();
    match head.framing()? {
        Framing::Length(length) => {
            let length = usize::try_from(length).unwrap();
            let Some(bytes) = rest.get(..length) else { return Ok(None) };
            body.extend_from_slice(bytes);
            rest = &rest[length..];
        }
        Framing::Chunked => loop {
            let Some(end) = find(rest, b"\r\n") else { return Ok(None) };
            let size = chunk_size(&rest[..end]).ok_or("a bad chunk size")?;
            let size = usize::try_from(size).unwrap();
            rest = &rest[end + 2..];
            let (Some(data), Some(end)) = (rest.get(..size), rest.get(size..size + 2)) else {
                return Ok(None);
            };
            if end != b"\r\n" {
                return Err("a chunk without an end, or trailers".to_owned());
            }
            body.extend_from_slice(data);
            rest = &rest[size + 2..];
            if size == 0 {
                break;
            }
        },
    }
    Ok(Some((head, body, rest)))
}

/// Where a text begins.
pub(crate) fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

fn is_token(bytes: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(token)
}
