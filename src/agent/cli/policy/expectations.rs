//! Reads a table of expectations: `[[expect]]` in a file of its own.

use std::path::Path;

use http::Method;
use toml::de::DeValue;

use super::arguments::Proof;
use super::asking::{Site, content_type};
use crate::agent::policy::tools::asked::Asked;
use crate::agent::policy::tools::expect::Expectation;
use crate::common::ids::CallerName;
use crate::common::report::Report;
use crate::config::diagnose::{Located, Source, Span};
use crate::config::table::Table;
use crate::config::value::FromValue;

/// One of them, and where it stands.
pub(super) struct Expected {
    /// Its line, from 1.
    pub(super) line: usize,
    /// The call as written.
    pub(super) call: String,
    /// Why it must be so, where that is said.
    pub(super) why: Option<String>,
    /// The expectation.
    pub(super) expectation: Expectation,
}

/// All of a file, or every fault in it.
pub(super) fn load(path: &Path, site: &Site) -> Result<Vec<Expected>, Report> {
    let text = crate::config::file::read_text(path, "table of expectations", MAX_FILE)?;
    crate::config::parse(&path.display().to_string(), &text, |top, source| Some(read(top, source, site)))
}

fn read<'d>(top: &mut Table<'d>, source: &'d Source<'d>, site: &Site) -> Vec<Expected> {
    if !top.has("expect") {
        // A table that says nothing would always hold.
        top.missing("expect", "[{ call = \"GET /rest/api/2/myself\", result = \"allow\" }]");
    }
    let tables = top.tables("expect");
    tables.into_iter().filter_map(|mut table| one(&mut table, source, site)).collect()
}

fn one<'d>(table: &mut Table<'d>, source: &'d Source<'d>, site: &Site) -> Option<Expected> {
    let call: Option<Located<String>> = table.required("call", "\"GET /rest/api/2/issue/TEST-1\"");
    let result: Option<Outcome> = table.required("result", "\"allow\"");
    let caller: Option<CallerName> = table.optional("caller");
    let person: Option<String> = table.optional("as");
    let upstream: Option<String> = table.optional("upstream");
    let body: Option<String> = table.optional("body");
    let kind: Option<String> = table.optional("content-type");
    let proofs: Vec<Proof> = table.or("proof", Vec::new());
    let rule: Option<String> = table.optional("rule");
    let code: Option<Located<String>> = table.optional("code");
    let identity: Option<String> = table.optional("identity");
    let why: Option<String> = table.optional("why");
    let (call, allowed) = (call?, matches!(result?, Outcome::Allow));
    if let Some(code) = &code
        && allowed
    {
        source.fault(code.at, "an allowed call has no code of ours", "remove it, or write result = \"deny\"");
    }
    let words = call.value.split_once(' ').map(|(method, path)| (method.parse::<Method>(), path.trim()));
    let Some((Ok(method), path)) = words else {
        source.fault(
            call.at,
            "this is no call",
            "write a method, one space and a path: \"GET /rest/api/2/myself\"",
        );
        return None;
    };
    let address = match site.address(path, upstream.as_deref()) {
        Ok(address) => address,
        Err(fault) => {
            source.plain_fault(call.at, fault.to_string());
            return None;
        }
    };
    let asked = Asked {
        method,
        upstream: address.upstream,
        target: address.target,
        caller,
        person,
        content_type: content_type(kind.as_deref(), body.is_some()),
        body: body.map(Into::into),
        trust: super::asking::trust(&proofs),
    };
    Some(Expected {
        line: source.line(call.at),
        call: call.value,
        why,
        expectation: Expectation { call: asked, allowed, rule, code: code.map(|code| code.value), identity },
    })
}

enum Outcome {
    Allow,
    Deny,
}

impl FromValue for Outcome {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        match String::from_value(value, at, source)?.as_str() {
            "allow" => Some(Self::Allow),
            "deny" => Some(Self::Deny),
            other => {
                source.fault(at, format!("“{other}” is no result"), "write \"allow\" or \"deny\"");
                None
            }
        }
    }
}

impl FromValue for Proof {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        let text = String::from_value(value, at, source)?;
        let read = super::asking::proof(&text);
        if read.is_none() {
            let help = "write signed, pass-through, pass-through-operator-name or person";
            source.fault(at, format!("“{text}” is no proof"), help);
        }
        read
    }
}

/// No table of expectations is larger.
const MAX_FILE: usize = 4 << 20;
