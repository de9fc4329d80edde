// SPDX-License-Identifier: GPL-2.0
//! Which Debian mirror this machine uses. No mirror is built in: what apt is
//! configured to use is what can be reached and is meant to be used.

use super::pin;
use anyhow::{bail, Context, Result};
use std::fs;
use std::process::Command;

/// The line that `apt-get indextargets` prints for each list of packages.
const FORMAT: &str = "$(SITE)\t$(RELEASE)\t$(COMPONENT)\t$(ORIGIN)";

/// The mirror's address, and the options of apt with which it is reached.
#[derive(Debug)]
pub struct Mirror {
    pub site: String,
    pub options: Vec<String>,
}

impl Mirror {
    /// Finds a mirror. `chosen` is the user's choice, if there is one.
    pub fn find(chosen: Option<&str>) -> Result<Self> {
        let site = match chosen {
            Some(site) => site.trim_end_matches('/').to_string(),
            None => configured_site()?,
        };
        Ok(Self {
            site,
            options: options()?,
        })
    }

    /// Returns the lines of a sources.list for the build root.
    pub fn sources(&self) -> [String; 2] {
        [pin::SUITE, pin::BACKPORTS].map(|suite| format!("deb {} {suite} main", self.site))
    }
}

/// Returns the options of apt with which mirrors are reached.
pub fn options() -> Result<Vec<String>> {
    Ok(proxies(&output("apt-config", &["dump"])?))
}

fn configured_site() -> Result<String> {
    let list = || {
        output(
            "apt-get",
            &["indextargets", "--format", FORMAT, "Created-By: Packages"],
        )
    };
    let mut targets = list()?;
    if pick(&targets).is_none() {
        // apt names only what it has fetched, and origins are in what it fetches.
        output("apt-get", &["update"])?;
        targets = list()?;
    }
    match pick(&targets) {
        Some(site) => usable(site),
        None => bail!(
            "apt on this machine is not configured for a Debian mirror, and the build root is Debian {}: \
             name one with --mirror (make build-root MIRROR=...)",
            pin::SUITE
        ),
    }
}

/// Returns the site of the Debian archive itself among all configured ones: not security
/// updates, whose suites have a dash or a slash in their names.
fn pick(targets: &str) -> Option<&str> {
    let rows = targets
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let mut rows = rows.filter(|row| matches!(row[..], [_, _, "main", "Debian"]));
    rows.find(|row| !row[1].contains(['-', '/']))
        .map(|row| row[0])
}

/// Returns a mirror that the build root can use: apt's list-of-mirrors method reads a file that it
/// does not have: take the first mirror of it.
fn usable(site: &str) -> Result<String> {
    let Some(list) = site.strip_prefix("mirror+file:") else {
        return Ok(site.trim_end_matches('/').to_string());
    };
    let text =
        fs::read_to_string(list).with_context(|| format!("reading the list of mirrors {list}"))?;
    let first = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .find(|word| word.starts_with("http"));
    let first = first.with_context(|| format!("no mirror in {list}"))?;
    Ok(first.trim_end_matches('/').to_string())
}

/// Returns the proxies of a configuration as `apt-config dump` prints it.
fn proxies(dump: &str) -> Vec<String> {
    let keys = [
        "Acquire::http::Proxy",
        "Acquire::https::Proxy",
        "Acquire::ftp::Proxy",
    ];
    let named = |line: &&str| keys.iter().any(|key| line.starts_with(key));
    let set = |line: &&str| !line.ends_with("\"\";");
    dump.lines()
        .filter(named)
        .filter(set)
        .map(|line| line.trim_end_matches(';').to_string())
        .collect()
}

fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output();
    let output =
        output.with_context(|| format!("{program} is missing: the build root is made with apt"))?;
    if !output.status.success() {
        bail!(
            "{program} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
#[path = "mirror_tests.rs"]
mod tests;
