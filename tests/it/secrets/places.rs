//! Where a secret could lie: files, open files that have no name any more, memory, and what `ps` shows.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::needles::Needles;

/// What was found, each with its place.
pub(super) type Found = BTreeSet<String>;

fn at(place: &str, found: BTreeSet<String>) -> impl Iterator<Item = String> {
    found.into_iter().map(move |name| format!("{place}: {name}"))
}

pub(super) fn in_text(place: &str, text: &str, needles: &Needles) -> Found {
    at(place, needles.find(text.as_bytes())).collect()
}

/// All files below a folder, and their names. Also how many files there are.
pub(super) fn in_folder(folder: &Path, needles: &Needles) -> (Found, usize) {
    let (mut found, mut files) = (Found::new(), 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let place = path.display().to_string();
        found.extend(at("a name", needles.find(place.as_bytes())));
        if path.is_dir() {
            let (inner, count) = in_folder(&path, needles);
            found.extend(inner);
            files += count;
        } else if path.is_file()
            // One that is gone meanwhile was only there for a moment.
            && let Ok(bytes) = std::fs::read(&path)
        {
            found.extend(at(&place, needles.find(&bytes)));
            files += 1;
        }
    }
    (found, files)
}

/// Whether this user sees the memory, the environment and the open files of programs that close themselves to others.
pub(super) fn may_look() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The files that a process has open, those without a name among them. Also the names of the latter.
pub(super) fn in_open_files(process: u32, needles: &Needles) -> (Found, Vec<String>) {
    let (mut found, mut nameless) = (Found::new(), Vec::new());
    for entry in std::fs::read_dir(format!("/proc/{process}/fd")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(target) = std::fs::read_link(&path) else { continue };
        // Through /proc it is the open file itself, whether it has a name or not.
        if !std::fs::metadata(&path).is_ok_and(|about| about.is_file()) {
            continue;
        }
        let place = target.display().to_string();
        if place.ends_with("(deleted)") || place.starts_with("/memfd:") {
            nameless.push(place.clone());
        }
        if let Ok(bytes) = std::fs::read(&path) {
            found.extend(at(&format!("open file {place}"), needles.find(&bytes)));
        }
    }
    (found, nameless)
}

/// The environment and the arguments of a process.
pub(super) fn in_environment(process: u32, needles: &Needles) -> Found {
    let look = |file: &str| {
        let bytes = std::fs::read(format!("/proc/{process}/{file}")).unwrap();
        at(file, needles.find(&bytes)).collect::<Found>()
    };
    look("environ").into_iter().chain(look("cmdline")).collect()
}

/// All memory that a process can read. Also how many bytes that is.
pub(super) fn in_memory(process: u32, needles: &Needles) -> (Found, usize) {
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let (mut found, mut searched) = (Found::new(), 0);
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        if !rights.starts_with('r') {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = vec![0; PIECE + OVERLAP];
        for from in (from..to).step_by(PIECE) {
            let length = (PIECE + OVERLAP).min(usize::try_from(to - from).unwrap());
            // A map may go while others are read.
            let Ok(length) = memory.read_at(&mut bytes[..length], from) else { continue };
            found.extend(at("memory", needles.find(&bytes[..length])));
            searched += length.min(PIECE);
        }
    }
    (found, searched)
}

const PIECE: usize = 1 << 20;
/// Longer than any spelling.
const OVERLAP: usize = 256;
