//! Proxies that others wrote, and that judge our logins: Debian's squid with its own helpers, MIT Kerberos behind it, and
//! a proxy that believes pyspnego. Run by the part `proxies` of `make test`, which installs them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use http::StatusCode;

use crate::support::pki::write_private;
use crate::support::process::{Daemon, text};
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World, host};
use crate::support::{eventually, free_port};

/// Has the site's way lead through a proxy; `more` are further lines of `[relay]`.
fn through(world: &World, proxy: &str, pair: Option<&str>, more: &str) {
    let login = pair.map_or_else(String::new, |pair| {
        format!("proxy-credentials = {{ file = \"{}\" }}\n", text(&credentials(world, pair)))
    });
    let lines = format!("proxy = \"{proxy}\"\n{more}\n{login}");
    world.edit_agent("ca-file", &format!("{lines}ca-file"));
}

fn credentials(world: &World, pair: &str) -> PathBuf {
    let file = world.path().join("proxy.pair");
    write_private(&file, pair);
    file
}

/// Enrols, connects and calls, and then shows that another password is refused in a sentence.
async fn in_and_out(world: World, wrong: Option<&str>) -> World {
    let site = Running::start(world).await;
    let answer = site.client.get(&host(), "/jira/rest/api/2/issue/A-1").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{}", site.agent.log());
    if let Some(wrong) = wrong {
        credentials(&site.world, wrong);
        let found = site.world.agent(&["doctor"]).await;
        assert_eq!(found.code, 1, "{found:?}");
        assert!(found.out.contains("FAILED   relay: proxy"), "{}", found.out);
        assert!(!found.out.contains("wrong-password"), "{}", found.out);
        let known = ["does not accept the user name and password", "needs a Kerberos ticket"];
        assert!(known.iter().any(|known| found.out.contains(known)), "{}", found.out);
    }
    let Running { world, .. } = site;
    world
}

/// Debian's squid as CONNECT proxy; `login` are its lines about who may.
struct Squid {
    folder: tempfile::TempDir,
    port: u16,
    _daemon: Daemon,
}

impl Squid {
    async fn start(login: impl FnOnce(&Path) -> String, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = text(folder.path());
        // It drops its rights to a user of its own.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let port = free_port();
        let who = login(folder.path());
        let config = format!(
            "http_port 127.0.0.1:{port}\n{who}\nhttp_access deny all\nvisible_hostname localhost\n\
             pid_filename {at}/squid.pid\ncache_log {at}/cache.log\naccess_log stdio:{at}/access.log\n\
             coredump_dir {at}\ncache deny all\nnetdb_filename none\npinger_enable off\n\
             shutdown_lifetime 0 seconds\nauthenticate_ttl 1 seconds\n"
        );
        let file = folder.path().join("squid.conf");
        std::fs::write(&file, config).unwrap();
        let name = format!("outhaul{port}");
        let set: Vec<String> = environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut arguments: Vec<&str> = set.iter().map(String::as_str).collect();
        arguments.extend(["/usr/sbin/squid", "-N", "-n", &name, "-d", "1", "-f", text(&file)]);
        let mut daemon = Daemon::start("env", &arguments);
        daemon.line("Accepting HTTP Socket connections").await;
        Self { folder, port, _daemon: daemon }
    }

    fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Its log of a connection is written when that ends.
    async fn logged(&self, what: &str) {
        let log = self.folder.path().join("access.log");
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        eventually(&format!("{what} in squid's log"), Duration::from_secs(30), async || {
            read().lines().any(|line| line.contains("TCP_TUNNEL/200") && line.contains(what))
        })
        .await;
    }
}

const KNOWN: &str = "acl known proxy_auth REQUIRED\nhttp_access allow known";

#[tokio::test]
#[ignore = "needs squid: ONLY=proxies make test"]
async fn squid_without_a_login() {
    let squid = Squid::start(|_| "http_access allow all".to_owned(), &[]).await;
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let relay = format!("CONNECT localhost:{}", world.port);
    through(&world, &squid.url(), None, "");
    in_and_out(world, None).await;
    squid.logged(&relay).await;
}

#[tokio::test]
#[ignore = "needs squid: ONLY=proxies make test"]
async fn squid_with_basic() {
    let login = |at: &Path| {
        let file = at.join("passwd");
        let made = Command::new("openssl").args(["passwd", "-apr1", "secret"]).output().unwrap();
        let hash = String::from_utf8(made.stdout).unwrap();
        std::fs::write(&file, format!("svc:{hash}")).unwrap();
        format!(
            "auth_param basic program /usr/lib/squid/basic_ncsa_auth {}\nauth_param basic children 1\n{KNOWN}",
            text(&file)
        )
    };
    let squid = Squid::start(login, &[]).await;
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    through(&world, &squid.url(), Some("svc:secret"), "");
    in_and_out(world, Some("svc:wrong-password")).await;
    squid.logged(" svc ").await;
}

/// The helper believes any password; what squid judges is the conversation on one connection.
#[tokio::test]
#[ignore = "needs squid: ONLY=proxies make test"]
async fn squid_with_ntlm() {
    let login = |_: &Path| {
        format!("auth_param ntlm program /usr/lib/squid/ntlm_fake_auth\nauth_param ntlm children 5\n{KNOWN}")
    };
    let squid = Squid::start(login, &[]).await;
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    through(&world, &squid.url(), Some("CORP\\svc:secret"), "proxy-login = \"ntlm\"");
    in_and_out(world, None).await;
    squid.logged("svc ").await;
}

/// The proxy that believes pyspnego, with NTLM's accounts in a file.
async fn judge(world: &World, arguments: &[&str]) -> (Daemon, u16) {
    let accounts = world.path().join("accounts");
    std::fs::write(&accounts, "CORP:svc:s\u{e4}cret\n").unwrap();
    let python =
        std::env::var_os("OUTHAUL_JUDGE_PYTHON").expect("OUTHAUL_JUDGE_PYTHON names a Python with pyspnego");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proxies/judge.py");
    let set = format!("NTLM_USER_FILE={}", text(&accounts));
    let mut all = vec![set.as_str(), python.to_str().unwrap(), text(&script), "ntlm"];
    all.extend(arguments);
    let mut daemon = Daemon::start("env", &all);
    let line = daemon.line("listening ").await;
    let port = line.rsplit(' ').next().unwrap().parse().unwrap();
    (daemon, port)
}

#[tokio::test]
#[ignore = "needs pyspnego: ONLY=proxies make test"]
async fn an_independent_library_accepts_our_ntlm_and_refuses_a_wrong_password() {
    let upstream = Upstream::start().await;
    for (arguments, tls) in [
        (&["--body", "length"][..], false),
        (&["--body", "chunked", "--ask-first"], false),
        (&["--body", "none"], true),
    ] {
        let world = World::new(&upstream.url());
        let (chain, key) = world.authority.issue("proxy", &["localhost"]);
        let certificate = ["--certificate", text(&chain), "--key", text(&key)];
        let arguments = if tls { [arguments, &certificate].concat() } else { arguments.to_vec() };
        let (mut judge, port) = judge(&world, &arguments).await;
        let scheme = if tls { "https" } else { "http" };
        let pair = "CORP\\svc:s\u{e4}cret";
        through(&world, &format!("{scheme}://localhost:{port}"), Some(pair), "proxy-login = \"ntlm\"");
        in_and_out(world, Some("CORP\\svc:wrong-password")).await;
        judge.line("accepted CORP\\svc").await;
        judge.line("refused ").await;
        // Enrolment and two tunnels at least; the wrong password once.
        assert!(judge.log().matches("accepted CORP\\svc").count() >= 3, "{}", judge.log());
    }
}

#[cfg(feature = "proxy-login")]
mod kerberos {
    use super::*;

    const REALM: &str = "OUTHAUL.TEST";

    /// MIT's KDC with a database of its own.
    struct Kdc {
        folder: tempfile::TempDir,
        port: u16,
        _daemon: Daemon,
    }

    impl Kdc {
        async fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
            let (at, port) = (text(folder.path()).to_owned(), free_port());
            std::fs::write(
                folder.path().join("krb5.conf"),
                format!(
                    "[libdefaults]\ndefault_realm = {REALM}\ndns_lookup_kdc = false\ndns_canonicalize_hostname = false\n\
                     [realms]\n{REALM} = {{\nkdc = 127.0.0.1:{port}\n}}\n"
                ),
            )
            .unwrap();
            std::fs::write(
                folder.path().join("kdc.conf"),
                format!(
                    "[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n{REALM} = \
                     {{\ndatabase_name = {at}/principal\nkey_stash_file = {at}/stash\nacl_file = {at}/acl\n}}\n\
                     [logging]\nkdc = FILE:{at}/kdc.log\n"
                ),
            )
            .unwrap();
            let kdc = |program: &str, arguments: &[&str]| {
                let output = Command::new(program)
                    .args(arguments)
                    .env("KRB5_CONFIG", format!("{at}/krb5.conf"))
                    .env("KRB5_KDC_PROFILE", format!("{at}/kdc.conf"))
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
            };
            kdc("/usr/sbin/kdb5_util", &["create", "-s", "-P", "master", "-r", REALM]);
            for query in [
                "addprinc +requires_preauth -pw secret svc",
                "addprinc -randkey HTTP/localhost",
                &format!("ktadd -k {at}/proxy.keytab HTTP/localhost"),
            ] {
                kdc("/usr/sbin/kadmin.local", &["-r", REALM, "-q", query]);
            }
            // Squid reads it as a user of its own.
            let keytab = folder.path().join("proxy.keytab");
            std::fs::set_permissions(&keytab, std::fs::Permissions::from_mode(0o644)).unwrap();
            let (config, profile) =
                (format!("KRB5_CONFIG={at}/krb5.conf"), format!("KRB5_KDC_PROFILE={at}/kdc.conf"));
            let daemon = Daemon::start("env", &[&config, &profile, "/usr/sbin/krb5kdc", "-n", "-r", REALM]);
            eventually("the KDC listens", Duration::from_secs(10), async || {
                tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
            })
            .await;
            Self { folder, port, _daemon: daemon }
        }
    }

    #[tokio::test]
    #[ignore = "needs squid and MIT Kerberos: ONLY=proxies-kerberos make test"]
    async fn squid_with_a_ticket() {
        let kdc = Kdc::start().await;
        let at = text(kdc.folder.path()).to_owned();
        let login = |_: &Path| {
            format!(
                "auth_param negotiate program /usr/lib/squid/negotiate_kerberos_auth -k {at}/proxy.keytab -s \
                 HTTP/localhost@{REALM}\nauth_param negotiate children 2\n{KNOWN}"
            )
        };
        let config = format!("{at}/krb5.conf");
        let squid = Squid::start(login, &[("KRB5_CONFIG", &config)]).await;
        let upstream = Upstream::start().await;
        let world = World::new(&upstream.url());
        let more = format!("proxy-login = \"negotiate\"\nproxy-kdc = \"127.0.0.1:{}\"", kdc.port);
        through(&world, &squid.url(), Some(&format!("svc@{REALM}:secret")), &more);
        in_and_out(world, Some(&format!("svc@{REALM}:wrong-password"))).await;
        squid.logged(&format!(" svc@{REALM} ")).await;
    }
}
