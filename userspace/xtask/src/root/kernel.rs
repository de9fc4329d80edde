// SPDX-License-Identifier: GPL-2.0
//! Which kernel to take: the newest patch level of a series of which
//! every package is on the mirror. Several are there at a time, old ones go, and
//! a new one may be there in part.

use super::pin;
use super::series::Series;
use std::collections::BTreeSet;

/// Packages of one kernel, named PREFIX-RELEASE. The first holds the
/// configuration and the exported symbols, the next the image and the modules.
const PARTS: [&str; 4] = [
    "linux-headers",
    "linux-binary",
    "linux-modules",
    "linux-base",
];

#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    pub series: Series,
    /// What `uname -r` prints.
    pub release: String,
    /// Of the packages.
    pub version: String,
}

impl Kernel {
    /// Returns what apt-get is to download.
    pub fn packages(&self) -> Vec<String> {
        let parts = PARTS.iter().map(|part| format!("{part}-{}", self.release));
        let names = parts.chain([source_package(self.series)]);
        names
            .map(|name| format!("{name}={}", self.version))
            .collect()
    }
}

pub fn source_package(series: Series) -> String {
    format!("linux-source-{}", series.name())
}

/// The mirror has no kernel of this series with all that belongs to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Incomplete {
    series: Series,
    releases: Vec<String>,
}

impl std::fmt::Display for Incomplete {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (series, flavour) = (self.series.name(), pin::FLAVOUR);
        write!(f, "the mirror has no ")?;
        match self.releases[..] {
            [] => write!(f, "kernel {series}.x{flavour}"),
            _ => {
                let parts = self.releases.join(", ");
                write!(
                    f,
                    "complete kernel {series}.x{flavour}, parts only of {parts}"
                )
            }
        }
    }
}

impl std::error::Error for Incomplete {}

/// Returns the releases of the series, from all names of packages.
pub fn releases(series: Series, names: &str) -> Vec<String> {
    let prefix = format!("{}-", PARTS[0]);
    let releases = names
        .lines()
        .filter_map(|name| name.trim().strip_prefix(&prefix));
    let mut found: Vec<(u32, String)> = releases
        .filter_map(|r| Some((patch_level(series, r)?, r.to_string())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, release)| release).collect()
}

/// Returns 12 of "7.2.12+deb13-amd64", and nothing for another series or flavour.
fn patch_level(series: Series, release: &str) -> Option<u32> {
    let rest = release.strip_prefix(series.name())?.strip_prefix('.')?;
    rest.strip_suffix(pin::FLAVOUR)?.parse().ok()
}

/// Returns every package that the choice depends on, for `apt-cache madison`.
pub fn candidates(series: Series, releases: &[String]) -> Vec<String> {
    let parts = releases
        .iter()
        .flat_map(|release| PARTS.map(|part| format!("{part}-{release}")));
    parts.chain([source_package(series)]).collect()
}

/// Returns the newest of `releases` (in ascending order) that is complete, from the
/// table "package | version | where" that `apt-cache madison` prints.
pub fn choose(series: Series, releases: &[String], madison: &str) -> Result<Kernel, Incomplete> {
    let source = source_package(series);
    let mut there = BTreeSet::new();
    for line in madison.lines() {
        let mut cells = line.split('|').map(str::trim);
        if let (Some(package), Some(version)) = (cells.next(), cells.next()) {
            there.insert((package, version));
        }
    }
    let complete = |release: &String| {
        let headers = format!("{}-{release}", PARTS[0]);
        let mut versions = there.iter().filter(|row| row.0 == headers).map(|row| row.1);
        let whole = |version: &&str| {
            let part =
                |part: &&str| there.contains(&(format!("{part}-{release}").as_str(), *version));
            PARTS.iter().all(part) && there.contains(&(source.as_str(), *version))
        };
        let version = versions.rfind(whole)?;
        Some(Kernel {
            series,
            release: release.clone(),
            version: version.to_string(),
        })
    };
    let found = releases.iter().rev().find_map(complete);
    found.ok_or_else(|| Incomplete {
        series,
        releases: releases.to_vec(),
    })
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
