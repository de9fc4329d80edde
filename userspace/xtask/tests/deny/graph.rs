// SPDX-License-Identifier: GPL-2.0
//! The crates that a workspace is built from, as cargo tells them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Identified>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
}

#[derive(Deserialize)]
struct Identified {
    id: String,
    #[serde(flatten)]
    package: Package,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    /// None of our own.
    pub source: Option<String>,
    /// Registries that it may go to; none: to all.
    pub publish: Option<Vec<String>>,
    pub dependencies: Vec<Dependency>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Dependency {
    pub name: String,
    pub req: String,
    pub path: Option<String>,
}

impl Package {
    /// Returns whether it is published nowhere.
    pub fn is_private(&self) -> bool {
        self.source.is_none() && self.publish.as_ref().is_some_and(Vec::is_empty)
    }
}

impl Dependency {
    pub fn is_of_any_version(&self) -> bool {
        self.req == "*" && self.path.is_none()
    }
}

/// Returns the packages that a workspace is built from on these targets.
pub fn packages(folder: &Path, targets: &[String]) -> Vec<Package> {
    // What is built has been fetched; where nothing of it was yet, it is now.
    let mut output = metadata(folder, targets, true);
    if !output.status.success() {
        output = metadata(folder, targets, false);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", folder.display());
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    let ids: BTreeSet<String> = metadata
        .resolve
        .nodes
        .into_iter()
        .map(|node| node.id)
        .collect();
    let used = metadata
        .packages
        .into_iter()
        .filter(|it| ids.contains(&it.id));
    used.map(|it| it.package).collect()
}

fn metadata(folder: &Path, targets: &[String], is_offline: bool) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--manifest-path",
        ])
        .arg(folder.join("Cargo.toml"));
    for target in targets {
        command.args(["--filter-platform", target]);
    }
    if is_offline {
        command.arg("--offline");
    }
    command.output().expect("cargo runs")
}
