// SPDX-License-Identifier: GPL-2.0
//! The crates that are linked into the module, as source, in third_party/: the
//! versions that the workspace's Cargo.lock pins, checked against its checksums.

use crate::place::Place;
use crate::report::Report;
use anyhow::{bail, Context, Result};
use serde::Deserialize;
use std::fs;
use std::process::Command;

/// Crates of the registry that Kbuild compiles.
pub const CRATES: [&str; 4] = ["bitflags", "static_assertions", "memoffset", "spin"];

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    /// Where it comes from; our own crates come from nowhere.
    source: Option<String>,
    /// "NAME", or "NAME VERSION" where there are several versions.
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Lock {
    /// Returns the version of `name` that our own crates use.
    fn version(&self, name: &str) -> Result<&str> {
        let own = self
            .package
            .iter()
            .filter(|package| package.source.is_none());
        let used: Vec<&String> = own.flat_map(|package| &package.dependencies).collect();
        let is_used = |version: &str| {
            used.iter()
                .any(|d| **d == name || **d == format!("{name} {version}"))
        };
        let all = self
            .package
            .iter()
            .filter(|package| package.name == name && is_used(&package.version));
        match all
            .map(|package| package.version.as_str())
            .collect::<Vec<_>>()[..]
        {
            [version] => Ok(version),
            ref several => bail!(
                "our crates use {} versions of {name}: the module is linked with one",
                several.len()
            ),
        }
    }
}

/// Fills third_party/, unless it holds just these versions.
pub fn ensure(place: &Place, report: &mut Report) -> Result<()> {
    let lock_path = place.workspace().join("Cargo.lock");
    let lock = fs::read_to_string(&lock_path)
        .with_context(|| format!("reading {}", lock_path.display()))?;
    let manifest = manifest(&lock)?;
    let target = place.checkout().join("third_party");
    let stamp = target.join("vendored-from.toml");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == manifest) {
        return Ok(());
    }
    report.step("fetching the crates for the module");
    // A package of its own: the workspace would bring in all that the tools need.
    let package = place.build().join("vendor");
    fs::create_dir_all(&package)?;
    fs::write(package.join("Cargo.toml"), &manifest)?;
    fs::write(package.join("lib.rs"), "")?;
    fs::write(package.join("Cargo.lock"), &lock)?;
    let mut command = Command::new("cargo");
    command
        .args(["vendor", "--quiet", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .arg(&target);
    report.run(&mut command)?;
    fs::write(stamp, manifest)?;
    Ok(())
}

/// Returns a manifest that depends on exactly the locked versions.
fn manifest(lock: &str) -> Result<String> {
    let lock: Lock = toml::from_str(lock).context("Cargo.lock can not be read")?;
    let mut text = String::from(
        "[package]\nname = \"vendor\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\
         [lib]\npath = \"lib.rs\"\n[workspace]\n[dependencies]\n",
    );
    for name in CRATES {
        text += &format!(
            "{name} = {{ version = \"={}\", default-features = false }}\n",
            lock.version(name)?
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a lock file with each crate at 1.2.3 and `extra`, used by one crate of ours.
    fn lock(uses: &[&str], extra: &str) -> String {
        let package =
            |name| format!("[[package]]\nname = \"{name}\"\nversion = \"1.2.3\"\nsource = \"r\"\n");
        let ours =
            format!("[[package]]\nname = \"ours\"\nversion = \"0.1.0\"\ndependencies = {uses:?}\n");
        CRATES.map(package).concat() + &ours + extra
    }

    const OLD_BITFLAGS: &str =
        "[[package]]\nname = \"bitflags\"\nversion = \"0.9.0\"\nsource = \"r\"\n";

    #[test]
    fn exact_versions_are_asked_for() {
        let text = manifest(&lock(&CRATES, "")).unwrap();
        assert_eq!(text.matches("\"=1.2.3\"").count(), CRATES.len());
        assert!(!text.contains("ours"));
    }

    #[test]
    fn a_version_that_only_others_use_does_not_matter() {
        let uses = ["bitflags 1.2.3", "static_assertions", "memoffset", "spin"];
        let text = manifest(&lock(&uses, OLD_BITFLAGS)).unwrap();
        assert!(text.contains("bitflags = { version = \"=1.2.3\""), "{text}");
    }

    #[test]
    fn two_versions_of_our_own_are_refused() {
        let uses = [
            "bitflags 1.2.3",
            "bitflags 0.9.0",
            "static_assertions",
            "memoffset",
            "spin",
        ];
        let error = manifest(&lock(&uses, OLD_BITFLAGS)).unwrap_err();
        assert!(
            error.to_string().contains("2 versions of bitflags"),
            "{error}"
        );
    }
}
