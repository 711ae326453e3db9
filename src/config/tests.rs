use std::time::Duration;

use super::diagnose::Located;
use super::table::{Table, nearest};
use super::values::{HttpBase, ListenAddress, SecretRef};
use crate::common::ids::CallerName;
use crate::common::limits::ByteSize;
use crate::common::report::Exit;

/// A reader with one key of each sort.
fn read(table: &mut Table<'_>) -> Option<String> {
    let mut relay = table.table("relay");
    let url: Option<HttpBase> = relay.required("url", "\"https://relay.example.com\"");
    relay.integer("tunnels", 1..=8, 2);
    relay.or("allow-unbound", false);
    relay.optional::<SecretRef>("secret");
    relay.duration(
        "connect-timeout",
        Duration::from_millis(100)..=Duration::from_secs(300),
        Duration::from_secs(5),
    );
    relay.size("body-limit", ByteSize(1)..=ByteSize::mib(2), ByteSize::mib(1));
    relay.optional::<ListenAddress>("listen");
    for (_, mut upstream) in table.named_tables("upstream") {
        upstream.required::<String>("name", "\"x\"");
    }
    let mut policy = table.table("policy");
    for mut rule in policy.tables("rule") {
        rule.required::<String>("allow", "\"GET /\"");
        rule.optional::<Vec<Located<CallerName>>>("caller");
    }
    url.map(|url| url.to_string())
}

fn faults(text: &str) -> String {
    let report = super::parse("a.toml", text, |table, _| read(table)).unwrap_err();
    assert_eq!(report.exit(), Exit::Config);
    report.to_string()
}

const GOOD: &str = "[relay]\nurl = \"https://r\"\n";

#[test]
fn a_right_file_reads() {
    let text = format!(
        "{GOOD}tunnels = 3\nsecret = {{ file = \"/a\" }}\n[[policy.rule]]\nallow = \"x\"\ncaller = \"bot\"\n"
    );
    assert_eq!(super::parse("a.toml", &text, |table, _| read(table)).unwrap(), "https://r");
}

#[test]
fn every_fault_is_shown_at_once_with_its_place_and_remedy() {
    let text = "\
[relay]
urll = \"https://r\"
tunnels = 9
connect-timeout = \"5\"
allow-unbound = \"yes\"

[upstream.jira]
nam = 1

[[policy.rule]]
caller = [\"bot\", \"Bad Name\", 3]
";
    assert_eq!(
        faults(text),
        "\
a.toml has 10 faults

error: [relay] lacks url
 --> a.toml:1:1
  |
1 | [relay]
  | ^^^^^^^
  |
  = help: add: url = \"https://relay.example.com\"

error: unknown key urll in [relay]
 --> a.toml:2:1
  |
2 | urll = \"https://r\"
  | ^^^^
  |
  = help: did you mean url?

error: tunnels is too large
 --> a.toml:3:11
  |
3 | tunnels = 9
  |           ^
  |
  = help: write 1 to 8

error: “5” is no duration: write a number and ms, s, m, h or d, as in \"15 s\"
 --> a.toml:4:19
  |
4 | connect-timeout = \"5\"
  |                   ^^^

error: this is a text
 --> a.toml:5:17
  |
5 | allow-unbound = \"yes\"
  |                 ^^^^^
  |
  = help: write true or false, without quotes

error: [upstream.jira] lacks name
 --> a.toml:7:11
  |
7 | [upstream.jira]
  |           ^^^^
  |
  = help: add: name = \"x\"

error: unknown key nam in [upstream.jira]
 --> a.toml:8:1
  |
8 | nam = 1
  | ^^^
  |
  = help: did you mean name?

error: [policy.rule] lacks allow
  --> a.toml:10:1
   |
10 | [[policy.rule]]
   | ^^^^^^^^^^^^^^^
   |
   = help: add: allow = \"GET /\"

error: “Bad Name” is no caller name: use 1 to 63 characters a-z, 0-9 and -, beginning and ending with a letter or digit
  --> a.toml:11:18
   |
11 | caller = [\"bot\", \"Bad Name\", 3]
   |                  ^^^^^^^^^^

error: this is a whole number
  --> a.toml:11:30
   |
11 | caller = [\"bot\", \"Bad Name\", 3]
   |                              ^
   |
   = help: write a text in quotes
"
    );
}

#[test]
fn each_wrong_shape_has_its_sentence() {
    for (text, says) in [
        ("relay = 1", "relay is a whole number"),
        ("upstream = []", "upstream is a list"),
        ("[upstream]\njira = 1", "upstream.jira is a whole number"),
        ("[policy]\nrule = \"x\"", "policy.rule is a text"),
        ("[relay]\nurl = \"ftp://x\"", "must begin with http:// or https://"),
        ("[relay]\nurl = \"http://x?y\"", "must end before the ?"),
        ("[relay]\nurl = 5", "write a text in quotes"),
        ("[relay]\ntunnels = -1", "-1 is no number of 0 or more"),
        ("[relay]\ntunnels = 99999999999999999999", "no number of 0 or more"),
        ("[relay]\ntunnels = 1.5", "this is a fraction"),
        ("[relay]\nbody-limit = 0", "write \"1 B\" to \"2 MB\""),
        ("[relay]\nbody-limit = \"1 XB\"", "“1 XB” is no size"),
        ("[relay]\nconnect-timeout = \"0 s\"", "write \"100 ms\" to \"5 m\""),
        ("[relay]\nconnect-timeout = 5", "with its unit"),
        ("[relay]\nlisten = \"localhost:1\"", "write an IP address and a port"),
        ("[relay]\nsecret = { }", "a secret is in one place"),
        ("[relay]\nsecret = { file = \"x\" }", "no absolute path"),
        ("[relay]\nsecret = { credential = \"../x\" }", "no name of a credential"),
        ("[relay]\nsecret = { filee = \"/x\" }", "did you mean file?"),
        ("[relayy]", "did you mean relay?"),
        ("colour = 1", "known here: policy, relay, upstream"),
        ("[relay]\nallow_unbound = true", "did you mean allow-unbound?"),
        ("[relay]\nurl = \"a\"\nurl = \"b\"", "this is not TOML: duplicate key"),
        ("[relay\nurl = ", "this is not TOML"),
        ("a = \u{7}", "this is not TOML"),
    ] {
        let faults = faults(text);
        assert!(faults.contains(says), "{text}\n{faults}");
    }
}

#[test]
fn every_syntax_fault_is_shown() {
    let faults = faults("a = \nb = 1\nc == 2\n");
    assert!(faults.contains("a.toml:1:") && faults.contains("a.toml:3:"), "{faults}");
}

#[test]
fn what_may_be_a_secret_is_not_shown() {
    for text in [
        "[relay]\nsecret = \"hunter2\"",
        "[relay]\nsecret = { credential = 5 }\nsecrets = \"hunter2\"",
        "[relay]\npassword = \"hunter2\"",
        "[relay]\nsecret = [\"hunter2\"]",
        "[relay]\nurl = \"http://me:hunter2@proxy\"",
        "[relay]\nsecret = \"\"\"\nhunter2\n\"\"\"",
    ] {
        let faults = faults(text);
        assert!(!faults.contains("hunter2"), "{faults}");
    }
    assert!(faults("[relay]\nsecret = \"x\"").contains("write { credential = \"name\" }"));
}

#[test]
fn a_terminal_is_not_steered_by_a_file() {
    let faults = faults("[relay]\n\"a\\u001b[2J\" = 1\nlisten = \"\\u001b]0;x\\u0007\"");
    assert!(!faults.contains('\u{1b}') && !faults.contains('\u{7}'), "{faults}");
}

#[test]
fn many_faults_are_cut() {
    use std::fmt::Write as _;
    let mut text = String::from(GOOD);
    for number in 0..100 {
        writeln!(text, "x{number} = 1").unwrap();
    }
    let faults = faults(&text);
    assert!(faults.contains("100 faults") && faults.contains("70 more are not shown"), "{faults}");
}

#[test]
fn files_that_are_none_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let load = |path: &std::path::Path| super::load(path, |table, _| read(table)).unwrap_err();
    let missing = load(&folder.path().join("none"));
    assert!(missing.to_string().contains("there is no configuration file at"), "{missing}");
    assert!(load(folder.path()).to_string().contains("is a directory"));
    let latin = load(&path("latin", b"a = 1\n# caf\xe9"));
    assert!(latin.to_string().contains("not UTF-8") && latin.to_string().contains(":2:6"), "{latin}");
    let large = load(&path("large", &vec![b'#'; super::MAX_FILE + 1]));
    assert!(large.to_string().contains("larger than 4 MB"), "{large}");
    assert!(load(&path("empty", b"")).to_string().contains("[relay] lacks url"));
}

#[test]
fn the_nearest_name_is_found_and_a_far_one_is_not() {
    let known = ["url", "tunnels", "allow-unbound"];
    for (given, near) in [
        ("ulr", Some("url")),
        ("tunnel", Some("tunnels")),
        ("Tunnels", Some("tunnels")),
        ("alow_unbound", Some("allow-unbound")),
        ("colour", None),
        ("", None),
    ] {
        assert_eq!(nearest(given, &known), near, "{given}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,80}|[\\[\\]a-c=\"{}, .\\n1]{0,60}") {
        let _ = super::parse("a.toml", &text, |table, _| read(table));
    }

    #[test]
    fn no_relay_table_panics(text in "[a-z]{0,6} = [\\[\\]a-c=\"{}, .\\n1é]{0,60}") {
        let _ = super::parse("a.toml", &format!("[relay]\n{text}"), |table, _| read(table));
    }
}
