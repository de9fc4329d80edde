// SPDX-License-Identifier: GPL-2.0
//! What the documents cite: every link, file, `make` target and fact is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns where the repository begins.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Folders that hold what was built, or somebody else's.
const NOT_OURS: [&str; 4] = [".git", "build", "target", "third_party"];
/// Folders of the kernel's and of QEMU's trees, of which files are cited, too.
const ELSEWHERE: [&str; 9] = [
    "arch/",
    "drivers/",
    "fs/",
    "hw/",
    "include/linux",
    "kernel/",
    "linux/",
    "mm/",
    "system/",
];
const ENDINGS: [&str; 9] = [
    ".rs", ".c", ".h", ".md", ".rst", ".toml", ".sh", ".svg", ".config",
];

/// Returns the paths of all files of ours, from the top.
fn files() -> BTreeSet<String> {
    fn visit(dir: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            let path = format!("{prefix}{name}");
            if entry.path().is_dir() {
                visit(&entry.path(), &format!("{path}/"), found);
            }
            found.insert(path);
        }
    }
    let mut found = BTreeSet::new();
    visit(&top(), "", &mut found);
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap()
}

fn documents(files: &BTreeSet<String>) -> Vec<String> {
    let is_one = |file: &&String| file.ends_with(".md") || file.ends_with(".rst");
    files.iter().filter(is_one).cloned().collect()
}

/// Returns what stands between `open` and `close`, on one line, wherever that is.
fn between<'a>(text: &'a str, open: &str, close: char) -> Vec<&'a str> {
    text.lines()
        .flat_map(|line| line.split(open).skip(1))
        .filter_map(|part| part.split_once(close).map(|(inner, _)| inner))
        .collect()
}

/// Returns what stands in backticks, single or double, in the prose.
fn quoted(text: &str) -> Vec<String> {
    let prose = text.lines().filter(|line| !line.starts_with("    "));
    prose
        .map(|line| line.replace("``", "`"))
        .flat_map(|line| {
            let parts = line.split('`').skip(1).step_by(2);
            parts.map(str::to_string).collect::<Vec<_>>()
        })
        .collect()
}

/// Returns the names by which a link can point into a document: those of its headings and of its
/// anchors.
fn anchors(text: &str) -> BTreeSet<String> {
    let slug = |heading: &str| -> String {
        let kept = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
        let lower = heading.trim().to_lowercase();
        lower
            .chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-")
    };
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let mut found: BTreeSet<String> = headings.map(|h| slug(h.trim_start_matches('#'))).collect();
    found.extend(
        between(text, "<a id=\"", '"')
            .into_iter()
            .map(str::to_string),
    );
    found
}

/// Resolves `path`, seen from the folder of `document`, to a path from the top.
fn resolve(document: &str, path: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn every_link_leads_somewhere() {
    let files = files();
    let mut wrong = Vec::new();
    for document in documents(&files) {
        for link in between(&read(&document), "](", ')') {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => resolve(&document, path),
            };
            let is_there = files.contains(&target);
            if !is_there || (!anchor.is_empty() && !anchors(&read(&target)).contains(anchor)) {
                wrong.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "dead links:\n{}", wrong.join("\n"));
}

/// Returns whether a file or folder of ours has this path, or ends with it.
fn is_known(files: &BTreeSet<String>, cited: &str) -> bool {
    let cited = cited.trim_end_matches('/');
    let tail = format!("/{cited}");
    files.contains(cited) || files.iter().any(|file| file.ends_with(&tail))
}

/// Returns whether it looks like a path of ours: a pattern, a stand-in for a name, and a path of
/// another tree do not.
fn is_path(cited: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    let ours = [
        "src/",
        "userspace/",
        "tests/",
        "include/uapi/",
        "Documentation/",
    ];
    let rooted = ours.iter().any(|folder| cited.starts_with(folder));
    let named = ENDINGS.iter().any(|ending| cited.ends_with(ending)) && !cited.starts_with('/');
    let elsewhere = ELSEWHERE.iter().any(|folder| cited.starts_with(folder));
    let stands_for_any = ["FILE", "NAME"].iter().any(|word| cited.contains(word));
    cited.chars().all(is_plain) && !stands_for_any && (rooted || named) && !elsewhere
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let files = files();
    let mut wrong = Vec::new();
    for document in documents(&files) {
        for cited in quoted(&read(&document)) {
            if is_path(&cited) && !is_known(&files, &cited) {
                wrong.push(format!("{document}: {cited}"));
            }
        }
    }
    assert!(wrong.is_empty(), "no such file:\n{}", wrong.join("\n"));
}

#[test]
fn every_document_that_the_code_names_is_there() {
    let files = files();
    let facts = anchors(&read("Documentation/facts.md"));
    let is_code = |file: &&String| {
        [".rs", ".c", ".h", ".toml", "Makefile", "Kbuild"]
            .iter()
            .any(|ending| file.ends_with(ending))
    };
    let mut wrong = Vec::new();
    for file in files
        .iter()
        .filter(is_code)
        .filter(|f| !f.ends_with("links.rs"))
    {
        let text = fs::read_to_string(top().join(file)).unwrap_or_default();
        for part in text.split("Documentation/").skip(1) {
            let end = part.find(|c: char| !(c.is_alphanumeric() || "_-./".contains(c)));
            let path = part[..end.unwrap_or(part.len())].trim_end_matches('.');
            // Ours has no folders, the kernel's has hardly anything else.
            let is_document = path.ends_with(".md") || path.ends_with(".rst");
            if is_document
                && !path.contains('/')
                && !files.contains(&format!("Documentation/{path}"))
            {
                wrong.push(format!("{file}: Documentation/{path}"));
            }
        }
        for fact in text.split("facts.md F").skip(1) {
            let digits = fact.chars().take_while(char::is_ascii_digit);
            let number: String = digits.collect();
            if !facts.contains(&format!("f{number}")) {
                wrong.push(format!("{file}: facts.md F{number}"));
            }
        }
    }
    assert!(wrong.is_empty(), "not there:\n{}", wrong.join("\n"));
}

#[test]
fn every_target_of_make_that_a_document_names_is_there() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let mut wrong = Vec::new();
    for document in documents(&files()) {
        for cited in quoted(&read(&document)) {
            let Some(rest) = cited.strip_prefix("make ") else {
                continue;
            };
            let name = rest.split_whitespace().next().unwrap_or_default();
            let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            if is_name && !name.is_empty() && !targets.contains(name) {
                wrong.push(format!("{document}: make {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "no such target:\n{}", wrong.join("\n"));
}
