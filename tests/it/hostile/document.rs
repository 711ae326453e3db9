//! `docs/threat-model.md` and these tests say the same: every attack here has its row, and every row has its test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The tests of a file: the functions that stand right below `#[test]` or `#[tokio::test…]`.
fn tests(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))
            && std::mem::take(&mut marked)
        {
            found.push(rest.split('(').next().unwrap().to_owned());
        }
    }
    found
}

/// The tests of this folder, as `file::test`.
fn here() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/hostile");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if file != "document" {
            let text = std::fs::read_to_string(&path).unwrap();
            found.extend(tests(&text).into_iter().map(|test| format!("{file}::{test}")));
        }
    }
    found
}

/// The rows of the tables of attacks: what is tried, what must come of it, and the names in the last column.
fn rows(document: &str) -> Vec<(String, String, Vec<String>)> {
    let (_, attacks) = document.split_once("\n## Attacks\n").expect("the section");
    let attacks = attacks.split("\n## ").next().unwrap();
    let lines = attacks.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack "));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [attack, expected, names] = cells[..] else { panic!("three columns: {line}") };
            let names = names.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            (attack.to_owned(), expected.to_owned(), names)
        })
        .collect()
}

#[test]
fn every_attack_has_its_row_and_every_row_its_test() {
    let rows = rows(&read("docs/threat-model.md"));
    let here = here();
    assert!(rows.len() >= 20 && here.len() >= 20, "{} rows, {} tests", rows.len(), here.len());
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    for (attack, expected, names) in &rows {
        assert!(!attack.is_empty() && !expected.is_empty() && !names.is_empty(), "{attack}");
        for name in names {
            *named.entry(name.clone()).or_default() += 1;
            if here.contains(name) {
                continue;
            }
            // A test elsewhere, from `tests/it` on.
            let (path, test) = name.rsplit_once("::").unwrap_or_else(|| panic!("{name} in “{attack}”"));
            let file = path.strip_prefix("it::").unwrap_or_else(|| panic!("no test {name}, of “{attack}”"));
            let source = read(&format!("tests/it/{}.rs", file.replace("::", "/")));
            assert!(tests(&source).iter().any(|found| found == test), "no test {name}, of “{attack}”");
        }
    }
    let missing: Vec<_> = here.iter().filter(|test| !named.contains_key(*test)).collect();
    assert!(missing.is_empty(), "in no row of docs/threat-model.md: {missing:#?}");
}
