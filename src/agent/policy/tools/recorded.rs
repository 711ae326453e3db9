//! Calls written down, one a line, for `policy diff`.
//!
//! A line is either `METHOD PATH [CALLER]` or a JSON object with `method` and `path`, and if wanted `caller`,
//! `upstream`, `as`, `content_type`, `body` (a text as it is sent, or JSON) and `proof` (a list). Empty lines and lines that begin
//! with `#` count for nothing. A path is read as `policy explain` reads it.

use http::Method;
use serde::Deserialize;

use crate::common::ids::CallerName;

/// One call of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its line, from 1.
    pub line: usize,
    /// The method.
    pub method: Method,
    /// Path, or a URL.
    pub path: String,
    /// Who called.
    pub caller: Option<CallerName>,
    /// The application, where the path does not say.
    pub upstream: Option<String>,
    /// For whom: `{provider}:{subject}`.
    pub person: Option<String>,
    /// The body's type.
    pub content_type: Option<String>,
    /// The body.
    pub body: Option<String>,
    /// What was proved about it, each as `policy explain --proof` takes it.
    pub proofs: Vec<String>,
}

/// A line that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct RecordFault {
    /// Which line.
    pub line: usize,
    /// Why.
    pub what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    method: String,
    path: String,
    caller: Option<String>,
    upstream: Option<String>,
    #[serde(rename = "as")]
    person: Option<String>,
    #[serde(alias = "content-type")]
    content_type: Option<String>,
    body: Option<serde_json::Value>,
    #[serde(default)]
    proof: Vec<String>,
}

/// All calls of a text, or each line that is none.
pub fn read(text: &str) -> Result<Vec<Recorded>, Vec<RecordFault>> {
    let (mut calls, mut faults) = (Vec::new(), Vec::new());
    for (index, text) in text.lines().enumerate() {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let line = index + 1;
        match if text.starts_with('{') { object(text, line) } else { words(text, line) } {
            Ok(call) => calls.push(call),
            Err(what) => faults.push(RecordFault { line, what }),
        }
    }
    if faults.is_empty() { Ok(calls) } else { Err(faults) }
}

fn words(text: &str, line: usize) -> Result<Recorded, String> {
    let mut words = text.split_ascii_whitespace();
    let (Some(method), Some(path), caller, None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("write METHOD PATH [CALLER], or a JSON object".to_owned());
    };
    Ok(Recorded {
        line,
        method: self::method(method)?,
        path: path.to_owned(),
        caller: caller.map(self::caller).transpose()?,
        upstream: None,
        person: None,
        content_type: None,
        body: None,
        proofs: Vec::new(),
    })
}

fn object(text: &str, line: usize) -> Result<Recorded, String> {
    let read: Line = serde_json::from_str(text).map_err(|error| {
        // It counts lines within this one.
        let text = error.to_string();
        text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned())
    })?;
    Ok(Recorded {
        line,
        method: method(&read.method)?,
        path: read.path,
        caller: read.caller.as_deref().map(caller).transpose()?,
        upstream: read.upstream,
        person: read.person,
        content_type: read.content_type,
        body: read.body.map(|body| match body {
            serde_json::Value::String(text) => text,
            document => document.to_string(),
        }),
        proofs: read.proof,
    })
}

fn method(text: &str) -> Result<Method, String> {
    Method::from_bytes(text.as_bytes())
        .map_err(|_| format!("“{}” is no HTTP method", text.chars().take(40).collect::<String>()))
}

fn caller(text: &str) -> Result<CallerName, String> {
    text.parse().map_err(|fault: crate::common::ids::NameFault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_line_read() {
        let text = "# what Teams did\n\nGET /rest/api/2/myself\r\n\
                    POST  /jira/rest/api/2/issue/A-1/comment  teams-bot\n\
                    {\"method\":\"POST\",\"path\":\"/rest/api/2/search\",\"caller\":\"bi\",\"body\":{\"jql\":\"x\"},\
                    \"content_type\":\"application/json\",\"as\":\"entra:alice\",\"upstream\":\"jira\"}\n\
                    {\"method\":\"PUT\",\"path\":\"/a\",\"body\":\"a text\"}";
        let calls = read(text).unwrap();
        let lines: Vec<usize> = calls.iter().map(|call| call.line).collect();
        assert_eq!(lines, [3, 4, 5, 6]);
        assert_eq!(calls[1].caller.as_ref().unwrap().as_str(), "teams-bot");
        assert_eq!(calls[2].body.as_deref(), Some("{\"jql\":\"x\"}"));
        assert_eq!(calls[2].person.as_deref(), Some("entra:alice"));
        assert_eq!(calls[3].body.as_deref(), Some("a text"));
    }

    #[test]
    fn every_wrong_line_is_named() {
        let text = "GET\nGET /a Bad!\nG(T /a\nGET /a b c\n{\"method\":\"GET\"}\n{\"method\":\"GET\",\"path\":\"/\",\"x\":1}\n{";
        let faults: Vec<String> = read(text).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), 7);
        for (fault, says) in faults.iter().zip([
            "line 1: write METHOD PATH",
            "line 2: “Bad!” is no caller name",
            "line 3: “G(T” is no HTTP method",
            "line 4: write METHOD",
            "line 5: missing field `path`",
            "line 6: unknown field `x`",
            "line 7: EOF",
        ]) {
            assert!(fault.starts_with(says), "{fault}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_file_panics(text in "\\PC{0,80}|[{}\":,a-z\n /#]{0,80}") {
            let _ = read(&text);
        }
    }
}
