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
pub const ALL: &[Profile] = &[];

/// The one of this name.
pub fn find(name: &str) -> Option<&'static Profile> {
    ALL.iter().find(|profile| profile.name == name)
}
