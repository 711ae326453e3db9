//! Everything the stand-in remembers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::attachments::Received;
use crate::oauth::Provider;

/// The whole state, under one lock.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) groups: BTreeMap<String, BTreeSet<String>>,
    pub(crate) projects: BTreeMap<String, Project>,
    pub(crate) issues: BTreeMap<u64, Issue>,
    pub(crate) attachments: BTreeMap<u64, Attachment>,
    pub(crate) tokens: BTreeMap<u64, Token>,
    /// Session cookie value to username.
    pub(crate) sessions: BTreeMap<String, String>,
    /// Uploaded, and not yet on any request.
    pub(crate) temporary: BTreeMap<String, Received>,
    pub(crate) webhooks: BTreeMap<u64, Value>,
    pub(crate) oauth: Provider,
    next_id: u64,
}

/// A person or a service account.
pub(crate) struct User {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) display: String,
    pub(crate) email: String,
    pub(crate) active: bool,
    pub(crate) password: String,
    pub(crate) failed_logins: u32,
}

/// Who holds a permission.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    Anyone,
    Role(&'static str),
}

/// What can be permitted in a project.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Right {
    Browse,
    Create,
    Edit,
    Assign,
    Transition,
    Comment,
    Attach,
    Work,
    ManageWatchers,
    Delete,
    Administer,
}

/// A role's members.
#[derive(Default, Clone)]
pub(crate) struct Role {
    pub(crate) id: u64,
    pub(crate) users: BTreeSet<String>,
    pub(crate) groups: BTreeSet<String>,
}

/// A project with its roles and permission scheme.
pub(crate) struct Project {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) lead: String,
    /// `software` or `service_desk`.
    pub(crate) kind: &'static str,
    pub(crate) roles: BTreeMap<&'static str, Role>,
    pub(crate) scheme: Vec<(Right, Holder)>,
    pub(crate) last_number: u64,
}

/// An issue with all that hangs on it.
#[derive(Clone, PartialEq)]
pub(crate) struct Issue {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) project: String,
    pub(crate) kind: &'static str,
    pub(crate) status: &'static str,
    pub(crate) summary: String,
    pub(crate) description: Option<String>,
    pub(crate) reporter: Option<String>,
    pub(crate) assignee: Option<String>,
    pub(crate) labels: Vec<String>,
    pub(crate) priority: String,
    /// Custom fields, as given.
    pub(crate) extra: Map<String, Value>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) worklogs: Vec<Worklog>,
    pub(crate) watchers: BTreeSet<String>,
    pub(crate) attachments: Vec<u64>,
    pub(crate) links: Vec<RemoteLink>,
    pub(crate) properties: BTreeMap<String, Value>,
    pub(crate) remaining_seconds: u64,
    /// What makes it a request of a service desk.
    pub(crate) request: Option<DeskRequest>,
    pub(crate) created: String,
    pub(crate) updated: String,
}

/// Who may see a comment or worklog.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Visibility {
    All,
    Role(String),
    Group(String),
}

/// The service desk's part of an issue.
#[derive(Clone, PartialEq)]
pub(crate) struct DeskRequest {
    /// The request type's id.
    pub(crate) kind: &'static str,
    pub(crate) participants: BTreeSet<String>,
    pub(crate) approvals: Vec<Approval>,
}

/// A question to approvers, each of whom may answer once; one answer decides.
#[derive(Clone, PartialEq)]
pub(crate) struct Approval {
    pub(crate) id: u64,
    pub(crate) approvers: BTreeMap<String, Decision>,
    pub(crate) decision: Decision,
    pub(crate) created: String,
    pub(crate) completed: Option<String>,
}

/// How an approval, or one approver, stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Pending,
    Approved,
    Declined,
}

/// A comment.
#[derive(Clone, PartialEq)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) author: Option<String>,
    pub(crate) updater: Option<String>,
    pub(crate) body: String,
    pub(crate) visibility: Visibility,
    pub(crate) created: String,
    pub(crate) updated: String,
}

/// Time spent.
#[derive(Clone, PartialEq)]
pub(crate) struct Worklog {
    pub(crate) id: u64,
    pub(crate) author: Option<String>,
    pub(crate) comment: String,
    pub(crate) started: String,
    pub(crate) seconds: u64,
    pub(crate) visibility: Visibility,
    pub(crate) created: String,
    pub(crate) updated: String,
}

/// A link to something outside.
#[derive(Clone, PartialEq)]
pub(crate) struct RemoteLink {
    pub(crate) id: u64,
    pub(crate) global_id: Option<String>,
    pub(crate) body: Value,
}

/// An attached file; its bytes lie in the temporary folder.
pub(crate) struct Attachment {
    pub(crate) id: u64,
    pub(crate) issue: u64,
    pub(crate) name: String,
    pub(crate) mime: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    pub(crate) author: Option<String>,
    pub(crate) created: String,
    pub(crate) path: std::path::PathBuf,
}

/// A personal access token.
pub(crate) struct Token {
    pub(crate) id: u64,
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) secret: String,
    pub(crate) created: String,
    pub(crate) expires: String,
    pub(crate) expires_at: u64,
    pub(crate) last_used: Option<String>,
}

impl World {
    /// A number nobody has had yet.
    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.next_id = self.next_id.max(10_000) + 1;
        self.next_id
    }

    /// By key (any case) or id.
    pub(crate) fn project(&self, name: &str) -> Option<&Project> {
        self.projects
            .values()
            .find(|project| project.key.eq_ignore_ascii_case(name) || project.id.to_string() == name)
    }

    /// By key (any case) or id.
    pub(crate) fn issue(&self, name: &str) -> Option<&Issue> {
        self.issues
            .values()
            .find(|issue| issue.key.eq_ignore_ascii_case(name) || issue.id.to_string() == name)
    }

    /// By username, else by key: an old name may be somebody's key for ever.
    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.by_name(name).or_else(|| self.by_key(name))
    }

    /// By username, in any case.
    pub(crate) fn by_name(&self, name: &str) -> Option<&User> {
        self.users.values().find(|user| user.name.eq_ignore_ascii_case(name))
    }

    /// By key, which outlives every name.
    pub(crate) fn by_key(&self, key: &str) -> Option<&User> {
        self.users.values().find(|user| user.key == key)
    }

    /// Is this user in that group?
    pub(crate) fn in_group(&self, user: Option<&str>, group: &str) -> bool {
        user.is_some_and(|user| self.groups.get(group).is_some_and(|members| members.contains(user)))
    }

    /// Does this user hold that role in the project, by name or by group?
    pub(crate) fn in_role(&self, user: Option<&str>, project: &Project, role: &str) -> bool {
        let Some(role) = project.roles.iter().find(|(name, _)| name.eq_ignore_ascii_case(role)) else {
            return false;
        };
        user.is_some_and(|user| role.1.users.contains(user))
            || role.1.groups.iter().any(|group| self.in_group(user, group))
    }
}
