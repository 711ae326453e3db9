//! A record as a syslog message (RFC 5424).

use serde_json::Value;

/// One message, without a line end: the record, as it is, behind a header and the members that a collector sorts by.
/// `host` is this machine's name. `None` if the line is no record.
pub fn syslog(line: &str, host: &str) -> Option<String> {
    let record: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| record.get(key).and_then(Value::as_str);
    let event = text("event")?;
    // Facility 13 is “log audit” (section 6.2.1): notice, or warning where something was refused or lost.
    let severity = if matches!(event, "refused" | "gap" | "link-refused") { 4 } else { 5 };
    let priority = 13 * 8 + severity;
    let data: String = ["n", "request", "caller", "act_as", "identity", "jira_user", "by", "result"]
        .into_iter()
        .filter_map(|key| {
            let value = match record.get(key)? {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Some(format!(" {key}=\"{}\"", escaped(&value)))
        })
        .collect();
    let (time, host) = (text("time")?, printable(host, 255));
    // 32473 is the number that RFC 5612 sets apart for documents; nobody has registered one for us.
    Some(format!(
        "<{priority}>1 {time} {host} outhaul-agent - {} [outhaul@32473{data}] {line}",
        printable(event, 32)
    ))
}

/// A parameter's value (section 6.3.3).
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for letter in value.chars() {
        if matches!(letter, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(if letter.is_control() { '\u{fffd}' } else { letter });
    }
    escaped
}

/// Printable US-ASCII, or `-` for nothing (section 6).
fn printable(text: &str, most: usize) -> String {
    let text: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_form_of_the_standard() {
        let line =
            r#"{"n":7,"time":"2026-11-24T12:00:00.007Z","event":"call","caller":"a]b\"c","result":201}"#;
        assert_eq!(
            syslog(line, "jira host").unwrap(),
            format!(
                "<109>1 2026-11-24T12:00:00.007Z jirahost outhaul-agent - call [outhaul@32473 n=\"7\" \
                 caller=\"a\\]b\\\"c\" result=\"201\"] {line}"
            )
        );
        let refused = r#"{"n":8,"time":"2026-11-24T12:00:00.007Z","event":"refused"}"#;
        assert!(
            syslog(refused, "").unwrap().starts_with("<108>1 2026-11-24T12:00:00.007Z - outhaul-agent - ")
        );
        assert_eq!(syslog("rubbish", "h"), None);
    }
}
