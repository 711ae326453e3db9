//! Tables of tests as data: `tests/vectors`. A vector begins with `== name | expected`; what follows is its bytes.
//! A line is sent with CRLF behind it, but for one that ends in `\c`. `\r \n \t \0 \\ \xHH` are bytes, `{name}` is
//! put in by the test, lines that begin with `#` and empty lines between vectors are for people (an empty line in
//! HTTP is `\r\n\c`).

/// One vector.
#[derive(Debug)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) expected: String,
    lines: Vec<String>,
}

impl Vector {
    /// Its bytes; `named` gives what stands for `{name}`.
    pub(crate) fn bytes(&self, named: impl Fn(&str) -> Option<String>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in &self.lines {
            let (line, end) = line.strip_suffix("\\c").map_or((line.as_str(), "\r\n"), |line| (line, ""));
            bytes.extend(unescape(line, &named));
            bytes.extend_from_slice(end.as_bytes());
        }
        bytes
    }

    /// Its lines, each as bytes.
    pub(crate) fn lines(&self, named: impl Fn(&str) -> Option<String>) -> Vec<Vec<u8>> {
        self.lines.iter().map(|line| unescape(line, &named)).collect()
    }
}

/// Reads a file below `tests/vectors`.
pub(crate) fn read(file: &str) -> Vec<Vector> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut vectors: Vec<Vector> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("== ") {
            let (name, expected) = title.rsplit_once(" | ").unwrap_or_else(|| panic!("{title}"));
            vectors.push(Vector { name: name.to_owned(), expected: expected.to_owned(), lines: Vec::new() });
        } else {
            vectors.last_mut().expect("a title first").lines.push(line.to_owned());
        }
    }
    vectors
}

/// One line's bytes, as in a vector.
pub(crate) fn unescape(line: &str, named: &impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let mut used = first.len_utf8();
        match first {
            '\\' => {
                let escape = rest[1..].chars().next().expect("something behind a backslash");
                used = 2;
                match escape {
                    'r' => bytes.push(b'\r'),
                    'n' => bytes.push(b'\n'),
                    't' => bytes.push(b'\t'),
                    '0' => bytes.push(0),
                    '\\' => bytes.push(b'\\'),
                    'x' => {
                        bytes.push(u8::from_str_radix(&rest[2..4], 16).expect("two digits"));
                        used = 4;
                    }
                    other => panic!("\\{other} in {line}"),
                }
            }
            '{' => {
                let end = rest.find('}').expect("a closing brace");
                let name = &rest[1..end];
                let text = named(name).unwrap_or_else(|| panic!("{{{name}}} in {line}"));
                bytes.extend_from_slice(text.as_bytes());
                used = end + 1;
            }
            _ => bytes.extend_from_slice(&rest.as_bytes()[..used]),
        }
        rest = &rest[used..];
    }
    bytes
}
