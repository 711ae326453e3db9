//! `enrol`: takes the token in, checks that it is meant for this agent's relay, and makes first contact.

use std::path::Path;

use super::Enrol;
use crate::common::report::{Exit, Report};
use crate::common::secret::Secret;
use crate::config::values::WssUrl;
use crate::identity::token::EnrolmentToken;
use crate::terminal;

/// The token: as given, from a file, or asked for.
pub fn token(arguments: &Enrol) -> Result<EnrolmentToken, Report> {
    let text = match (&arguments.token, &arguments.token_file) {
        (Some(token), _) => Secret::new(token.clone()),
        (None, Some(file)) if file != Path::new("-") => from_file(file)?,
        _ => terminal::read_line("Enrolment token").map(Secret::new).map_err(|error| {
            Report::from_error(Exit::Usage, &error)
                .with_remedy("Paste the token that the relay's operator gave you; it begins with oht_.")
        })?,
    };
    text.expose().parse().map_err(|error| Report::from_error(Exit::Data, &error))
}

/// Where to enrol: the address in the token, which must be the one in the configuration, and the one on the
/// command line where there is one. An agent that believed only the token could be enrolled anywhere by whoever
/// can hand an administrator a line of text.
pub fn relay(arguments: &Enrol, token: &EnrolmentToken, configured: &WssUrl) -> Result<(), Report> {
    let meant: WssUrl = token.url.parse().map_err(|error| {
        Report::new(Exit::Data, format!("the token names no relay that can be: {error}")).with_remedy(
            "Ask the relay's operator for a new token, and tell them: `public-url` may be wrong there.",
        )
    })?;
    if let Some(given) = &arguments.relay {
        let given: WssUrl = given.parse().map_err(|error| {
            Report::new(Exit::Usage, format!("--relay {given} is no relay's address: {error}"))
        })?;
        if given != meant {
            let text = format!("the token is for {meant}, but --relay says {given}");
            return Err(Report::new(Exit::Data, text).with_remedy(
                "Use the address that came with the token, or get a token from the other relay's operator.",
            ));
        }
    }
    if *configured != meant {
        let text =
            format!("the token is for {meant}, but the configuration says url = \"{configured}\" in [relay]");
        return Err(Report::new(Exit::Config, text).with_remedy(
            "If the token's address is the right one, write it into the configuration and enrol again.",
        ));
    }
    Ok(())
}

fn from_file(file: &Path) -> Result<Secret<String>, Report> {
    crate::config::file::read_text(file, "token file", MAX_TOKEN).map(Secret::new)
}

const MAX_TOKEN: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::encoded::Encoded;
    use crate::identity::token::EnrolmentSecret;

    fn token_for(url: &str) -> EnrolmentToken {
        EnrolmentToken {
            url: url.to_owned(),
            site: "acme".parse().unwrap(),
            relay: Encoded([7; 32]),
            secret: EnrolmentSecret::generate().unwrap(),
        }
    }

    fn arguments(relay: Option<&str>) -> Enrol {
        Enrol { relay: relay.map(str::to_owned), token: None, token_file: None, replace: false }
    }

    #[test]
    fn token_configuration_and_command_line_must_agree() {
        let configured = "wss://relay.example.com".parse().unwrap();
        let other = "wss://evil.example.com";
        let good = "wss://RELAY.example.com:443/";
        relay(&arguments(None), &token_for(good), &configured).unwrap();
        relay(&arguments(Some(good)), &token_for("wss://relay.example.com"), &configured).unwrap();
        let exit =
            |given, token: &str| relay(&arguments(given), &token_for(token), &configured).unwrap_err().exit();
        assert_eq!(exit(Some(other), good), Exit::Data);
        assert_eq!(exit(Some(other), other), Exit::Config);
        assert_eq!(exit(None, other), Exit::Config);
        assert_eq!(exit(Some("https://relay.example.com"), good), Exit::Usage);
        assert_eq!(exit(None, "ws://relay.example.com"), Exit::Data);
    }

    #[test]
    fn a_token_comes_from_a_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, format!("{}\n", token_for("wss://a.example").to_secret_text().expose()))
            .unwrap();
        let mut given = arguments(None);
        given.token_file = Some(file.clone());
        assert_eq!(token(&given).unwrap().url, "wss://a.example");
        std::fs::write(&file, "oht_x").unwrap();
        assert_eq!(token(&given).unwrap_err().exit(), Exit::Data);
    }
}
