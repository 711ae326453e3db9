//! The rule of the house, as a test: who may import whom, what stays pure, and how long a file may be.
//!
//! The table below is the one of `docs/architecture.md`. A new room or a new edge is a decision: change both.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a fault fails the test")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

/// The floors that any room of the agent or the relay stands on.
const GROUND: &[&str] =
    &["common", "config", "hardening", "telemetry", "terminal", "tunnel", "sqlite", "net", "identity"];

/// Room, and the rooms it may import. A room always may import itself; `*` is everything but the other program.
const TABLE: &[(&str, &[&str])] = &[
    ("common", &[]),
    ("config", &["common"]),
    ("hardening", &[]),
    ("telemetry", &["common"]),
    ("terminal", &["common"]),
    ("tunnel", &["common"]),
    ("sqlite", &["common"]),
    ("net", &["common", "telemetry", "tunnel"]),
    ("identity", &["common", "tunnel", "net"]),
    // The agent. Rooms named alone import no other room of it.
    ("agent", &["*"]),
    // What comes of an order is recorded.
    ("agent::acme", &["agent::audit", "agent::egress", "agent::store"]),
    // What is asked of these rooms, and their answers, have one definition.
    ("agent::admin", &["agent::acme", "agent::audit", "agent::mapping"]),
    ("agent::audit", &["agent::store"]),
    ("agent::callers", &["agent::store"]),
    // Some commands work on files, without a daemon.
    (
        "agent::cli",
        &[
            "agent::acme",
            "agent::admin",
            "agent::audit",
            "agent::config",
            "agent::connection",
            "agent::policy",
            // What becomes of header fields, for `policy explain`.
            "agent::proxy",
            "agent::store",
        ],
    ),
    (
        "agent::config",
        &[
            "agent::acme",
            "agent::audit",
            "agent::callers",
            "agent::connection",
            "agent::credentials",
            "agent::egress",
            "agent::idempotency",
            "agent::issuers",
            "agent::links",
            "agent::mapping",
            "agent::pass_through",
            "agent::policy",
            "agent::proxy",
            "agent::signed",
            "agent::store",
            "agent::upstream",
        ],
    ),
    ("agent::connection", &["agent::front", "agent::store", "agent::counters"]),
    ("agent::counters", &["agent::policy"]),
    // The command on its own, without a daemon: it puts the rooms together as `run` does.
    (
        "agent::credential",
        &[
            "agent::admin",
            "agent::audit",
            "agent::cli",
            "agent::config",
            "agent::credentials",
            "agent::house",
            "agent::store",
            "agent::upstream",
        ],
    ),
    // Each use of a secret, other than for a call, is recorded.
    ("agent::credentials", &["agent::audit", "agent::store", "agent::upstream"]),
    // Tunnels are lent to it: it knows no room.
    ("agent::egress", &[]),
    (
        "agent::front",
        &[
            "agent::audit",
            "agent::callers",
            "agent::counters",
            "agent::credentials",
            "agent::idempotency",
            "agent::issuers",
            "agent::links",
            "agent::mapping",
            "agent::pause",
            "agent::policy",
            "agent::proxy",
            "agent::remembered",
            "agent::signed",
            "agent::upstream",
        ],
    ),
    // Takes the ways that the running agent takes, one step after the other.
    (
        "agent::doctor",
        &[
            "agent::acme",
            "agent::admin",
            "agent::cli",
            "agent::config",
            "agent::connection",
            "agent::egress",
            "agent::issuers",
            "agent::run",
            "agent::store",
            "agent::upstream",
        ],
    ),
    (
        "agent::enrol",
        &["agent::audit", "agent::cli", "agent::config", "agent::connection", "agent::run", "agent::store"],
    ),
    // The whole site as the admin socket sees it.
    ("agent::house", &["*"]),
    ("agent::idempotency", &[]),
    ("agent::issuers", &["agent::egress"]),
    ("agent::links", &["agent::audit", "agent::mapping", "agent::store"]),
    // What a configuration makes of the rooms: it knows those that it builds.
    ("agent::live", &["*"]),
    // Reads people from the store, and asks the applications about their credentials.
    ("agent::mapping", &["agent::audit", "agent::credentials", "agent::store", "agent::upstream"]),
    ("agent::metrics", &["agent::admin", "agent::counters"]),
    // Takes the streams that the relay opens, and hands their requests to the front.
    ("agent::pass_through", &["agent::connection", "agent::front", "agent::policy"]),
    // Where TLS ends, and where its certificates come from.
    ("agent::passing", &["*"]),
    ("agent::pause", &["agent::store"]),
    ("agent::policy", &[]),
    (
        "agent::proxy",
        &["agent::audit", "agent::counters", "agent::credentials", "agent::policy", "agent::upstream"],
    ),
    ("agent::reload", &[]),
    // What decides, and the store behind it.
    ("agent::remembered", &["agent::idempotency", "agent::store"]),
    ("agent::run", &["*"]),
    // Nonces lie in the store.
    ("agent::signed", &["agent::store"]),
    ("agent::store", &[]),
    ("agent::upstream", &[]),
    // The relay.
    ("relay", &["*"]),
    (
        "relay::admin",
        &["relay::egress", "relay::enrolment", "relay::registry", "relay::store", "relay::tenancy"],
    ),
    ("relay::cli", &["relay::admin", "relay::config"]),
    ("relay::config", &["relay::egress", "relay::ingress", "relay::registry", "relay::tenancy"]),
    ("relay::egress", &["relay::metrics"]),
    ("relay::enrolment", &["relay::registry", "relay::store"]),
    (
        "relay::ingress",
        &[
            "relay::egress",
            "relay::enrolment",
            "relay::metrics",
            "relay::registry",
            "relay::store",
            "relay::tenancy",
        ],
    ),
    ("relay::metrics", &["relay::registry", "relay::tenancy"]),
    (
        "relay::operator",
        &["relay::admin", "relay::metrics", "relay::registry", "relay::store", "relay::tenancy"],
    ),
    ("relay::registry", &["relay::store", "relay::tenancy"]),
    ("relay::run", &["*"]),
    ("relay::store", &[]),
    ("relay::tenancy", &["relay::store"]),
];

/// Rooms that decide without input or output, and names that would be a sign of it.
const PURE: &[&str] = &["tunnel", "agent::idempotency", "agent::policy"];
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "std::net",
    "std::fs",
    "std::process",
    "std::env",
    "crate::net",
    "crate::common::tasks",
];
/// Sockets are opened here and nowhere else.
const SOCKETS: &[&str] =
    &["TcpStream", "TcpListener", "TcpSocket", "UdpSocket", "UnixStream", "UnixListener"];
/// Where a pure room keeps the ground floor only.
const POLICY_GROUND: &[&str] = &["common"];
/// A longer file is to be split; tests may be longer.
const LONGEST: usize = 400;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All sources below `src`, tests left out, with their module path.
fn sources() -> Vec<(PathBuf, Vec<String>, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let inside = path.strip_prefix(root().join("src")).unwrap().with_extension("");
                let mut module: Vec<String> =
                    inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
                if module.last().is_some_and(|last| last == "mod" || last == "lib") {
                    module.pop();
                }
                found.push((path, module, text));
            }
        }
    }
    found.sort();
    assert!(found.len() > 50, "the sources are found");
    found
}

/// The room a module path lies in: one segment, two below `agent` and `relay`.
fn room(module: &[String]) -> String {
    let deep = module.first().is_some_and(|first| first == "agent" || first == "relay");
    module.iter().take(if deep { 2 } else { 1 }).cloned().collect::<Vec<_>>().join("::")
}

/// Words and signs of a source, comments and literals left out.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut index = 0;
    while index < chars.len() {
        let one = at(index);
        if one == '/' && at(index + 1) == '/' {
            while index < chars.len() && at(index) != '\n' {
                index += 1;
            }
        } else if one == '/' && at(index + 1) == '*' {
            index += 2;
            while index < chars.len() && !(at(index) == '*' && at(index + 1) == '/') {
                index += 1;
            }
            index += 2;
        } else if one == 'r'
            && (at(index + 1) == '"' || (at(index + 1) == '#' && matches!(at(index + 2), '"' | '#')))
        {
            let hashes = chars.iter().skip(index + 1).take_while(|one| **one == '#').count();
            index += 2 + hashes;
            while index < chars.len()
                && !(at(index) == '"' && (1..=hashes).all(|further| at(index + further) == '#'))
            {
                index += 1;
            }
            index += 1 + hashes;
        } else if one == '"' {
            index += 1;
            while index < chars.len() && at(index) != '"' {
                index += if at(index) == '\\' { 2 } else { 1 };
            }
            index += 1;
        } else if one == '\'' && (at(index + 1) == '\\' || at(index + 2) == '\'') {
            index += if at(index + 1) == '\\' { 3 } else { 2 };
            while index < chars.len() && at(index) != '\'' {
                index += 1;
            }
            index += 1;
        } else if one.is_alphanumeric() || one == '_' {
            let start = index;
            while at(index).is_alphanumeric() || at(index) == '_' {
                index += 1;
            }
            words.push(chars[start..index].iter().collect());
        } else if one == ':' && at(index + 1) == ':' {
            words.push("::".to_owned());
            index += 2;
        } else {
            if !one.is_whitespace() {
                words.push(one.to_string());
            }
            index += 1;
        }
    }
    words
}

/// Every path of this crate that a source names, made absolute: `crate::a::{b, c::d}` gives `a::b` and `a::c::d`.
fn paths(module: &[String], text: &str) -> BTreeSet<Vec<String>> {
    let words = words(text);
    let word = |index: usize| words.get(index).map_or("", String::as_str);
    let mut found = BTreeSet::new();
    // Inline modules: their names, and the depth of braces at which each ends.
    let (mut inline, mut depth): (Vec<(String, usize)>, usize) = (Vec::new(), 0);
    let mut index = 0;
    while index < words.len() {
        match word(index) {
            "mod" if word(index + 2) == "{" => {
                inline.push((word(index + 1).to_owned(), depth));
                depth += 1;
                index += 3;
                continue;
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last().is_some_and(|(_, at)| *at == depth) {
                    inline.pop();
                }
            }
            start @ ("crate" | "super" | "self")
                if word(index + 1) == "::" && word(index.wrapping_sub(1)) != "::" =>
            {
                let mut base: Vec<String> = Vec::new();
                if start != "crate" {
                    base.extend(module.iter().cloned());
                    base.extend(inline.iter().map(|(name, _)| name.clone()));
                }
                if start == "super" {
                    base.pop();
                }
                index = branch(&words, index + 2, base, &mut found);
                continue;
            }
            _ => {}
        }
        index += 1;
    }
    found
}

/// Follows a path from a word on, into its groups; gives the place behind it.
fn branch(
    words: &[String],
    mut index: usize,
    mut base: Vec<String>,
    found: &mut BTreeSet<Vec<String>>,
) -> usize {
    let word = |index: usize| words.get(index).map_or("", String::as_str);
    loop {
        match word(index) {
            "{" => {
                index += 1;
                while index < words.len() && word(index) != "}" {
                    if word(index) == "," {
                        index += 1;
                    } else {
                        index = branch(words, index, base.clone(), found);
                        if word(index) == "as" {
                            index += 2;
                        }
                    }
                }
                return index + 1;
            }
            "super" => {
                base.pop();
            }
            "*" | "self" => {
                found.insert(base);
                return index + 1;
            }
            name => base.push(name.to_owned()),
        }
        index += 1;
        if word(index) != "::" {
            // A macro of the crate has its path at the root and belongs to no room.
            if word(index) != "!" {
                found.insert(base);
            }
            return index;
        }
        index += 1;
        // `::<…>` belongs to a value, not to the path.
        if word(index) == "<" {
            found.insert(base);
            return index;
        }
    }
}

/// What is wrong with a source's imports.
fn faults(module: &[String], text: &str) -> Vec<String> {
    let own = room(module);
    if own.is_empty() || own == "bin" {
        return Vec::new();
    }
    let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == own) else {
        return vec![format!("the room {own} is not in the table of tests/architecture.rs")];
    };
    let program = |name: &str| name.split("::").next().unwrap_or_default().to_owned();
    let mut faults = Vec::new();
    for path in paths(module, text) {
        let other = room(&path);
        // Names that are no room: items of the crate's root, or of `agent` and `relay` themselves.
        let known = TABLE.iter().any(|(name, _)| *name == other);
        let same = other == own || other.is_empty();
        if same || !known {
            let foreign =
                matches!(program(&other).as_str(), "agent" | "relay") && program(&other) != program(&own);
            if foreign {
                faults.push(format!("{own} imports {}", path.join("::")));
            }
            continue;
        }
        let ground = GROUND.contains(&other.as_str());
        let upper = matches!(program(&own).as_str(), "agent" | "relay");
        let fine = match allowed {
            ["*"] => ground || program(&other) == program(&own),
            _ if PURE.contains(&own.as_str()) => POLICY_GROUND.contains(&other.as_str()),
            _ if upper && ground => true,
            allowed => allowed.contains(&other.as_str()),
        };
        if !fine {
            faults.push(format!("{own} imports {}", path.join("::")));
        }
    }
    faults
}

/// Names that a pure room must not know, and sockets outside `net`.
fn impure(module: &[String], text: &str) -> Vec<String> {
    let own = room(module);
    let joined = words(text).join(" ").replace(" :: ", "::");
    let has =
        |name: &str| joined.split(' ').any(|word| word == name || word.starts_with(&format!("{name}::")));
    let mut faults = Vec::new();
    if PURE.contains(&own.as_str()) {
        faults.extend(
            IMPURE.iter().filter(|name| has(name)).map(|name| format!("{own} is pure, but names {name}")),
        );
    }
    if own != "net" {
        let opened = SOCKETS.iter().filter(|name| {
            ["connect", "bind", "new_v4", "new_v6"]
                .iter()
                .any(|verb| joined.contains(&format!("{name}::{verb} ")))
        });
        faults.extend(opened.map(|name| format!("{own} opens a {name}: only net opens sockets")));
    }
    faults
}

fn is_test(module: &[String]) -> bool {
    module.iter().any(|part| part == "tests" || part.ends_with("_tests"))
}

/// The part of a source that is no test: up to an inline `#[cfg(test)] mod tests`.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn complain(title: &str, faults: &[String]) {
    let mut text = String::new();
    for fault in faults {
        let _ = writeln!(text, "  {fault}");
    }
    assert!(faults.is_empty(), "{title}:\n{text}");
}

#[test]
fn imports_follow_the_table() {
    let mut all = Vec::new();
    for (path, module, text) in sources() {
        if !is_test(&module) {
            let shown = path.strip_prefix(root()).unwrap().display().to_string();
            all.extend(
                faults(&module, without_tests(&text)).into_iter().map(|fault| format!("{shown}: {fault}")),
            );
        }
    }
    complain("imports that the table does not allow", &all);
}

#[test]
fn what_decides_stays_pure_and_only_net_opens_sockets() {
    let mut all = Vec::new();
    for (path, module, text) in sources() {
        if !is_test(&module) {
            let shown = path.strip_prefix(root()).unwrap().display().to_string();
            all.extend(
                impure(&module, without_tests(&text)).into_iter().map(|fault| format!("{shown}: {fault}")),
            );
        }
    }
    complain("input or output where none may be", &all);
}

#[test]
fn no_file_grows_too_long() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(_, module, _)| !is_test(module))
        .map(|(path, _, text)| (path, without_tests(&text).lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(path, lines)| format!("{} has {lines} lines", path.display()))
        .collect();
    complain("files to be split", &long);
}

#[test]
fn the_table_has_no_room_twice_and_none_unknown() {
    let mut seen = BTreeSet::new();
    for (name, allowed) in TABLE {
        assert!(seen.insert(*name), "{name} stands twice");
        for other in *allowed {
            assert!(*other == "*" || TABLE.iter().any(|(one, _)| one == other), "{name} names {other}");
        }
    }
}

#[test]
fn an_illegal_import_would_be_found() {
    let found = |module: &str, text: &str| {
        let module: Vec<String> = module.split("::").map(str::to_owned).collect();
        faults(&module, text)
    };
    for (module, text) in [
        ("tunnel::session", "use crate::net::dial;"),
        ("agent::policy::rule", "use crate::{common::ids, agent::{policy::path, upstream::Pool}};"),
        ("agent::policy", "fn f() { crate::agent::proxy::forward(); }"),
        ("agent::policy::rule", "use super::super::proxy;"),
        ("agent::front", "use crate::relay::registry::Registry;"),
        ("relay::ingress", "use crate::{agent::front::Front as F};"),
        ("relay::ingress", "use crate::agent;"),
        ("common::ids", "mod inner { use super::super::super::config::Table; }"),
        ("agent::policy", "use crate::identity::api_key;"),
        ("agent::nowhere", ""),
    ] {
        assert!(!found(module, text).is_empty(), "{module}: {text}");
    }
    for (module, text) in [
        ("tunnel::session", "use crate::common::clock; use super::frame::{self, Frame};"),
        (
            "agent::policy",
            "// use crate::net;\nconst A: &str = \"crate::net::dial\"; use crate::common::{ids::*};",
        ),
        ("agent::policy", "mod inner { use super::rule; use super::super::policy::path; }"),
        ("agent::front", "use crate::agent::proxy::{self, Proxy}; use crate::net::tls;"),
        ("agent", "use crate::agent::front::Front;"),
        ("config::values", "crate::read_as_text!(Url);"),
        ("relay::run", "let x = crate::relay::store::Store::<u8>::open();"),
    ] {
        assert_eq!(found(module, text), Vec::<String>::new(), "{module}: {text}");
    }
    let policy = ["agent".to_owned(), "policy".to_owned()];
    assert!(!impure(&policy, "use std::fs::File;").is_empty());
    assert!(!impure(&policy, "async fn f() { tokio::time::sleep(d).await }").is_empty());
    assert!(!impure(&["config".to_owned()], "TcpStream::connect (a)").is_empty());
}
