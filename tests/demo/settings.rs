//! What the environment asks for.

use std::path::PathBuf;

use crate::Outcome;

/// All of it.
pub(crate) struct Settings {
    /// A real Jira: base URL and token.
    pub(crate) jira: Option<(String, String)>,
    /// The user of that token, where asking Jira is not possible.
    pub(crate) jira_user: Option<String>,
    /// Who signed that Jira's certificate.
    pub(crate) jira_ca: Option<PathBuf>,
    /// Where to write what is where.
    pub(crate) json: Option<PathBuf>,
    /// A further upstream: name and URL.
    pub(crate) upstream: Option<(String, String)>,
    /// The folder to use and to keep.
    pub(crate) folder: Option<PathBuf>,
}

impl Settings {
    pub(crate) fn from_environment() -> Outcome<Self> {
        let jira = match (read("JIRA_URL"), read("JIRA_PAT")) {
            (Some(url), Some(pat)) => Some((url.trim_end_matches('/').to_owned(), pat)),
            (None, None) => None,
            _ => return Err("set both JIRA_URL and JIRA_PAT, or neither".to_owned()),
        };
        let upstream = match read("DEMO_UPSTREAM") {
            None => None,
            Some(text) => match text.split_once('=') {
                Some((name, url)) => Some((name.to_owned(), url.to_owned())),
                None => return Err("DEMO_UPSTREAM is written name=URL".to_owned()),
            },
        };
        let absolute = |path: String| std::path::absolute(&path).map_err(|fault| format!("{path}: {fault}"));
        Ok(Self {
            jira,
            jira_user: read("JIRA_USER"),
            jira_ca: read("JIRA_CA_FILE").map(absolute).transpose()?,
            json: read("DEMO_JSON").map(absolute).transpose()?,
            upstream,
            folder: read("DEMO_DIR").map(absolute).transpose()?,
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the demo is no daemon: the environment is its configuration")]
fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
