//! The definition of the `policy` commands.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Looking at the policy.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Tell which rule decides a call, which rules came near, and what would be sent and seen.
    Explain(Explain),
    /// List the rules in the order in which they are tried.
    List,
    /// Check the policy against a table of calls that it must allow or refuse.
    ///
    /// The file is TOML, one [[expect]] table for each call; docs/admin/policy.md says which keys there are. Prints
    /// one line for each call that is decided otherwise. Exit status: 0 if all hold, 1 if not.
    Test(Test),
    /// Tell which recorded calls two configuration files decide differently.
    ///
    /// Prints one line for each call that would be refused and was allowed, the other way round, or allowed as
    /// another identity or by another rule. Exit status: 0 if nothing changes, 1 if something does.
    Diff(Diff),
    /// Propose rules for what the running agent has refused.
    ///
    /// Shows the refused calls by caller and shape of path, and for each a rule to paste, or why there is none. Only
    /// you can say whether a call should pass, so the reason is left for you to write.
    Suggest(Suggest),
}

/// A call to explain.
#[derive(Debug, Args)]
pub struct Explain {
    /// The method, such as GET.
    pub method: String,
    /// The path within the application, such as /rest/api/2/issue/TEST-1; or as the caller writes it, such as
    /// /jira/rest/api/2/issue/TEST-1; or the whole URL. With or without a query.
    pub path: String,
    /// As which caller. Without it: as a caller that no rule names.
    #[arg(long, value_name = "NAME")]
    pub caller: Option<String>,
    /// For which person, as the caller names them in Outhaul-Act-As.
    #[arg(long = "as", value_name = "PROVIDER:SUBJECT")]
    pub person: Option<String>,
    /// The body the call would have, from a file; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// A header field the call would have, as 'Name: value'; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "FIELD")]
    pub headers: Vec<String>,
    /// What is proved about the call beside the caller's key; may be given several times.
    #[arg(long = "proof", value_name = "PROOF")]
    pub proofs: Vec<Proof>,
    /// To which application; the path is then one within it. Needed only if the site has several.
    #[arg(long, value_name = "NAME")]
    pub upstream: Option<String>,
}

/// What may be proved about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Proof {
    /// The caller signed it.
    Signed,
    /// The caller's TLS ends at the agent, under a name of the site's own.
    PassThrough,
    /// The caller's TLS ends at the agent, under a name of the operator's.
    PassThroughOperatorName,
    /// A token of a trusted issuer names the person.
    Person,
}

/// What to check.
#[derive(Debug, Args)]
pub struct Test {
    /// The table of expectations.
    pub file: PathBuf,
}

/// What to compare.
#[derive(Debug, Args)]
pub struct Diff {
    /// The configuration as it is.
    pub old: PathBuf,
    /// The configuration as it would be.
    pub new: PathBuf,
    /// The recorded calls: on each line METHOD PATH [CALLER], or a JSON object with method, path and, if wanted,
    /// caller, upstream, as, content_type, body and proof.
    #[arg(long, value_name = "FILE")]
    pub calls: PathBuf,
}

/// What to propose.
#[derive(Debug, Args)]
pub struct Suggest {
    /// Only for this caller.
    #[arg(long, value_name = "NAME")]
    pub caller: Option<String>,
}
