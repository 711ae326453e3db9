//! The profiles: named sets of rules that are shipped, as TOML like the configuration's own. `agent::config` reads
//! them, with the same reader as the rules of a site.

/// A profile's text.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// Its name in `profiles = [ … ]`.
    pub name: &'static str,
    /// Its rules.
    pub text: &'static str,
    /// Whether it is for calls; else for the agent's own provisioning, and never for a caller.
    pub for_callers: bool,
}

/// The shipped ones.
pub const ALL: &[Profile] = &[
    profile("jira-read", include_str!("profiles/jira-read.toml")),
    profile("jira-teams", include_str!("profiles/jira-teams.toml")),
    profile("confluence-read", include_str!("profiles/confluence-read.toml")),
    profile("bitbucket-read", include_str!("profiles/bitbucket-read.toml")),
    profile("bamboo-read", include_str!("profiles/bamboo-read.toml")),
    Profile {
        name: "jira-provisioning",
        text: include_str!("profiles/jira-provisioning.toml"),
        for_callers: false,
    },
];

const fn profile(name: &'static str, text: &'static str) -> Profile {
    Profile { name, text, for_callers: true }
}

/// The one of this name.
pub fn find(name: &str) -> Option<&'static Profile> {
    ALL.iter().find(|profile| profile.name == name)
}
