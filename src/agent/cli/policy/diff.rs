//! `policy diff OLD NEW --calls FILE`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::arguments::Diff;
use super::asking::{self, Site, content_type};
use crate::agent::config::Config;
use crate::agent::policy::tools::asked::Asked;
use crate::agent::policy::tools::diff::{Change, compare};
use crate::agent::policy::tools::recorded::{self, Recorded};
use crate::common::report::{Exit, Report};
use crate::terminal;

/// Fails with 1 if anything changes.
pub(super) fn diff(what: &Diff, json: bool) -> Result<(), Report> {
    let (old, new) = (Config::load(&what.old)?, Config::load(&what.new)?);
    let calls = calls(&what.calls)?;
    let (old_site, new_site) = (Site::of(&old), Site::of(&new));
    let mut changes: Vec<(&Recorded, Change)> = Vec::new();
    for call in &calls {
        let (before, after) = (asked(call, &old_site, what)?, asked(call, &new_site, what)?);
        changes.extend(compare(&old.policy, &new.policy, &before, &after).map(|change| (call, change)));
    }
    if json {
        let changes: Vec<_> = changes.iter().map(|(call, change)| shown(call, change)).collect();
        terminal::say_json(&json!({ "calls": calls.len(), "changes": changes }));
    } else {
        terminal::say(&text(&what.calls, calls.len(), &changes));
    }
    if changes.is_empty() {
        return Ok(());
    }
    Err(Report::new(Exit::Found, format!("{} of {} calls change", changes.len(), calls.len())))
}

fn calls(file: &Path) -> Result<Vec<Recorded>, Report> {
    let text = crate::config::file::read_text(file, "file of calls", MAX_FILE)?;
    recorded::read(&text).map_err(|faults| {
        let mut what = format!("{} has lines that are no calls", file.display());
        for fault in faults.iter().take(MAX_FAULTS) {
            let _ = write!(what, "\n  {fault}");
        }
        if faults.len() > MAX_FAULTS {
            let _ = write!(what, "\n  and {} more", faults.len() - MAX_FAULTS);
        }
        Report::new(Exit::Data, what)
    })
}

fn asked(call: &Recorded, site: &Site, what: &Diff) -> Result<Asked, Report> {
    let address = site.address(&call.path, call.upstream.as_deref()).map_err(|fault| {
        Report::new(Exit::Data, format!("{}:{}: {fault}", what.calls.display(), call.line))
    })?;
    let proofs =
        call.proofs.iter().map(|text| asking::proof(text).ok_or(text)).collect::<Result<Vec<_>, _>>();
    let proofs = proofs.map_err(|text| {
        let text: String = text.chars().filter(|one| !one.is_control()).take(40).collect();
        Report::new(Exit::Data, format!("{}:{}: “{text}” is no proof", what.calls.display(), call.line))
            .with_remedy("Write signed, pass-through, pass-through-operator-name or person.")
    })?;
    Ok(Asked {
        method: call.method.clone(),
        upstream: address.upstream,
        target: address.target,
        caller: call.caller.clone(),
        person: call.person.clone(),
        content_type: content_type(call.content_type.as_deref(), call.body.is_some()),
        body: call.body.as_ref().map(|body| body.clone().into_bytes()),
        trust: asking::trust(&proofs),
    })
}

fn shown(call: &Recorded, change: &Change) -> serde_json::Value {
    json!({
        "line": call.line,
        "method": call.method.as_str(),
        "path": without_query(&call.path),
        "caller": call.caller,
        "change": change.change,
        "old": change.old,
        "new": change.new,
    })
}

fn text(file: &Path, calls: usize, changes: &[(&Recorded, Change)]) -> String {
    let mut text = String::new();
    let mut kinds: BTreeMap<_, usize> = BTreeMap::new();
    for (call, change) in changes {
        *kinds.entry(change.change).or_default() += 1;
        let caller = call.caller.as_ref().map(|caller| format!(" as {caller}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{}:{}: {}: {} {}{caller}\n  old: {}\n  new: {}",
            file.display(),
            call.line,
            change.change.words(),
            call.method,
            without_query(&call.path),
            change.old,
            change.new
        );
    }
    if changes.is_empty() {
        let _ = writeln!(text, "Nothing changes for {calls} calls.");
        return text;
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {}", kind.words())).collect();
    let _ = writeln!(text, "Of {calls} calls: {}.", kinds.join(", "));
    text
}

/// Who reads the result need not see what somebody searched for; nor may a recorded path steer a terminal.
fn without_query(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    path.chars().map(|one| if one.is_control() { '\u{fffd}' } else { one }).take(300).collect()
}

/// No file of calls is larger.
const MAX_FILE: usize = 64 << 20;
/// More than a person mends in one go.
const MAX_FAULTS: usize = 20;
