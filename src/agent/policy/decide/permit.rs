//! The right to send one call.

use std::sync::Arc;

use http::Method;

use crate::common::ids::{CallerName, UpstreamName};
use crate::common::limits::ByteSize;

use super::super::{Call, CanonicalPath, Identity, Rule};

/// The right to send one call. Only [`authorise`](super::authorise) makes it.
#[derive(Debug, Clone)]
pub struct Permit {
    call: Call,
    rule: Arc<Rule>,
}

impl Permit {
    pub(super) fn new(mut call: Call, rule: Arc<Rule>) -> Self {
        // It has been judged; taken apart it is larger than it was.
        call.body = None;
        Self { call, rule }
    }

    /// The method to send.
    pub fn method(&self) -> &Method {
        &self.call.method
    }

    /// The application to send it to.
    pub fn upstream(&self) -> &UpstreamName {
        &self.call.upstream
    }

    /// The path to send, after the application's context path.
    pub fn path(&self) -> &CanonicalPath {
        &self.call.path
    }

    /// The query to send, byte for byte.
    pub fn query(&self) -> Option<&str> {
        self.call.query.as_str()
    }

    /// Who calls.
    pub fn caller(&self) -> Option<&CallerName> {
        self.call.caller.as_ref()
    }

    /// As whom it must be sent.
    pub fn identity(&self) -> &Identity {
        self.rule.identity()
    }

    /// The rule that allows it.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The largest request body, where the rule says; else the upstream's own limit holds.
    pub fn max_body(&self) -> Option<ByteSize> {
        self.rule.max_body()
    }
}
