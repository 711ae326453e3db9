//! Checks `relay: …`: the way to the relay step by step, as the tunnels take it, up to where an agent would join.

use std::time::Duration;

use http::header::DATE;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::finding::{sentence, shown};
use super::{Context, Finding, Level, inspection};
use crate::agent::config;
use crate::agent::connection::look;
use crate::agent::connection::open::{Opener, Secured};
use crate::net::dial::{DialFault, Proxy, Target, resolve};
use crate::net::websocket;
use crate::tunnel::code::CloseCode;

const NAME: &str = "relay: name";
const PROXY: &str = "relay: proxy";
const TCP: &str = "relay: TCP";
const TLS: &str = "relay: TLS";
const WEBSOCKET: &str = "relay: WebSocket";

/// Ends with the first step that fails: those behind it can't be tried.
pub(super) async fn check(context: &Context) -> Vec<Finding> {
    let mut findings = Vec::new();
    steps(context, &mut findings).await;
    findings
}

/// `None` ends it; why is among the findings then.
async fn steps(context: &Context, findings: &mut Vec<Finding>) -> Option<()> {
    let config = match &context.relay {
        Ok(config) => config,
        Err(report) => {
            findings.push(Finding::reported(PROXY, report, "Correct proxy-credentials in [relay]."));
            return None;
        }
    };
    let opener = match Opener::new(config) {
        Ok(opener) => opener,
        Err(fault) => {
            findings.push(Finding::failure(TLS, sentence(&fault), "Correct ca-file in [relay]."));
            return None;
        }
    };
    let target = Target { host: config.url.host.clone(), port: config.url.port };
    findings.extend(environment(context));
    let proxy = config.proxy.as_ref();
    if let Some(exempting) = proxy.filter(|proxy| proxy.exempts(&target)) {
        let text = format!("{target} is reached without {}: no-proxy says so", exempting.address);
        findings.push(Finding::note(PROXY, text));
    }
    let proxy = proxy.filter(|proxy| !proxy.exempts(&target));
    if proxy.is_none() {
        let named = name(&target).await;
        let known = named.level != Level::Failure;
        findings.push(named);
        if !known {
            return None;
        }
    }
    let stream = match opener.reach().await {
        Ok(stream) => stream,
        Err(fault) => {
            findings.push(unreached(&fault, proxy, &target));
            return None;
        }
    };
    findings.push(match proxy {
        Some(proxy) => Finding::ok(PROXY, format!("{} connects to {target}", proxy.address)),
        None => Finding::ok(TCP, format!("{target} takes connections; no proxy is on the way")),
    });
    let stream = match opener.secure(stream).await {
        Ok(stream) => stream,
        Err(fault) => {
            let action = format!(
                "Do what the text says; `openssl s_client -connect {target} -servername {}` shows the certificate \
                 that comes. Behind a proxy that inspects TLS, have the relay's host exempted, or name the proxy's \
                 authority with ca-file in [relay].",
                config.url.host
            );
            findings.push(Finding::failure(TLS, sentence(&fault), action));
            return None;
        }
    };
    findings.push(tls(context, &stream));
    match opener.upgrade(stream).await {
        Ok((mut socket, fields)) => {
            context.saw_time("the relay", fields.get(DATE));
            findings.push(Finding::ok(WEBSOCKET, "it takes agents"));
            let looked = look(&mut socket).await;
            findings.push(inspection::judge(context, &looked));
            websocket::close(&mut socket, CloseCode::Stopping, PARTING).await;
            Some(())
        }
        Err(fault) => {
            let action = "Do what the text says; if nothing stands between, ask the relay's operator.";
            findings.push(Finding::failure(WEBSOCKET, sentence(&fault), action));
            None
        }
    }
}

/// A proxy of the environment that does not count is what people wonder at.
fn environment(context: &Context) -> Option<Finding> {
    let asked = context.config.relay.proxy.as_ref().map(|proxy| &proxy.place);
    let counts = asked == Some(&config::Place::Environment);
    let set = config::Proxy::in_environment();
    let text = match (counts, set) {
        (false, Some(name)) => format!(
            "{name} is set in this environment and does not count: [relay] does (proxy = \"environment\" would make \
             it)"
        ),
        (true, None) => {
            "proxy is \"environment\", and this environment names none: the way goes without one. The \
                         service has an environment of its own"
                .to_owned()
        }
        _ => return None,
    };
    Some(Finding::note(PROXY, text))
}

async fn name(target: &Target) -> Finding {
    match resolve(target, LOOKUP).await {
        Ok(addresses) => {
            let shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            Finding::ok(NAME, format!("{} is {}", target.host, shown.join(", ")))
        }
        Err(fault) => {
            let action = format!(
                "Check url in [relay], and this machine's DNS (`getent ahosts {}`). Where only the proxy knows \
                 outside names, set proxy in [relay].",
                target.host
            );
            Finding::failure(NAME, sentence(&fault), action)
        }
    }
}

fn unreached(fault: &DialFault, proxy: Option<&Proxy>, target: &Target) -> Finding {
    let (check, action) = if let Some(proxy) = proxy {
        let seen = format!("whoever runs the proxy {} sees the attempt in its log as", proxy.address);
        (PROXY, format!("Do what the text says; {seen} CONNECT {target}."))
    } else {
        let open = format!("Have the firewall let this machine out to {target}");
        (TCP, format!("{open}; where the way out is a proxy, set proxy in [relay]."))
    };
    Finding::failure(check, sentence(fault), action)
}

/// Who vouches for the relay, and for how long.
fn tls(context: &Context, stream: &Secured) -> Finding {
    let connection = stream.get_ref().1;
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3".to_owned(),
        Some(other) => format!("{other:?}"),
        None => "TLS".to_owned(),
    };
    let shown = connection.peer_certificates().and_then(|chain| chain.first()).and_then(read);
    let Some(Shown { issuer, ends }) = shown else {
        return Finding::note(TLS, format!("{version}; the certificate is trusted, but can't be shown"));
    };
    let ends_at = jiff::Timestamp::from_second(ends).map_or_else(|_| "?".to_owned(), |end| end.to_string());
    let text = format!("{version}; the certificate is of {issuer} and valid until {ends_at}");
    let left = ends.saturating_sub(context.clock.unix_seconds().cast_signed());
    if left < SOON {
        let action = "Tell the relay's operator: agents can't connect once it has ended.";
        return Finding::warning(TLS, text, action);
    }
    Finding::ok(TLS, text)
}

struct Shown {
    issuer: String,
    /// Seconds since 1970.
    ends: i64,
}

fn read(certificate: &CertificateDer<'_>) -> Option<Shown> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let issuer = shown(&certificate.issuer().to_string());
    Some(Shown { issuer: format!("“{issuer}”"), ends: certificate.validity().not_after.timestamp() })
}

/// A name that takes longer is as good as unknown.
const LOOKUP: Duration = Duration::from_secs(10);
const PARTING: Duration = Duration::from_secs(1);
/// A certificate that ends within so many seconds should have been renewed: three days.
const SOON: i64 = 3 * 24 * 3600;
