//! Wrong input at every door gets a clear answer that names what to do.
//!
//! Here: configuration files as a person leaves them. The doors on the network have files of their own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use outhaul::agent::config::Config;
use outhaul::common::report::Exit;
use proptest::prelude::*;

#[path = "../../fuzz/bodies/config.rs"]
mod fuzz_config;
#[path = "../../fuzz/bodies/paths.rs"]
mod fuzz_paths;

const GOOD: &str = "[relay]\nurl = \"wss://r\"\n[upstream.jira]\nurl = \"http://j\"\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("agent.toml");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn fault(&self, bytes: &[u8]) -> String {
        let report = Config::load(&self.file(bytes)).unwrap_err();
        assert_eq!(report.exit(), Exit::Config, "{report}");
        report.to_string()
    }
}

#[test]
fn all_faults_of_a_file_are_told_at_once_each_with_line_column_and_caret() {
    let folder = Folder::new();
    let text = "\
[relay]
url = \"https://relay.example.com\"
tunnel = 3

[upstream.jira]
url = \"http://127.0.0.1:8080\"
connect-timeout = \"5\"

[service.reader]
user = \"svc\"
pat = \"NjQ2hunter2\"

[[policy.rule]]
allow = \"GET /rest/../admin\"
as = { service = \"raeder\" }
";
    let fault = folder.fault(text.as_bytes());
    for part in [
        "7 faults",
        "agent.toml:2:7",
        "the URL must begin with wss://",
        "agent.toml:3:1",
        "did you mean tunnels?",
        "agent.toml:7:19",
        "as in \"15 s\"",
        "agent.toml:11:7",
        "write { credential = \"name\" }",
        "agent.toml:14:9",
        "is . or ..",
        "lacks why",
    ] {
        assert!(fault.contains(part), "{part}\n{fault}");
    }
    assert!(fault.matches('^').count() > 6, "{fault}");
    assert!(!fault.contains("hunter2"), "{fault}");
}

#[test]
fn files_that_are_no_configuration_say_so() {
    let folder = Folder::new();
    assert!(Config::load(&folder.file(GOOD.as_bytes())).is_ok());
    assert!(folder.fault(b"").contains("lacks url"));
    assert!(folder.fault(b"\x7fELF\x02\x01\x01\x00").contains("this is not TOML"));
    assert!(folder.fault(b"\xff\xfe[\0r\0e\0l\0a\0y\0]\0").contains("not UTF-8"));
    assert!(folder.fault(&vec![b'a'; 2 << 20]).contains("larger than 1 MB"));
    assert!(folder.fault(b"relay:\n  url: wss://r\n").contains("this is not TOML"));
    assert!(folder.fault(b"{\"relay\": {\"url\": \"wss://r\"}}").contains("this is not TOML"));
    let missing = Config::load(&folder.0.path().join("none.toml")).unwrap_err().to_string();
    assert!(missing.contains("Copy config.example.toml to"), "{missing}");
    let itself = Config::load(folder.0.path()).unwrap_err().to_string();
    assert!(itself.contains("is a directory"), "{itself}");
}

#[test]
fn files_made_to_hurt_are_refused_quickly() {
    let folder = Folder::new();
    // Deep nesting must not exhaust the stack.
    assert!(folder.fault(format!("a = {}", "[".repeat(500_000)).as_bytes()).contains("agent.toml"));
    assert!(folder.fault(format!("a{} = 1", ".a".repeat(400_000)).as_bytes()).contains("agent.toml"));
    let mut secrets = String::new();
    for number in 0..30_000 {
        let _ = writeln!(secrets, "password{number} = \"x\"");
    }
    assert!(folder.fault(secrets.as_bytes()).contains("password0 = ***"));
    // Many faults must not take long nor fill a screen.
    let mut many = String::from(GOOD);
    for number in 0..60_000 {
        let _ = writeln!(many, "k{number} = 1");
    }
    let fault = folder.fault(many.as_bytes());
    assert!(fault.contains("60000 faults") && fault.len() < 20_000, "{}", fault.len());
    let mut rules = String::from(GOOD);
    for number in 0..5_000 {
        let _ =
            writeln!(rules, "[[policy.rule]]\nallow = \"GET /{number}\"\nwhy = \"w\"\nas = \"anonymous\"");
    }
    assert!(folder.fault(rules.as_bytes()).contains("more than 2000 rules"));
}

#[test]
fn the_fuzz_corpora_pass() {
    for (target, run) in [("paths", fuzz_paths::run as fn(&[u8])), ("config", fuzz_config::run)] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let count = files.map(|file| run(&std::fs::read(file).unwrap())).count();
        assert!(count > 0, "{} is empty", folder.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_pass_the_fuzz_bodies(
        input in proptest::collection::vec(any::<u8>(), 0..200),
        text in "\\[?(relay|policy|a)\\]?\n?[a-z]{0,3}( = )?[\\PC\\x00-\\x1f\\x7f-\\x9f]{0,30}",
        at in 0usize..2000,
    ) {
        fuzz_paths::run(&input);
        fuzz_config::run(&input);
        fuzz_config::run(text.as_bytes());
        // A whole file with something wrong in its middle.
        let mut file = include_bytes!("../../config.example.toml").to_vec();
        let at = at * 3 % file.len();
        file.splice(at..(at + 3).min(file.len()), input);
        fuzz_config::run(&file);
    }
}
