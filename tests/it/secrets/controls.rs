//! That the search finds what is there: in each spelling, and in each kind of place.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use rusqlite::Connection;

use super::needles::{Needles, marker};
use super::places::{in_environment, in_folder, in_memory, in_open_files};

fn of(secret: &str) -> Needles {
    let mut needles = Needles::new();
    needles.add("marker", secret.as_bytes());
    needles
}

#[test]
fn every_spelling_is_found_also_in_the_middle_of_others_and_cut() {
    let secret = format!("{}+/\"=", marker());
    let needles = of(&secret);
    let bytes = secret.as_bytes();
    let each = |form: &dyn Fn(&u8) -> String| bytes.iter().map(form).collect::<Vec<_>>().concat();
    let (hexadecimal, percent) = (each(&|byte| format!("{byte:02x}")), each(&|byte| format!("%{byte:02X}")));
    let form: String = form_urlencoded::byte_serialize(bytes).collect();
    for text in [
        secret.clone(),
        format!("Authorization: Basic {}", STANDARD.encode(format!("u:{secret}"))),
        STANDARD.encode(format!("us:{secret}")),
        URL_SAFE.encode(format!("{secret}:x")),
        format!("token={form}&x=y"),
        format!("frame: 0x{hexadecimal}"),
        hexadecimal.to_uppercase(),
        percent.to_lowercase(),
        percent,
        format!("{bytes:?}"),
        format!("{}…", &secret[..24]),
        secret[20..44].to_owned(),
    ] {
        let around = format!("something before {text} and behind");
        assert!(!needles.find(around.as_bytes()).is_empty(), "{text}");
    }
    assert!(needles.find(marker().as_bytes()).is_empty(), "another one is not taken for it");
}

#[test]
fn a_file_in_a_folder_is_found_and_so_is_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let secret = marker().replace('/', "x");
    let inner = folder.path().join("a/b");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(inner.join("store.db-wal"), format!("\0\0{secret}\0")).unwrap();
    assert_eq!(in_folder(folder.path(), &of(&marker())), (super::Found::new(), 1));
    let (found, files) = in_folder(folder.path(), &of(&secret));
    assert!(files == 1 && found.iter().any(|one| one.contains("store.db-wal")), "{found:?}");
    std::fs::remove_file(inner.join("store.db-wal")).unwrap();
    std::fs::write(inner.join(&secret), "").unwrap();
    assert!(!in_folder(folder.path(), &of(&secret)).0.is_empty());
}

/// A program that runs until it is dropped.
struct Helper(Child);

impl Helper {
    /// Gives it a secret by standard input, and waits for its word.
    fn start(command: &mut Command, secret: &str) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{secret}").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_file_without_a_name_the_environment_and_memory_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, variable, argument) = (marker(), marker(), marker());
    let script = "read -r secret; exec 3>gone; rm gone; printf %s \"$secret\" >&3; echo ready; read -r never";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", &argument]).env("A_SECRET", &variable).current_dir(folder.path());
    let helper = Helper::start(&mut command, &secret);
    let process = helper.0.id();
    assert_eq!(in_folder(folder.path(), &of(&secret)).1, 0, "it has no name any more");
    let (found, nameless) = in_open_files(process, &of(&secret));
    assert!(nameless.len() == 1 && !found.is_empty(), "{nameless:?} {found:?}");
    assert!(in_open_files(process, &of(&marker())).0.is_empty());
    assert!(in_environment(process, &of(&secret)).is_empty());
    for shown in [variable, argument] {
        assert!(!in_environment(process, &of(&shown)).is_empty());
    }
    let (found, _) = in_memory(process, &of(&secret));
    assert!(!found.is_empty(), "the shell keeps its variable in memory");
    assert!(in_memory(process, &of(&marker())).0.is_empty());
}

/// Fills more temporary pages than fit the cache, and leaves them there.
const SPILL: &str = "PRAGMA temp_store = FILE; PRAGMA cache_size = 10; PRAGMA temp.cache_size = 10;
    CREATE TEMP TABLE t (x TEXT);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO t SELECT 'SECRET' || i FROM n;";

/// SQLite as others build it lays temporary tables into files without a name, where the pragma says so; the one that is
/// built into the programs does not, whatever it says.
#[test]
fn temporary_tables_lie_in_memory_here_and_elsewhere_in_files() {
    let secret = marker().replace('\'', "x");
    let sql = SPILL.replace("SECRET", &secret);
    let folder = tempfile::tempdir().unwrap();
    let ours = Connection::open(folder.path().join("ours.db")).unwrap();
    ours.execute_batch(&sql).unwrap();
    let of_ours = |found: super::Found| found.into_iter().filter(|one| one.contains("open file")).count();
    assert_eq!(of_ours(in_open_files(std::process::id(), &of(&secret)).0), 0);

    let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.executescript(sys.stdin.readline())\n\
                  print('ready', flush=True)\nsys.stdin.read()";
    let mut command = Command::new(python());
    command.args(["-c", script, folder.path().join("theirs.db").to_str().unwrap()]);
    command.env("SQLITE_TMPDIR", folder.path());
    let theirs = Helper::start(&mut command, &sql.replace('\n', " "));
    let (found, nameless) = in_open_files(theirs.0.id(), &of(&secret));
    assert!(!nameless.is_empty() && !found.is_empty(), "{nameless:?}");
    assert_eq!(ours.query_row("SELECT count(*) FROM t", [], |row| row.get(0)), Ok(2000));
}

fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}
