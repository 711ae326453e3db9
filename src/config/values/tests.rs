use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::*;

#[test]
fn http_bases_read_and_show() {
    for (text, shown, host, port, path) in [
        ("http://127.0.0.1:8080/jira", "http://127.0.0.1:8080/jira", "127.0.0.1", 8080, "/jira"),
        (
            "https://Jira.Corp.example/jira/",
            "https://jira.corp.example/jira",
            "jira.corp.example",
            443,
            "/jira",
        ),
        ("HTTP://jira", "http://jira", "jira", 80, ""),
        ("https://jira:443/", "https://jira", "jira", 443, ""),
        ("http://[::1]:80/a/b", "http://[::1]/a/b", "::1", 80, "/a/b"),
        ("http://[FE80:0::1]:8080", "http://[fe80::1]:8080", "fe80::1", 8080, ""),
        ("http://jira_app:8080", "http://jira_app:8080", "jira_app", 8080, ""),
        ("http://10.example", "http://10.example", "10.example", 80, ""),
    ] {
        let base: HttpBase = text.parse().unwrap();
        assert_eq!(base.to_string(), shown);
        assert_eq!((base.host.as_str(), base.port, base.path.as_str()), (host, port, path), "{text}");
        assert_eq!(shown.parse::<HttpBase>().unwrap(), base);
    }
}

#[test]
fn wrong_http_bases_say_why() {
    for (text, says) in [
        ("", "must begin with"),
        ("jira.corp", "must begin with"),
        ("wss://jira", "must begin with"),
        ("http://", "no host"),
        ("http:///x", "no host"),
        ("http://a b", "no host"),
        ("http://jira..corp", "no host"),
        ("http://1.2.3", "no host"),
        ("http://1.2.3.4.5", "no host"),
        ("http://jira.0x7f.1", "no host"),
        ("http://::1", "no host"),
        ("http://[::1", "no host"),
        ("http://[::1]x", "no host"),
        ("http://[1.2.3.4]", "no host"),
        ("http://jira:0", "no port"),
        ("http://jira:", "no port"),
        ("http://jira:+80", "no port"),
        ("http://jira:99999", "no port"),
        ("http://me:pw@jira", "before the @"),
        ("http://jira?x=1", "before the ?"),
        ("http://jira/a#b", "before the #"),
        ("http://jira/a//b", "single slashes"),
        ("http://jira//", "single slashes"),
        ("http://jira/../x", "single slashes"),
        ("http://jira/%2e", "single slashes"),
        ("http://jira/a;b", "single slashes"),
        ("http://jira/ä", "single slashes"),
        ("http://jira\\x", "no host"),
        ("http://jirä", "no host"),
        ("http://jira\n", "no host"),
    ] {
        let fault = text.parse::<HttpBase>().unwrap_err().to_string();
        assert!(fault.contains(says), "{text}: {fault}");
    }
}

#[test]
fn relay_urls_are_over_tls_and_end_after_the_port() {
    assert_eq!("wss://Relay.example".parse::<WssUrl>().unwrap().to_string(), "wss://relay.example");
    assert_eq!("wss://[::1]:8443/".parse::<WssUrl>().unwrap().to_string(), "wss://[::1]:8443");
    for (text, says) in [
        ("ws://relay", "must begin with wss://"),
        ("https://relay", "must begin with wss://"),
        ("wss://relay/agent/v1", "remove “/agent/v1”"),
        ("wss://relay?x", "before the ?"),
    ] {
        assert!(text.parse::<WssUrl>().unwrap_err().to_string().contains(says), "{text}");
    }
}

fn secret_file(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> SecretRef {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    SecretRef::File(path)
}

#[test]
fn secrets_are_read_without_their_newline() {
    let folder = tempfile::tempdir().unwrap();
    for (bytes, secret) in
        [(&b"abc"[..], "abc"), (b"abc\n", "abc"), (b"abc\r\n", "abc"), (b" a c \n", " a c ")]
    {
        let place = secret_file(folder.path(), "s", bytes, 0o600);
        assert_eq!(place.read_with(None).unwrap().expose(), secret);
    }
}

#[test]
fn secrets_that_cannot_be_trusted_say_what_to_do_and_show_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let long = vec![b'x'; (16 << 10) + 1];
    for (bytes, mode, says) in [
        (&b"hunter2"[..], 0o640, "run chmod 600"),
        (b"hunter2", 0o604, "run chmod 600"),
        (b"", 0o600, "is empty"),
        (b"\n", 0o600, "is empty"),
        (b"hunter2\nhunter2\n", 0o600, "one line"),
        (b"hunter2\xff", 0o600, "one line"),
        (b"hunter2\0", 0o600, "one line"),
        (&long, 0o600, "larger than"),
    ] {
        let fault = secret_file(folder.path(), "s", bytes, mode).read_with(None).unwrap_err();
        let shown = format!("{fault} {fault:?}");
        assert!(shown.contains(says) && !shown.contains("hunter2"), "{shown}");
    }
    let missing = SecretRef::File(folder.path().join("none")).read_with(None).unwrap_err().to_string();
    assert!(missing.contains("there is no secret at"), "{missing}");
    let folder_itself = SecretRef::File(folder.path().to_owned()).read_with(None).unwrap_err().to_string();
    assert!(folder_itself.contains("no regular file"), "{folder_itself}");
}

#[test]
fn credentials_come_from_the_service_manager() {
    let folder = tempfile::tempdir().unwrap();
    secret_file(folder.path(), "jira-pat", b"abc\n", 0o440);
    let place = SecretRef::Credential("jira-pat".into());
    assert_eq!(place.read_with(Some(folder.path())).unwrap().expose(), "abc");
    assert!(place.read_with(None).unwrap_err().to_string().contains("LoadCredential=jira-pat"));
    assert_eq!(place.to_string(), "credential jira-pat");
    assert_eq!(SecretRef::File(PathBuf::from("/a")).to_string(), "file /a");
}
