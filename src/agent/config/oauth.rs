//! `[upstream.NAME.oauth]`.

use crate::agent::credentials::tokens::TOKEN_PATH;
use crate::agent::links;
use crate::agent::mapping::OAuthConfig;
use crate::config::diagnose::Located;
use crate::config::table::Table;
use crate::config::values::HttpBase;

/// The table, if the upstream has one. With pages the redirect URL is theirs.
pub(super) fn oauth(upstream: &mut Table<'_>, pages: Option<&links::Config>) -> Option<OAuthConfig> {
    let mut table = upstream.optional_table("oauth")?;
    let source = table.source();
    let client_id: Option<Located<String>> =
        table.required("client-id", "\"as Jira shows it for the application link\"");
    let client_secret = table.required("client-secret", "{ file = \"/etc/outhaul/jira-oauth-secret\" }");
    let scope = read_scope(&mut table, "scope");
    let redirect: Option<Located<String>> = match pages {
        None => table.required("redirect-url", "\"https://outhaul.corp.example/link/callback\""),
        Some(_) => table.optional("redirect-url"),
    };
    if let (Some(Located { value, at }), Some(pages)) = (&redirect, pages)
        && *value != pages.callback()
    {
        let help = format!("write \"{}\" here and at Jira, or leave it out", pages.callback());
        source.fault(*at, "the redirect URL leads elsewhere than to the [pages] of this agent", help);
    }
    let authorize_path = path(&mut table, "authorize-path", OAuthConfig::AUTHORIZE_PATH);
    let token_path = path(&mut table, "token-path", TOKEN_PATH);
    let revoke_path = table.has("revoke-path").then(|| path(&mut table, "revoke-path", ""));
    if let Some(Located { value, at }) = &client_id
        && !is_visible(value)
    {
        source.fault(*at, "this can't be a client id", "write it as Jira shows it for the application link");
    }
    if let Some(Located { value, at }) = &redirect {
        match value.parse::<HttpBase>() {
            Err(fault) => {
                source.fault(
                    *at,
                    fault.to_string(),
                    "write it as it is registered at Jira, letter by letter",
                );
            }
            Ok(url) if !url.is_tls() && !is_loopback(&url.host) => {
                let help = "write https://…: the person's browser brings the code there";
                source.fault(*at, "the redirect URL is not HTTPS, and Jira takes no other", help);
            }
            Ok(_) => {}
        }
    }
    Some(OAuthConfig {
        client_id: client_id?.value,
        client_secret: client_secret?,
        scope,
        redirect_url: redirect
            .map(|redirect| redirect.value)
            .or_else(|| pages.map(links::Config::callback))?,
        authorize_path,
        token_path,
        revoke_path,
    })
}

/// Names separated by single spaces (RFC 6749, section 3.3).
pub(super) fn read_scope(table: &mut Table<'_>, key: &'static str) -> String {
    let Some(Located { value, at }) = table.optional::<Located<String>>(key) else {
        return OAuthConfig::SCOPE.to_owned();
    };
    if value.is_empty() || value.len() > 200 || !value.split(' ').all(is_visible) {
        table.source().fault(at, "this is no scope", "write names such as \"READ WRITE\"");
    }
    value
}

fn path(table: &mut Table<'_>, key: &'static str, usual: &str) -> String {
    let Some(Located { value, at }) = table.optional::<Located<String>>(key) else { return usual.to_owned() };
    if !value.starts_with('/') || !is_visible(&value) || value.contains(['?', '#']) {
        let help = "write what follows the base URL, such as \"/rest/oauth2/latest/token\"";
        table.source().fault(at, format!("“{value}” is no path"), help);
    }
    value
}

pub(super) fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1000 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
