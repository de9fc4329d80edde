// SPDX-License-Identifier: GPL-2.0
//! What `userspace/deny.toml` says of the crates of others holds: their licenses, where they come from, what they
//! ask for. The file is cargo-deny's, whose own dependencies are more than all of ours and want a newer compiler; so what is
//! used of it is enforced here, and no member is taken that is not.

mod graph;
mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use graph::Package;
use rules::Rules;

/// Folders that hold what was built, or somebody else's.
const NOT_OURS: [&str; 4] = [".git", "build", "target", "third_party"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rules() -> String {
    fs::read_to_string(repository().join("userspace/deny.toml")).unwrap()
}

/// Returns the folders of all workspaces.
fn workspaces() -> Vec<PathBuf> {
    fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() && !NOT_OURS.contains(&name.as_str()) {
                visit(&entry.path(), found);
            }
        }
        let manifest = fs::read_to_string(folder.join("Cargo.toml"));
        let begins = |line: &str| line.starts_with("[workspace]");
        if manifest.is_ok_and(|text| text.lines().any(begins)) {
            found.push(folder.to_path_buf());
        }
    }
    let mut found = Vec::new();
    visit(&repository(), &mut found);
    found
}

/// Returns the packages of each workspace.
fn packages(rules: &Rules) -> Vec<Vec<Package>> {
    let workspaces = workspaces();
    assert!(workspaces.len() >= 2, "{workspaces:?}");
    let of = |folder: &PathBuf| graph::packages(folder, &rules.graph.targets);
    workspaces.iter().map(of).collect()
}

#[test]
fn every_crate_is_as_the_rules_say() {
    let rules = Rules::read(&rules()).unwrap();
    let workspaces = packages(&rules);
    for warning in workspaces
        .iter()
        .flat_map(|packages| rules.warnings(packages))
    {
        println!("warning: {warning}");
    }
    let findings = rules.findings(&workspaces.concat());
    let list: String = findings
        .iter()
        .map(|line| format!("\n    {line}"))
        .collect();
    assert!(findings.is_empty(), "{list}");
}

#[test]
fn the_crates_in_the_module_are_among_them() {
    let rules = Rules::read(&rules()).unwrap();
    let packages = packages(&rules).concat();
    let names: BTreeSet<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let kbuild = fs::read_to_string(repository().join("Kbuild")).unwrap();
    let linked: BTreeSet<&str> = kbuild
        .split_whitespace()
        .filter_map(|word| {
            word.strip_prefix("third_party/")?
                .strip_suffix("/src/lib.o")
        })
        .collect();
    assert!(linked.len() >= 4, "{linked:?}");
    assert!(linked.is_subset(&names), "{linked:?}");
}

/// A crate of somebody else's with nothing wrong.
fn package(name: &str, license: &str) -> Package {
    Package {
        name: name.to_string(),
        version: "1.0.0".to_string(),
        license: Some(license.to_string()),
        source: Some("registry+https://example.org/crates.io-index".to_string()),
        publish: None,
        dependencies: Vec::new(),
    }
}

const SPOILED: &str = r#"
[graph]
targets = ["x86_64-unknown-linux-gnu"]
[licenses]
private = { ignore = true }
allow = ["MIT", "Zlib"]
unused-allowed-license = "deny"
include-dev = true
exceptions = [{ crate = "odd", allow = ["Apache-2.0"] }]
[bans]
multiple-versions = "warn"
wildcards = "deny"
allow-wildcard-paths = true
[sources]
unknown-registry = "deny"
unknown-git = "deny"
"#;

#[test]
fn one_spoiled_crate_is_found() {
    let rules = Rules::read(SPOILED).unwrap();
    let fine = || {
        vec![
            package("odd", "Apache-2.0"),
            package("good", "GPL-3.0-only OR MIT"),
            package("old", "MIT/Apache-2.0"),
            package("both", "MIT AND Zlib"),
        ]
    };
    assert_eq!(rules.findings(&fine()), [""; 0]);
    let found = |spoil: &dyn Fn(&mut Vec<Package>)| {
        let mut packages = fine();
        spoil(&mut packages);
        rules.findings(&packages).join("; ")
    };
    type Spoil = fn(&mut Vec<Package>);
    let spoils: [(&str, Spoil); 10] = [
        ("bad 1.0.0: license GPL-3.0-only", |all| {
            all.push(package("bad", "GPL-3.0-only"))
        }),
        ("bad 1.0.0: license MIT AND Apache-2.0", |all| {
            all.push(package("bad", "MIT AND Apache-2.0"))
        }),
        ("bad 1.0.0: license Apache-2.0", |all| {
            all.push(package("bad", "Apache-2.0"))
        }),
        ("bad 1.0.0: license My own", |all| {
            all.push(package("bad", "My own"))
        }),
        ("old 1.0.0: no license", |all| all[2].license = None),
        ("old 1.0.0: source git+https://example.org/x", |all| {
            all[2].source = Some("git+https://example.org/x".to_string())
        }),
        (
            "old 1.0.0: source registry+https://example.org/others",
            |all| all[2].source = Some("registry+https://example.org/others".to_string()),
        ),
        ("old 1.0.0: any version of x", |all| {
            all[2].dependencies = vec![graph::Dependency {
                name: "x".to_string(),
                req: "*".to_string(),
                path: None,
            }]
        }),
        ("Zlib is allowed, and no crate has it", |all| {
            all.pop();
        }),
        ("the exception for odd is for nobody", |all| {
            all.remove(0);
        }),
    ];
    for (expected, spoil) in spoils {
        let found = found(&spoil);
        assert!(
            found.contains(expected),
            "{found:?} instead of {expected:?}"
        );
    }
    // Ours are published nowhere, and depend on each other by path.
    let mut ours = package("ours", "GPL-2.0");
    ours.source = None;
    ours.publish = Some(Vec::new());
    ours.dependencies = vec![graph::Dependency {
        name: "x".to_string(),
        req: "*".to_string(),
        path: Some("../x".to_string()),
    }];
    let mut packages = fine();
    packages.push(ours.clone());
    assert_eq!(rules.findings(&packages), [""; 0]);
    ours.publish = None;
    packages.push(ours);
    assert_eq!(rules.findings(&packages), ["ours 1.0.0: license GPL-2.0"]);
}

#[test]
fn several_versions_are_a_warning() {
    let rules = Rules::read(SPOILED).unwrap();
    let mut packages = vec![
        package("a", "MIT"),
        package("a", "MIT"),
        package("b", "MIT"),
    ];
    assert_eq!(rules.warnings(&packages), [""; 0]);
    packages[1].version = "2.0.0".to_string();
    assert_eq!(rules.warnings(&packages), ["a: 1.0.0, 2.0.0"]);
}

#[test]
fn no_rule_is_taken_that_is_not_enforced() {
    for (from, to) in [
        ("[sources]", "[sources]\nallow-git = []"),
        ("[sources]", "[advisories]\n[sources]"),
        ("unknown-git = \"deny\"", "unknown-git = \"allow\""),
        ("wildcards = \"deny\"", "wildcards = \"warn\""),
        ("ignore = true", "ignore = false"),
        ("include-dev = true", "include-dev = false"),
    ] {
        assert!(SPOILED.contains(from));
        assert!(Rules::read(&SPOILED.replace(from, to)).is_err(), "{to}");
    }
}
