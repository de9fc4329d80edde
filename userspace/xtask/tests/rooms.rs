// SPDX-License-Identifier: GPL-2.0
//! The rooms of `src/`: who may import whom, and how much goes into one.
//!
//! Looks at paths that begin with `crate::`, `super::` or the name of a submodule, which is how
//! the module's files name each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// From the top down: a file imports from its own room and from those below.
const LADDER: [&[&str]; 11] = [
    &["file"],
    &["mover"],
    &["session"],
    &["machine"],
    &["device"],
    &["region"],
    &["aperture", "window"],
    &["page", "shmem", "iommu"],
    &["event"],
    &["host"],
    LEAVES,
];
const LEAVES: &[&str] = &[
    "abi.rs",
    "args.rs",
    "compat.rs",
    "home.rs",
    "numbers.rs",
    "params.rs",
    "refusal.rs",
    "stats.rs",
];
/// What anybody may import: the one door to what only builds for tests have.
const DOOR: &str = "testing/sabotage.rs";
/// It imports nothing of ours, not even a leaf.
const ALONE: &str = "host";
/// It wires everything, and nobody imports it.
const TOP: &str = "main.rs";

const MOST_FILES: usize = 14;
const MOST_LINES: usize = 500;
/// A table: it may be longer.
const TABLE: &str = "abi.rs";

/// The files of `src/` by their paths there.
type Tree = BTreeMap<String, String>;

fn read_tree() -> Tree {
    fn visit(dir: &Path, prefix: &str, tree: &mut Tree) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            let is_source = [".rs", ".c", ".h", ".toml", "Kbuild"]
                .iter()
                .any(|end| name.ends_with(end));
            if entry.path().is_dir() {
                visit(&entry.path(), &format!("{name}/"), tree);
            } else if is_source && !name.ends_with(".mod.c") {
                tree.insert(name, fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    let mut tree = Tree::new();
    visit(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src"),
        "",
        &mut tree,
    );
    tree
}

/// Returns the module path of a file of the module's own crate: `region/mod.rs` is [region].
fn module_of(file: &str) -> Vec<&str> {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').filter(|part| *part != "main").collect()
}

/// Returns the words of a file without its comments: names and single signs.
fn words(text: &str) -> Vec<&str> {
    let code = text.lines().map(|line| line.split("//").next().unwrap());
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.flat_map(|line| {
        let cut = |c: char| !is_name(c);
        line.split_inclusive(cut).flat_map(move |part| {
            let name = part.trim_end_matches(cut);
            [name, &part[name.len()..]]
        })
    })
    .filter(|word| !word.trim().is_empty())
    .collect()
}

/// Adds to `found` what a path or tree of paths names that goes on with `words` after `begin`.
/// Returns how many words it has.
fn expand<'a>(words: &[&'a str], begin: &[&'a str], found: &mut Vec<Vec<&'a str>>) -> usize {
    let mut path = begin.to_vec();
    let mut at = 0;
    while words.get(at..at + 2) == Some(&[":", ":"]) {
        at += 2;
        match words.get(at) {
            Some(&"{") => {
                at += 1;
                while words.get(at).is_some_and(|word| *word != "}") {
                    let mut one = path.clone();
                    one.push(words[at]);
                    at += 1 + expand(&words[at + 1..], &one, found);
                    while words.get(at).is_some_and(|word| !["}", ","].contains(word)) {
                        at += 1;
                    }
                    at += usize::from(words.get(at) == Some(&","));
                }
                return at + 1;
            }
            Some(word) => path.push(word),
            None => break,
        }
        at += 1;
    }
    found.push(path);
    at
}

/// Returns the files that each file of the module's own crate imports.
fn imports(tree: &Tree) -> BTreeMap<&str, BTreeSet<&str>> {
    let own = |file: &&String| file.ends_with(".rs") && !file.starts_with("engine/");
    let modules: BTreeMap<Vec<&str>, &str> = tree
        .keys()
        .filter(own)
        .map(|file| (module_of(file), file.as_str()))
        .collect();
    let mut imports = BTreeMap::new();
    for (here, file) in &modules {
        let children: Vec<&str> = modules
            .keys()
            .filter(|other| other.len() == here.len() + 1 && other.starts_with(here))
            .map(|other| other[here.len()])
            .collect();
        let mut paths = Vec::new();
        let words = words(&tree[*file]);
        let mut at = 0;
        while at < words.len() {
            let parent = &here[..here.len().saturating_sub(1)];
            let inside = at >= 2 && words[at - 1] == ":" && words[at - 2] == ":";
            let begin = match words[at] {
                _ if inside => None,
                "crate" => Some(Vec::new()),
                "super" => Some(parent.to_vec()),
                "self" => Some(here.clone()),
                name if children.contains(&name) => Some([here.as_slice(), &[name]].concat()),
                _ => None,
            };
            at += 1;
            if let Some(begin) = begin.filter(|_| words.get(at..at + 2) == Some(&[":", ":"])) {
                at += expand(&words[at..], &begin, &mut paths);
            }
        }
        let of = |path: &Vec<&str>| {
            // What the macro `module!` makes is in no file.
            let made = matches!(path.first(), Some(&"THIS_MODULE" | &"module_parameters"));
            let known = (0..=path.len())
                .rev()
                .find_map(|n| modules.get(&path[..n]).copied());
            known.filter(|other| !made && other != file)
        };
        imports.insert(*file, paths.iter().filter_map(of).collect::<BTreeSet<_>>());
    }
    imports
}

fn room_of(file: &str) -> &str {
    file.split('/').next().unwrap()
}

fn rung_of(file: &str) -> Option<usize> {
    LADDER.iter().position(|rung| rung.contains(&room_of(file)))
}

fn may_import(from: &str, to: &str) -> bool {
    if room_of(from) == ALONE {
        return room_of(to) == ALONE;
    }
    if from == TOP || to == DOOR {
        return true;
    }
    if from == DOOR {
        return LEAVES.contains(&to) || ["host", "testing"].contains(&room_of(to));
    }
    if room_of(from) == "testing" {
        return to != TOP;
    }
    match (rung_of(from), rung_of(to)) {
        (Some(from_rung), Some(to_rung)) if from_rung == to_rung => {
            room_of(from) == room_of(to) || LEAVES.contains(&from)
        }
        (Some(from_rung), Some(to_rung)) => from_rung < to_rung,
        _ => false,
    }
}

/// Returns what can be reached from a file, itself only by a circle.
fn reach<'a>(from: &'a str, imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&str> = imports[from].iter().copied().collect();
    while let Some(file) = next.pop() {
        if seen.insert(file) {
            next.extend(&imports[file]);
        }
    }
    seen
}

/// Returns what is wrong in a tree, one line each.
fn findings(tree: &Tree) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let imports = imports(tree);
    for (from, others) in &imports {
        for to in others {
            if !may_import(from, to) {
                found.insert(format!("{from} may not import {to}"));
            }
            if reach(to, &imports).contains(from) {
                found.insert(format!("{from} imports {to}, which leads back"));
            }
        }
    }
    let mut counts = BTreeMap::new();
    for (file, text) in tree {
        let dir = file.rsplit_once('/').map_or("", |(dir, _)| dir);
        *counts.entry(dir).or_insert(0) += 1;
        if text.lines().count() > MOST_LINES && file != TABLE {
            found.insert(format!("{file} has more than {MOST_LINES} lines"));
        }
    }
    let crowded = counts.iter().filter(|(_, count)| **count > MOST_FILES);
    found.extend(crowded.map(|(dir, _)| format!("src/{dir} has more than {MOST_FILES} files")));
    found
}

#[test]
fn every_file_is_in_its_room() {
    let found = findings(&read_tree());
    let list: String = found.iter().map(|line| format!("\n    {line}")).collect();
    assert!(found.is_empty(), "{list}");
}

#[test]
fn one_spoiled_line_is_found() {
    let tree: Tree = [
        ("main.rs", "mod page; use crate::testing::marker;"),
        ("abi.rs", ""),
        ("refusal.rs", "use crate::abi; // use crate::page"),
        ("host/mod.rs", "mod spin;"),
        ("host/spin.rs", "use crate::host::task; use kernel::sync;"),
        ("host/task.rs", ""),
        ("iommu/verdict.rs", "use crate::{abi, host::{self, spin}};"),
        ("page/mod.rs", "mod arena; fn f() { arena::f() }"),
        (
            "page/arena.rs",
            "use crate::module_parameters; use crate::testing::sabotage;",
        ),
        (
            "file/calls.rs",
            "use crate::page::{arena, Tag}; use engine::file;",
        ),
        ("testing/marker.rs", "use crate::page;"),
        ("testing/sabotage.rs", ""),
    ]
    .map(|(file, text)| (file.to_owned(), text.to_owned()))
    .into();
    assert_eq!(findings(&tree), BTreeSet::new());
    let long = "\n".repeat(MOST_LINES + 1);
    for line in [
        "host/spin.rs may not import page/mod.rs: use crate::page;",
        "host/spin.rs may not import abi.rs: use crate::abi;",
        "host/spin.rs may not import testing/sabotage.rs: use crate::testing::sabotage;",
        "page/arena.rs may not import file/calls.rs: use crate::{abi, file::calls};",
        "page/mod.rs may not import iommu/verdict.rs: use crate::host; use crate::iommu::verdict;",
        "abi.rs may not import page/arena.rs: fn f() { super::page::arena::g() }",
        "abi.rs imports refusal.rs, which leads back: use crate::refusal::Refusal;",
        "page/arena.rs imports page/mod.rs, which leads back: use super::Tag;",
        "page/mod.rs may not import testing/marker.rs: use crate::testing::{marker, sabotage};",
        "testing/sabotage.rs may not import page/mod.rs: use crate::page;",
        &format!("iommu/verdict.rs has more than 500 lines: {long}"),
    ] {
        let (finding, line) = line.split_once(": ").unwrap();
        let mut spoiled = tree.clone();
        let file = finding.split(' ').next().unwrap();
        spoiled
            .get_mut(file)
            .unwrap()
            .push_str(&format!("\n{line}"));
        assert!(findings(&spoiled).contains(finding), "{file}: {line}");
    }
    let mut spoiled = tree.clone();
    spoiled.extend((0..=MOST_FILES).map(|n| (format!("window/{n}.rs"), String::new())));
    assert!(findings(&spoiled).contains("src/window has more than 14 files"));
}
