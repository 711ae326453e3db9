//! Mappings as CSV (RFC 4180), without their secrets.

use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::agent::admin::links::{ImportedLink, LinkLine};
use crate::common::act_as::ActAs;

/// One line. What an export adds to these is of no use to an import, and is passed over there.
#[derive(Serialize, Deserialize)]
struct Line {
    provider: String,
    subject: String,
    upstream: String,
    user_key: String,
    user_name: String,
    display_name: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    reason: String,
}

/// A list as it is exported.
pub(super) fn write(links: &[LinkLine]) -> Result<String, String> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    if links.is_empty() {
        // A list of nobody still says what its columns are.
        writer.write_record(HEADING).map_err(|error| error.to_string())?;
    }
    for link in links {
        let line = Line {
            provider: link.person.provider().to_owned(),
            subject: link.person.subject().to_owned(),
            upstream: link.upstream.to_string(),
            user_key: link.user_key.clone(),
            user_name: link.user_name.clone(),
            display_name: link.display_name.clone(),
            state: link.state.clone(),
            reason: link.reason.clone().unwrap_or_default(),
        };
        writer.serialize(line).map_err(|error| error.to_string())?;
    }
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

/// Reads a list; every fault in it, with its line.
pub(super) fn read(source: impl Read) -> Result<Vec<ImportedLink>, Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(source);
    let (mut links, mut faults) = (Vec::new(), Vec::new());
    for record in reader.deserialize::<Line>() {
        match record {
            Ok(line) => match imported(&line) {
                Ok(read) => links.push(read),
                Err(fault) => faults.push((links.len() + faults.len(), fault)),
            },
            Err(error) => {
                let at = error.position().map_or(0, csv::Position::line);
                return Err(vec![format!("line {at}: {}", plain(&error))]);
            }
        }
    }
    // Fields may hold line breaks, so lines are counted as records after the heading.
    for (index, link) in (2..).zip(&mut links) {
        link.line = index;
    }
    if faults.is_empty() {
        return Ok(links);
    }
    Err(faults.into_iter().map(|(index, fault)| format!("line {}: {fault}", index + 2)).collect())
}

fn imported(line: &Line) -> Result<ImportedLink, String> {
    let provider = line.provider.parse().map_err(|fault| format!("{fault}"))?;
    let person = ActAs::new(&provider, &line.subject).map_err(|fault| fault.to_string())?;
    let upstream = line.upstream.parse().map_err(|fault| format!("{fault}"))?;
    for (column, value) in
        [("user_key", &line.user_key), ("user_name", &line.user_name), ("display_name", &line.display_name)]
    {
        if value.len() > MAX_NAME || value.chars().any(char::is_control) {
            return Err(format!("{column} is too long, or holds control characters"));
        }
    }
    if line.user_key.is_empty() || line.user_name.is_empty() {
        return Err("user_key and user_name must not be empty".to_owned());
    }
    Ok(ImportedLink {
        line: 0,
        person,
        upstream,
        user_key: line.user_key.clone(),
        user_name: line.user_name.clone(),
        display_name: line.display_name.clone(),
    })
}

fn plain(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} fields, and the heading has {expected_len}")
        }
        csv::ErrorKind::Deserialize { err, .. } => {
            format!("{}; the heading must be: {}", err.kind(), HEADING.join(","))
        }
        _ => error.to_string(),
    }
}

const HEADING: [&str; 8] =
    ["provider", "subject", "upstream", "user_key", "user_name", "display_name", "state", "reason"];
const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn link(person: &str, display_name: &str) -> LinkLine {
        LinkLine {
            person: person.parse().unwrap(),
            upstream: "jira".parse().unwrap(),
            user_key: "JIRAUSER1".to_owned(),
            user_name: "alice".to_owned(),
            display_name: display_name.to_owned(),
            state: "active".to_owned(),
            reason: None,
            credential: Some("pat".to_owned()),
            expires: None,
            scope: None,
            shared: false,
            created: String::new(),
            changed: String::new(),
        }
    }

    #[test]
    fn what_is_exported_is_imported_again() {
        let links = [link("teams:29:1%2525", "Alice \"A\", Archer"), link("entra:a%40b%20c", "Ünal;=1+1")];
        let text = write(&links).unwrap();
        assert!(
            text.starts_with("provider,subject,upstream,user_key,user_name,display_name,state,reason\r\n"),
            "{text}"
        );
        assert!(
            text.contains("teams,29:1%25,jira,JIRAUSER1,alice,\"Alice \"\"A\"\", Archer\",active,\r\n"),
            "{text}"
        );
        let read = read(text.as_bytes()).unwrap();
        assert_eq!(read.len(), 2);
        for ((read, link), line) in read.iter().zip(&links).zip(2..) {
            assert_eq!(
                (&read.person, &read.display_name, read.line),
                (&link.person, &link.display_name, line)
            );
        }
        assert!(read_text(&write(&[]).unwrap()).unwrap().is_empty());
    }

    fn read_text(text: &str) -> Result<Vec<ImportedLink>, Vec<String>> {
        read(text.as_bytes())
    }

    #[test]
    fn every_fault_is_told_with_its_line() {
        let head = "provider,subject,upstream,user_key,user_name,display_name\n";
        let faults = read_text(&format!(
            "{head}teams,a,jira,K,a,A\nTeams,a,jira,K,a,A\nteams,,jira,K,a,A\nteams,a,Jira,K,a,A\nteams,a,jira,,a,A\n"
        ))
        .unwrap_err();
        let lines: Vec<&str> = faults.iter().map(|fault| fault.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["line 3", "line 4", "line 5", "line 6"], "{faults:?}");
        for (text, fault) in [
            ("provider,subject\nteams,a\n", "the heading must be"),
            (&format!("{head}teams,a,jira\n"), "it has 3 fields"),
            (&format!("{head}teams,a,jira,K,a,\u{7}\n"), "control characters"),
        ] {
            let faults = read_text(text).unwrap_err();
            assert!(faults[0].contains(fault), "{faults:?}");
        }
        // Excel's mark at the beginning.
        assert_eq!(read_text(&format!("\u{feff}{head}teams,a,jira,K,a,A\n")).unwrap().len(), 1);
    }
}
