// SPDX-License-Identifier: GPL-2.0
//! What the file says, and what is not so.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::graph::Package;

/// The only answer of those that cargo-deny knows which this test enforces.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Deny {
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Warn {
    Warn,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    pub graph: Graph,
    licenses: Licenses,
    #[allow(dead_code, reason = "it has one value, which is enforced")]
    bans: Bans,
    #[allow(dead_code, reason = "it has one value, which is enforced")]
    sources: Sources,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    pub targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Licenses {
    private: Private,
    allow: Vec<String>,
    #[allow(dead_code, reason = "it has one value, which is enforced")]
    unused_allowed_license: Deny,
    include_dev: bool,
    exceptions: Vec<Exception>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Private {
    ignore: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(dead_code, reason = "each has one value, which is enforced")]
struct Bans {
    multiple_versions: Warn,
    wildcards: Deny,
    allow_wildcard_paths: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(dead_code, reason = "each has one value, which is enforced")]
struct Sources {
    unknown_registry: Deny,
    unknown_git: Deny,
}

impl Rules {
    /// Reads them. What is not enforced here is an error.
    pub fn read(text: &str) -> Result<Self, String> {
        let rules: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let licenses = &rules.licenses;
        match licenses.private.ignore && licenses.include_dev && rules.bans.allow_wildcard_paths {
            true => Ok(rules),
            false => Err("what tests need is looked at, and our own crates are not".to_string()),
        }
    }

    /// Returns what is wrong, a line each.
    pub fn findings(&self, packages: &[Package]) -> Vec<String> {
        let mut found = BTreeSet::new();
        let mut used = BTreeSet::new();
        for package in packages {
            let mut add = |what: String| {
                found.insert(format!("{} {}: {what}", package.name, package.version));
            };
            if !package.is_private() {
                if let Err(what) = self.check_license(package, &mut used) {
                    add(what);
                }
            }
            match &package.source {
                Some(source) if !is_from_registry(source) => add(format!("source {source}")),
                _ => {}
            }
            let of_any = package
                .dependencies
                .iter()
                .filter(|it| it.is_of_any_version());
            of_any.for_each(|it| add(format!("any version of {}", it.name)));
        }
        for license in &self.licenses.allow {
            if !used.contains(license) {
                found.insert(format!("{license} is allowed, and no crate has it"));
            }
        }
        for exception in &self.licenses.exceptions {
            if !packages
                .iter()
                .any(|package| package.name == exception.name)
            {
                found.insert(format!(
                    "the exception for {} is for nobody",
                    exception.name
                ));
            }
        }
        found.into_iter().collect()
    }

    /// Checks a license, and adds those of the allowed ones that it names.
    fn check_license(&self, package: &Package, used: &mut BTreeSet<String>) -> Result<(), String> {
        let text = package.license.as_deref().ok_or("no license")?;
        let wrong = || format!("license {text}");
        // Older crates have "MIT/Apache-2.0".
        let expression = Expression::parse_mode(text, ParseMode::LAX).map_err(|_| wrong())?;
        let exceptions = self.licenses.exceptions.iter();
        let own: Vec<&String> = exceptions
            .filter(|exception| exception.name == package.name)
            .flat_map(|exception| &exception.allow)
            .collect();
        let is_allowed = expression.evaluate(|requirement| {
            let name = requirement.to_string();
            if self.licenses.allow.contains(&name) {
                used.insert(name.clone());
                return true;
            }
            own.contains(&&name)
        });
        is_allowed.then_some(()).ok_or_else(wrong)
    }

    /// Returns what could be better: crates of several versions.
    pub fn warnings(&self, packages: &[Package]) -> Vec<String> {
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in packages {
            versions
                .entry(&package.name)
                .or_default()
                .insert(&package.version);
        }
        let several = versions.into_iter().filter(|(_, all)| all.len() > 1);
        several
            .map(|(name, all)| {
                format!("{name}: {}", all.into_iter().collect::<Vec<_>>().join(", "))
            })
            .collect()
    }
}

/// Returns whether a crate is from the registry that cargo has by itself, as it writes that down.
fn is_from_registry(source: &str) -> bool {
    let registry = source.strip_prefix("registry+");
    let registry = registry.or_else(|| source.strip_prefix("sparse+"));
    registry.is_some_and(|name| name.ends_with("/crates.io-index"))
}
