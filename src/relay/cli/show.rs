//! Answers of the relay as text for people.

use std::fmt::Write as _;

use serde_json::Value;

use crate::terminal::table;

pub(super) fn site_added(answer: &Value) -> String {
    let site = text(answer, "site");
    format!("Site {site} was added.\nNext: outhaul-relay site enrol {site}")
}

pub(super) fn site_removed(answer: &Value) -> String {
    format!("Site {} was removed, with its agents and open enrolments.", text(answer, "site"))
}

pub(super) fn site_paused(answer: &Value) -> String {
    let site = text(answer, "site");
    format!(
        "Site {site} is paused: every call to it is answered 503 `site-paused`.\n\
         Undo it with: outhaul-relay site resume {site}"
    )
}

pub(super) fn site_resumed(answer: &Value) -> String {
    format!("Calls to site {} pass again.", text(answer, "site"))
}

pub(super) fn sites(answer: &Value) -> String {
    let mut rows =
        vec![row(&["SITE", "STATE", "AGENTS", "CONNECTED", "CALLS", "PASSED", "NAMES", "EGRESS", "CREATED"])];
    for site in list(answer, "sites") {
        let state = if site.get("paused") == Some(&Value::Bool(true)) { "paused" } else { "open" };
        rows.push(vec![
            text(site, "site"),
            state.to_owned(),
            text(site, "agents"),
            text(site, "connected"),
            text(site, "calls"),
            text(site, "connections"),
            list(site, "names").len().to_string(),
            site.get("egress").map_or_else(|| "-".to_owned(), bytes),
            time(site.get("created")),
        ]);
    }
    if rows.len() == 1 {
        return "There is no site yet.\nNext: outhaul-relay site add NAME".to_owned();
    }
    table(&rows)
}

pub(super) fn egress(answer: &Value) -> String {
    let mut rows = Vec::new();
    let mut hosts = |key: &str, whose: &str| {
        for host in list(answer, key) {
            rows.push(vec![host.as_str().unwrap_or_default().to_owned(), whose.to_owned()]);
        }
    };
    hosts("hosts", "this site");
    hosts("every_site", "every site, by [egress] allow");
    let site = text(answer, "site");
    let mut shown = if rows.is_empty() {
        format!(
            "Site {site} may reach no host through this relay.\nTo let it: outhaul-relay site egress allow {site} \
             HOST:PORT"
        )
    } else {
        rows.insert(0, row(&["HOST", "FOR"]));
        table(&rows)
    };
    if let Some(usage) = answer.get("usage") {
        let _ = write!(
            shown,
            "\n{} connections now; {} since the relay's start, {} B of it today",
            text(usage, "connections"),
            bytes(usage),
            text(usage, "bytes_today"),
        );
    }
    shown
}

/// Both ways, since the relay's start.
fn bytes(usage: &Value) -> String {
    let number = |key: &str| usage.get(key).and_then(Value::as_u64).unwrap_or(0);
    format!("{} B", number("bytes_out").saturating_add(number("bytes_back")))
}

pub(super) fn name_added(answer: &Value) -> String {
    let (site, name) = (text(answer, "site"), text(answer, "name"));
    format!(
        "Connections for {name} pass unopened to site {site}.\n\
         Next: the customer sets A and AAAA records of {name} to this relay's addresses (no CNAME), and adds the name \
         under [pass-through] customer-names at the site."
    )
}

pub(super) fn name_removed(answer: &Value) -> String {
    format!("Connections for {} no longer pass to site {}.", text(answer, "name"), text(answer, "site"))
}

pub(super) fn names(answer: &Value) -> String {
    let mut rows = vec![row(&["SITE", "NAME", "LEVEL", "CREATED"])];
    for name in list(answer, "names") {
        let created = time(name.get("created"));
        rows.push(vec![text(name, "site"), text(name, "name"), text(name, "level"), created]);
    }
    if rows.len() == 1 {
        return "There is no name yet.\nNext: outhaul-relay site name add SITE NAME, or [pass-through] zone in the \
                configuration."
            .to_owned();
    }
    table(&rows)
}

pub(super) fn enrol(answer: &Value) -> String {
    let mut shown = format!(
        "Run this at site {} before {}. It works once; whoever has it can enrol an agent.\n\n  {}\n",
        text(answer, "site"),
        time(answer.get("expires")),
        text(answer, "command"),
    );
    if let Some(agent) = answer.get("replaces").and_then(Value::as_str) {
        let _ = write!(
            shown,
            "\nThe site has an active agent already ({agent}). The new one will be the active one and the old one \
             will stand by.\nFor a second agent beside it use --standby; to end the old one: outhaul-relay agent \
             revoke {agent}\n"
        );
    }
    shown
}

pub(super) fn agents(answer: &Value) -> String {
    let mut rows = vec![row(&[
        "SITE", "AGENT", "ROLE", "STATE", "TUNNELS", "CALLS", "RTT", "FROM", "SOFTWARE", "AUDIT", "ALARMS",
    ])];
    for agent in list(answer, "agents") {
        let tunnels = list(agent, "tunnels");
        let calls: u64 = tunnels.iter().filter_map(|tunnel| tunnel.get("calls")?.as_u64()).sum();
        let best = tunnels.iter().filter_map(|tunnel| tunnel.get("round_trip_ms")?.as_f64());
        let round_trip = best.reduce(f64::min).map_or_else(|| "-".to_owned(), |time| format!("{time:.1} ms"));
        let from = tunnels.first().map_or_else(|| "-".to_owned(), |tunnel| text(tunnel, "from"));
        let alarms: Vec<String> = list(agent, "alarms").iter().map(|alarm| text(alarm, "kind")).collect();
        rows.push(vec![
            text(agent, "site"),
            text(agent, "agent"),
            text(agent, "role"),
            text(agent, "state"),
            tunnels.len().to_string(),
            calls.to_string(),
            round_trip,
            from,
            text(agent, "software"),
            agent.get("audit").map_or_else(|| "-".to_owned(), |audit| text(audit, "number")),
            alarms.join(","),
        ]);
    }
    if rows.len() == 1 {
        return "There is no agent yet.\nNext: outhaul-relay site enrol SITE".to_owned();
    }
    table(&rows)
}

pub(super) fn agent(answer: &Value) -> String {
    let mut rows = Vec::new();
    for key in ["agent", "site", "role", "state", "software", "note"] {
        rows.push(vec![format!("{key}:"), text(answer, key)]);
    }
    rows.push(vec!["enrolled:".to_owned(), time(answer.get("created"))]);
    if answer.get("revoked_at").is_some_and(Value::is_number) {
        rows.push(vec!["revoked:".to_owned(), time(answer.get("revoked_at"))]);
    }
    for name in list(answer, "names").iter().filter_map(Value::as_str) {
        rows.push(vec!["passes through:".to_owned(), name.to_owned()]);
    }
    for (name, upstream) in answer.get("upstreams").and_then(Value::as_object).into_iter().flatten() {
        let stateless = upstream.get("stateless") == Some(&Value::Bool(true));
        let about = if stateless { ", stateless" } else { "" };
        rows.push(vec![format!("upstream {name}:"), format!("{}{about}", text(upstream, "health"))]);
    }
    for tunnel in list(answer, "tunnels") {
        let is = |key: &str| tunnel.get(key) == Some(&Value::Bool(true));
        let state = if is("usable") { "" } else { ", draining" };
        let outer = |key| tunnel.get("outer").map_or_else(|| "-".to_owned(), |outer| text(outer, key));
        let inspected = if tunnel.get("binding").and_then(Value::as_str) == Some("inner-tls") {
            format!(
                ", INNER TLS: its outer TLS is opened on the way by “{}”, a certificate of “{}”",
                outer("subject"),
                outer("issuer")
            )
        } else {
            String::new()
        };
        let about = format!(
            "from {} since {}, {} calls now, {} in all, {} B in, {} B out{state}{inspected}",
            text(tunnel, "from"),
            time(tunnel.get("since")),
            text(tunnel, "calls"),
            text(tunnel, "opened"),
            text(tunnel, "bytes_in"),
            text(tunnel, "bytes_out"),
        );
        rows.push(vec![format!("tunnel {}:", text(tunnel, "slot")), about]);
    }
    if let Some(audit) = answer.get("audit").filter(|audit| audit.is_object()) {
        // In the form that `outhaul-agent audit verify --anchor` takes.
        let about =
            format!("{}:{} seen {}", text(audit, "number"), text(audit, "head"), time(audit.get("seen")));
        rows.push(vec!["audit head:".to_owned(), about]);
    }
    for alarm in list(answer, "alarms") {
        let about = format!(
            "{} times, first {}, last {}: {}",
            text(alarm, "count"),
            time(alarm.get("first_at")),
            time(alarm.get("last_at")),
            text(alarm, "detail"),
        );
        rows.push(vec![format!("ALARM {}:", text(alarm, "kind")), about]);
    }
    table(&rows)
}

pub(super) fn drained(answer: &Value) -> String {
    format!("Agent {} was asked to connect anew.", text(answer, "agent"))
}

pub(super) fn revoked(answer: &Value) -> String {
    format!("Agent {} is revoked and cut off.", text(answer, "agent"))
}

pub(super) fn activated(answer: &Value) -> String {
    format!("Agent {} is the active one of site {}.", text(answer, "agent"), text(answer, "site"))
}

pub(super) fn cleared(answer: &Value) -> String {
    format!("The alarms of agent {} are cleared.", text(answer, "agent"))
}

fn list<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A member as text. Agents name themselves, and their words must not steer a terminal.
fn text(answer: &Value, key: &str) -> String {
    match answer.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.chars().filter(|letter| !letter.is_control()).collect(),
        Some(other) => other.to_string(),
    }
}

fn time(seconds: Option<&Value>) -> String {
    let seconds = seconds.and_then(Value::as_i64);
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_agents_words_do_not_steer_the_terminal() {
        let answer = json!({"agents": [{
            "site": "acme", "agent": "id", "role": "active", "state": "connected",
            "software": "x\u{1b}[2J", "alarms": [{"kind": "clone-suspected"}],
            "tunnels": [{"calls": 2, "from": "192.0.2.1:5", "round_trip_ms": 1.25}],
        }]});
        let shown = agents(&answer);
        assert!(!shown.contains('\u{1b}'), "{shown}");
        assert!(shown.contains("1.2 ms") && shown.contains("clone-suspected"), "{shown}");
        assert!(agents(&json!({"agents": []})).contains("site enrol"));
    }

    #[test]
    fn the_line_to_paste_stands_alone() {
        let answer = json!({"site": "acme", "expires": 0, "command": "sudo x", "replaces": "old"});
        let shown = enrol(&answer);
        assert!(shown.contains("\n  sudo x\n") && shown.contains("--standby"), "{shown}");
        assert!(shown.contains("1970-01-01 00:00:00 UTC"), "{shown}");
    }
}
