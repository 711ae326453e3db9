//! Reads small files whole and says clearly why one can't be read; replaces a file of ours without a moment in
//! which it is half written.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::common::report::{Exit, Report};

/// The text of a regular file of at most `limit` bytes; `what` names it for people.
pub fn read_text(path: &Path, what: &str, limit: usize) -> Result<String, Report> {
    let bytes = read_bytes(path, what, limit)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default()).chars().count() + 1;
        Report::new(
            Exit::Config,
            format!(
                "the {what} is not UTF-8 text: {}:{line}:{column} holds a byte that is none",
                path.display()
            ),
        )
        .with_remedy("Save it as UTF-8.")
    })
}

/// Replaces a file by one with these bytes that only its owner may read. After a crash it is the old or the new one,
/// whole. For one writer at a time.
pub fn replace_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    // A leftover of a crash may have other permissions.
    match std::fs::remove_file(fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(fresh)?;
    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(fresh, path));
    if let Err(error) = written {
        // What is left of it helps nobody; the error that matters is the first one.
        let _ = std::fs::remove_file(fresh);
        return Err(error);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn read_bytes(path: &Path, what: &str, limit: usize) -> Result<Vec<u8>, Report> {
    let shown = path.display();
    let failed = |error: &std::io::Error| match error.kind() {
        ErrorKind::NotFound => Report::new(Exit::Config, format!("there is no {what} at {shown}"))
            .with_remedy("Create it, or name another one."),
        ErrorKind::PermissionDenied => {
            Report::new(Exit::Permission, format!("the {what} {shown} may not be read by this user"))
                .with_remedy("Run as the service's user or root, or change the file's owner.")
        }
        _ => Report::new(Exit::InputOutput, format!("the {what} {shown} can't be read: {error}")),
    };
    let metadata = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if !metadata.is_file() {
        let is = if metadata.is_dir() { "a directory" } else { "no regular file" };
        return Err(Report::new(Exit::Config, format!("the {what} {shown} is {is}"))
            .with_remedy("Name a regular file."));
    }
    let mut bytes = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)
        .and_then(|file| file.take(bound).read_to_end(&mut bytes))
        .map_err(|error| failed(&error))?;
    if bytes.len() > limit {
        return Err(Report::new(
            Exit::Config,
            format!("the {what} {shown} is larger than {}", crate::common::limits::ByteSize(limit as u64)),
        )
        .with_remedy("Check that it is the right file."));
    }
    Ok(bytes)
}
