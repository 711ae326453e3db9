//! What lies in the demo's folder: certificates and both configurations.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::jira::Jira;
use crate::settings::Settings;
use crate::{Outcome, people, words};

/// The site's name.
pub(crate) const SITE: &str = "demo";
/// Sites are names below it; all of `.localhost` means this machine.
pub(crate) const ZONE: &str = "outhaul.localhost";

/// Names in it pass the relay unopened.
pub(crate) const DIRECT_ZONE: &str = "direct.outhaul.localhost";
/// A name of the customer's own that does.
pub(crate) const CUSTOMER_NAME: &str = "jira.customer.localhost";

/// Files and ports.
pub(crate) struct Files {
    pub(crate) ca: PathBuf,
    pub(crate) relay_config: PathBuf,
    pub(crate) agent_config: PathBuf,
    pub(crate) relay_state: PathBuf,
    pub(crate) agent_state: PathBuf,
    pub(crate) port: u16,
    pub(crate) operator_port: u16,
    pub(crate) pages_port: u16,
}

/// Writes them all.
pub(crate) fn write(folder: &Path, settings: &Settings, jira: &Jira, pages_port: u16) -> Outcome<Files> {
    let files = Files {
        ca: folder.join("ca.pem"),
        relay_config: folder.join("relay.toml"),
        agent_config: folder.join("agent.toml"),
        relay_state: folder.join("relay-state"),
        agent_state: folder.join("agent-state"),
        port: free_port()?,
        operator_port: free_port()?,
        pages_port,
    };
    certificates(folder, &files.ca)?;
    private(&folder.join("oauth.secret"), "demo-secret\n")?;
    private(&folder.join("jira.pat"), &format!("{}\n", jira.pat))?;
    plain(&files.relay_config, &relay_config(folder, &files))?;
    plain(&files.agent_config, &agent_config(folder, &files, settings, jira))?;
    Ok(files)
}

/// An authority of the demo's own; the relay's certificate: the zone, all sites below it, and loopback; and the agent's,
/// for the names that pass the relay unopened.
fn certificates(folder: &Path, ca: &Path) -> Outcome<()> {
    let mut params = CertificateParams::new(Vec::new()).map_err(words)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "Outhaul demo authority");
    let key = KeyPair::generate().map_err(words)?;
    plain(ca, &params.self_signed(&key).map_err(words)?.pem())?;
    let issuer = Issuer::new(params, key);
    let hosts = [ZONE.to_owned(), format!("*.{ZONE}"), "localhost".to_owned(), "127.0.0.1".to_owned()];
    issue(folder, &issuer, "relay", &hosts)?;
    issue(folder, &issuer, "direct", &[format!("{SITE}.{DIRECT_ZONE}"), CUSTOMER_NAME.to_owned()])
}

fn issue(folder: &Path, issuer: &Issuer<'_, KeyPair>, name: &str, hosts: &[String]) -> Outcome<()> {
    let mut leaf = CertificateParams::new(hosts.to_vec()).map_err(words)?;
    leaf.distinguished_name.push(DnType::CommonName, format!("Outhaul demo {name}"));
    let key = KeyPair::generate().map_err(words)?;
    let certificate = leaf.signed_by(&key, issuer).map_err(words)?;
    plain(&folder.join(format!("{name}.pem")), &certificate.pem())?;
    private(&folder.join(format!("{name}.key")), &key.serialize_pem())
}

fn relay_config(folder: &Path, files: &Files) -> String {
    let at = folder.display();
    format!(
        r#"[server]
listen = "127.0.0.1:{port}"
certificate = "{at}/relay.pem"
private-key = "{at}/relay.key"
zone = "{ZONE}"
public-url = "wss://localhost:{port}"

[pass-through]
zone = "{DIRECT_ZONE}"

[operator]
listen = "127.0.0.1:{operator}"

[admin]
socket = "{at}/relay.sock"

[state]
directory = "{state}"
"#,
        port = files.port,
        operator = files.operator_port,
        state = files.relay_state.display(),
    )
}

/// Paths below `/rest/api/2`, with the methods a client library needs there.
const RULES: &[(&str, &str)] = &[
    ("GET /rest/api/2/*", "Reading"),
    ("GET /rest/api/2/issue/**", "Reading issues and what hangs on them"),
    ("GET /rest/api/2/project/**", "Reading projects"),
    ("GET|DELETE /rest/api/2/attachment/*", "Reading and deleting attachments"),
    ("GET /rest/api/2/user/search", "Finding people"),
    ("GET /rest/api/2/user/assignable/search", "Finding people"),
    ("GET /secure/attachment/*/*", "Fetching attached files"),
    ("POST /rest/api/2/search", "Searching"),
    ("POST /rest/api/2/issue", "Creating issues"),
    ("PUT|DELETE /rest/api/2/issue/*", "Editing and deleting issues"),
    ("PUT /rest/api/2/issue/*/assignee", "Assigning"),
    ("PUT /rest/api/latest/issue/*/assignee", "Assigning, as one client library spells it"),
    ("POST /rest/api/2/issue/*/comment", "Commenting"),
    ("PUT|DELETE /rest/api/2/issue/*/comment/*", "Editing comments"),
    ("POST /rest/api/2/issue/*/transitions", "Moving issues on"),
    ("POST|DELETE /rest/api/2/issue/*/watchers", "Watching"),
    ("POST /rest/api/2/issue/*/worklog", "Logging work"),
    ("POST /rest/api/2/issue/*/remotelink", "Linking issues to what they are about elsewhere"),
    ("GET|POST /rest/servicedeskapi/request", "Raising requests at the service desk"),
    ("GET /rest/servicedeskapi/**", "Reading requests, and what can be requested"),
    ("POST /rest/servicedeskapi/request/*/comment", "Answering requests"),
    ("POST /rest/servicedeskapi/request/*/transition", "Moving requests on"),
    ("POST|DELETE /rest/servicedeskapi/request/*/participant", "Letting others take part in requests"),
    ("POST /rest/servicedeskapi/request/*/attachment", "Attaching files to requests"),
    ("POST /rest/servicedeskapi/request/*/approval/*", "Approving requests"),
    ("POST /rest/servicedeskapi/servicedesk/*/attachTemporaryFile", "Attaching files to requests"),
];

fn agent_config(folder: &Path, files: &Files, settings: &Settings, jira: &Jira) -> String {
    let at = folder.display();
    let jira_ca = settings
        .jira_ca
        .as_ref()
        .map_or_else(String::new, |path| format!("ca-file = \"{}\"\n", path.display()));
    let mut text = format!(
        r#"[relay]
url = "wss://localhost:{port}"
ca-file = "{ca}"

[state]
directory = "{state}"

[store]
key = {{ file = "{at}/store.key" }}

[admin]
socket = "{at}/agent.sock"

[pass-through]
customer-names = ["{CUSTOMER_NAME}"]
operator-names = ["{SITE}.{DIRECT_ZONE}"]
certificate = "{at}/direct.pem"
private-key = "{at}/direct.key"

[upstream.jira]
url = "{url}"
base-url = "{base}"
{jira_ca}max-request-body = "110 MB"

[service.reader]
user = "{user}"
pat = {{ file = "{at}/jira.pat" }}

[caller.demo]
rewrite-links = true
"#,
        port = files.port,
        ca = files.ca.display(),
        state = files.agent_state.display(),
        url = jira.url,
        base = jira.base_url,
        user = jira.user,
    );
    if jira.alice.is_some() {
        text.push_str(&people::config(folder, files.pages_port));
    }
    let mut rule = |allow: &str, why: &str, further: &str| {
        text.push_str(&format!(
            "\n[[policy.rule]]\nallow = \"{allow}\"\nwhy = \"{why}\"\nupstream = \"jira\"\n\
             as = {{ service = \"reader\" }}\n{further}"
        ));
    };
    for (allow, why) in RULES {
        rule(allow, why, "");
    }
    rule("POST /rest/api/2/issue/*/attachments", "Attaching files", "max-body = \"105 MB\"\n");
    if let Some((name, url)) = &settings.upstream {
        text.push_str(&format!(
            "\n[upstream.{name}]\nurl = \"{url}\"\nbase-url = \"{url}\"\nidentity-header = \"none\"\n\n\
             [[policy.rule]]\nallow = \"GET|HEAD|POST|PUT|PATCH|DELETE /**\"\nwhy = \"A further upstream, open to the demo\"\n\
             upstream = \"{name}\"\ncaller = [\"demo\"]\nas = \"anonymous\"\n"
        ));
    }
    text
}

fn plain(path: &Path, text: &str) -> Outcome<()> {
    std::fs::write(path, text).map_err(|fault| format!("{}: {fault}", path.display()))
}

fn private(path: &Path, text: &str) -> Outcome<()> {
    let whole = std::fs::write(path, text)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)));
    whole.map_err(|fault| format!("{}: {fault}", path.display()))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Outcome<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(words)?;
    listener.local_addr().map(|address| address.port()).map_err(words)
}
