//! The command line, and the table of switches for what is not verified about the real product.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

use crate::oauth::Client;

/// A stand-in for Jira Data Center, for tests and the demo.
#[derive(Parser, Debug, Clone)]
#[command(name = "jira-stand-in", after_long_help = switch_help(), after_help = switch_help())]
pub(crate) struct Options {
    /// Where Jira listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Where the test's own interface (`/_control/…`) listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) control: SocketAddr,
    /// What Jira calls itself, context path included. Links are built from it. Default: the listening address
    /// and `/jira`.
    #[arg(long)]
    pub(crate) base_url: Option<String>,
    /// Which release to imitate.
    #[arg(long, value_enum, default_value = "10.3")]
    pub(crate) profile: Profile,
    /// `name=value`; may be given several times.
    #[arg(long = "switch", value_name = "NAME=VALUE")]
    pub(crate) switches: Vec<String>,
    /// A known token for a seed user, `user=token`, beside the random one.
    #[arg(long = "pat", value_name = "USER=TOKEN")]
    pub(crate) pats: Vec<String>,
    /// A client of the OAuth 2.0 provider: `id=…,secret=…,scope=READ+WRITE,redirect=URI`; `redirect` may be given
    /// several times, `name=…` and `service-account=USER` at will. May be given several times. Later clients:
    /// `POST /_control/oauth/clients` with `{"id":…,"secret":…,"name":…,"scope":"READ WRITE","redirect_uris":[…],
    /// "service_account":…}`, where all but `redirect_uris` may be absent.
    #[arg(long = "oauth-client", value_name = "NAME=VALUE,…")]
    pub(crate) oauth_clients: Vec<String>,
    /// The largest attachment, in bytes.
    #[arg(long, default_value_t = 100 * 1024 * 1024)]
    pub(crate) upload_limit: u64,
    /// Wrong passwords in a row before a CAPTCHA is asked for.
    #[arg(long, default_value_t = 3)]
    pub(crate) captcha_after: u32,
    /// A further node of the same Jira, at a port of its own; may be given several times.
    #[arg(long = "node", value_name = "ADDRESS")]
    pub(crate) nodes: Vec<SocketAddr>,
    /// Time stands still until the control interface moves it (`POST /_control/clock/SECONDS`).
    #[arg(long)]
    pub(crate) manual_clock: bool,
    /// The switches as set, every name present. Filled by [`Options::checked`].
    #[arg(skip)]
    pub(crate) set: BTreeMap<&'static str, &'static str>,
}

/// A line of releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// 8.20: only for the old form of createmeta.
    #[value(name = "8.20")]
    V8,
    /// 9.12: best effort.
    #[value(name = "9.12")]
    V9,
    /// 10.3 LTS.
    #[value(name = "10.3")]
    V10,
    /// 11.3 LTS.
    #[value(name = "11.3")]
    V11,
}

impl Profile {
    /// As `serverInfo` shows it.
    pub(crate) fn version(self) -> (&'static str, [u32; 3]) {
        match self {
            Self::V8 => ("8.20.30", [8, 20, 30]),
            Self::V9 => ("9.12.30", [9, 12, 30]),
            Self::V10 => ("10.3.24", [10, 3, 24]),
            Self::V11 => ("11.3.3", [11, 3, 3]),
        }
    }
}

/// One open question about the real product; the first value is the default.
pub(crate) struct Switch {
    pub(crate) name: &'static str,
    pub(crate) values: &'static [&'static str],
    pub(crate) meaning: &'static str,
}

/// Every open question this stand-in can answer both ways.
pub(crate) const SWITCHES: &[Switch] = &[
    Switch {
        name: "invalid-bearer",
        values: &["anonymous", "401"],
        meaning: "an unknown or expired token on an open resource: served as anonymous, or refused",
    },
    Switch {
        name: "basic",
        values: &["by-profile", "on", "off"],
        meaning: "Basic authentication; by profile it is off from 11",
    },
    Switch { name: "basic-refusal", values: &["401", "403"], meaning: "the status when Basic is off" },
    Switch {
        name: "wrong-password",
        values: &["401", "200-empty"],
        meaning: "the answer to a wrong password: 401, or 200 without a body",
    },
    Switch {
        name: "ausername",
        values: &["percent", "raw", "absent"],
        meaning: "X-AUSERNAME percent-encoded, as it is, or not sent at all",
    },
    Switch {
        name: "hidden-issue-anonymous",
        values: &["404", "401"],
        meaning: "an issue that an anonymous caller may not see",
    },
    Switch {
        name: "anonymous-comment",
        values: &["no", "yes"],
        meaning: "whoever sees an issue may comment on it, with an open project anybody",
    },
    Switch {
        name: "secure-pat",
        values: &["yes", "no"],
        meaning: "a token is accepted on /secure/attachment/…, or ignored there",
    },
    Switch { name: "attachment-range", values: &["yes", "no"], meaning: "ranges of attachment bytes" },
    Switch {
        name: "attachment-too-large",
        values: &["404", "413"],
        meaning: "the status for an upload over the limit",
    },
    Switch {
        name: "pat-makes-pat",
        values: &["yes", "no"],
        meaning: "a call made with a token may create another token",
    },
    Switch {
        name: "pat-list",
        values: &["last-accessed", "short", "user-key"],
        meaning: "listed tokens show lastAccessedAt, not even that, or userKey as well",
    },
    Switch { name: "asessionid", values: &["absent", "sent"], meaning: "the answer header X-ASESSIONID" },
    Switch {
        name: "forwarded-host",
        values: &["ignored", "honoured"],
        meaning: "X-Forwarded-Host and -Proto change what serverInfo gives as baseUrl",
    },
    Switch { name: "pat-delete", values: &["204", "200"], meaning: "the status of a token's deletion" },
    Switch {
        name: "assignee-null",
        values: &["unassign", "automatic"],
        meaning: "what a null assignee name means",
    },
    Switch {
        name: "path-parameters",
        values: &["strip", "keep"],
        meaning: "`;x` in a path segment is cut off before routing, or part of the name",
    },
    Switch {
        name: "os-username",
        values: &["ignored", "honoured"],
        meaning: "os_username and os_password in the query log in",
    },
    Switch {
        name: "method-override",
        values: &["ignored", "honoured"],
        meaning: "X-HTTP-Method-Override changes the method",
    },
    Switch { name: "usernames", values: &["fold", "exact"], meaning: "case of usernames" },
    Switch {
        name: "framing",
        values: &["chunked", "length"],
        meaning: "JSON answers are sent chunked, or with Content-Length",
    },
    Switch {
        name: "session-cookie",
        values: &["always", "never"],
        meaning: "a call without cookies is given a new JSESSIONID",
    },
    Switch {
        name: "group-read",
        values: &["404", "200"],
        meaning: "GET group?groupname&expand=users, as an older client asks",
    },
    Switch {
        name: "remotelink-created",
        values: &["201", "200"],
        meaning: "the status when a remote link is new",
    },
    Switch {
        name: "rate-limit-body",
        values: &["message", "core", "html"],
        meaning: "the body of a 429: JSON with `message`, JSON with `errorMessages`, or a page",
    },
    Switch {
        name: "rate-limit-refill",
        values: &["interval", "continuous"],
        meaning: "tokens come back all at once after each interval, or one by one within it",
    },
    Switch {
        name: "rate-limit-anonymous",
        values: &["free", "limited"],
        meaning: "anonymous calls are not limited, or share one bucket",
    },
    Switch {
        name: "calls-while-not-running",
        values: &["503", "served"],
        meaning: "calls to a node whose state is not RUNNING get a 503 page, or are served",
    },
    Switch {
        name: "index-lag",
        values: &["other-nodes", "every-node"],
        meaning: "with a lag set, the writing node finds its own write at once, or as late as the others",
    },
    Switch {
        name: "search-values",
        values: &["database", "index"],
        meaning: "fields of found issues are as stored, or as the index last saw them",
    },
    Switch { name: "read-only-refusal", values: &["503", "405"], meaning: "a write in read-only mode" },
    Switch {
        name: "user-search-cap",
        values: &["by-profile", "100", "1000"],
        meaning: "the most users one search gives; by profile it is 100 from 10 on",
    },
    Switch {
        name: "experimental-api",
        values: &["ignored", "opt-in", "any"],
        meaning: "approvals and participants of requests need no X-ExperimentalApi, or `opt-in`, or any value",
    },
    Switch {
        name: "desk-page",
        values: &["links", "bare"],
        meaning: "pages of the service desk carry _links and _expands, or only the values and their numbers",
    },
    Switch {
        name: "desk-hidden",
        values: &["404", "403"],
        meaning: "a request of the service desk that the caller may not see",
    },
    Switch {
        name: "inactive-myself",
        values: &["401", "403"],
        meaning: "`myself` with the token of a user who is not active; elsewhere invalid-bearer decides",
    },
    Switch {
        name: "oauth-parameters",
        values: &["form", "query-too"],
        meaning: "token requests give their parameters in a form body only, or in the query as well",
    },
    Switch {
        name: "oauth-errors",
        values: &["json", "html"],
        meaning: "a refused token request is answered after RFC 6749, or with an error page",
    },
    Switch {
        name: "oauth-refresh-redirect",
        values: &["checked", "ignored"],
        meaning: "a refresh must name the redirect URI of the grant, or need not",
    },
    Switch {
        name: "oauth-https",
        values: &["off", "required"],
        meaning: "HTTPS for the base URL and redirect URIs; the product requires it, tests on loopback have none",
    },
    Switch {
        name: "oauth-revoke",
        values: &["absent", "present"],
        meaning: "POST /rest/oauth2/latest/revoke after RFC 7009",
    },
    Switch {
        name: "oauth-code-reuse",
        values: &["refused", "revokes"],
        meaning: "a code used twice is refused, or costs the tokens it brought as well",
    },
    Switch {
        name: "oauth-inactive-refresh",
        values: &["refused", "answered"],
        meaning: "the refresh of a user who is not active",
    },
    Switch {
        name: "service-account-paths",
        values: &["api-2", "any"],
        meaning: "what an OAuth token of a service account reaches: /rest/api/2/ only, or everything",
    },
];

fn switch_help() -> String {
    let mut text = String::from(
        "People: admin, alice, bob, carol, mallory, and svc-outhaul; each password is the name and “-password”.\n\n\
         Switches (the first value is the default):\n",
    );
    for switch in SWITCHES {
        text.push_str("  ");
        text.push_str(switch.name);
        text.push('=');
        text.push_str(&switch.values.join("|"));
        text.push_str("\n      ");
        text.push_str(switch.meaning);
        text.push('\n');
    }
    text
}

/// Finds a switch and its value as they stand in the table.
pub(crate) fn switch(name: &str, value: &str) -> Result<(&'static str, &'static str), String> {
    let known = SWITCHES.iter().find(|known| known.name == name);
    let known = known.ok_or_else(|| format!("no switch is named “{name}”; --help lists them"))?;
    let found = known.values.iter().find(|one| **one == value);
    let found = found.ok_or_else(|| format!("switch {name} takes one of: {}", known.values.join(", ")))?;
    Ok((known.name, found))
}

impl Options {
    /// Fills [`Options::set`] from defaults and the command line.
    pub(crate) fn checked(mut self) -> Result<Self, String> {
        for known in SWITCHES {
            self.set.insert(known.name, known.values.first().copied().unwrap_or_default());
        }
        for text in &self.switches {
            let (name, value) =
                text.split_once('=').ok_or_else(|| format!("“{text}” is not of the form name=value"))?;
            let (name, value) = switch(name, value)?;
            self.set.insert(name, value);
        }
        if self.pats.iter().any(|text| !text.contains('=')) {
            return Err("--pat takes user=token".to_owned());
        }
        for text in &self.oauth_clients {
            Client::parse(text).map_err(|fault| format!("--oauth-client: {fault}"))?;
        }
        Ok(self)
    }
}
