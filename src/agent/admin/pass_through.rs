//! What `status` says of names whose callers' TLS ends here.

use serde::{Deserialize, Serialize};

/// The names, and who calls by them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PassThroughStatus {
    /// Each name.
    pub names: Vec<NameStatus>,
    /// Connections open now.
    pub connections: u64,
}

/// About one name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NameStatus {
    /// The name.
    pub name: String,
    /// `customer` or `operator`.
    pub level: String,
    /// When its certificate ends, RFC 3339; nothing while there is none.
    pub certificate_ends: Option<String>,
    /// Whether that is over, or will be within ten days.
    pub certificate_ends_soon: bool,
}

impl PassThroughStatus {
    /// For people: nothing where there are no names.
    pub fn lines(&self) -> Vec<String> {
        if self.names.is_empty() {
            return Vec::new();
        }
        let name = |name: &NameStatus| {
            let certificate = match &name.certificate_ends {
                Some(ends) if name.certificate_ends_soon => {
                    format!("CERTIFICATE ENDS {ends}: have it renewed")
                }
                Some(ends) => format!("certificate until {ends}"),
                None => "NO CERTIFICATE yet".to_owned(),
            };
            format!("  {}  {}'s name, {certificate}", name.name, name.level)
        };
        let head = format!("\nPass-through, {} connections", self.connections);
        std::iter::once(head).chain(self.names.iter().map(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_with_the_end_of_their_certificates() {
        assert!(PassThroughStatus::default().lines().is_empty());
        let name = |name: &str, ends: Option<&str>, soon| NameStatus {
            name: name.to_owned(),
            level: "customer".to_owned(),
            certificate_ends: ends.map(str::to_owned),
            certificate_ends_soon: soon,
        };
        let names = vec![
            name("a.example", Some("2027"), false),
            name("b.example", Some("2026"), true),
            name("c.example", None, false),
        ];
        let lines = PassThroughStatus { names, connections: 3 }.lines();
        assert_eq!(
            lines,
            [
                "\nPass-through, 3 connections",
                "  a.example  customer's name, certificate until 2027",
                "  b.example  customer's name, CERTIFICATE ENDS 2026: have it renewed",
                "  c.example  customer's name, NO CERTIFICATE yet",
            ]
        );
    }
}
