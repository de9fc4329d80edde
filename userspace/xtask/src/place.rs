// SPDX-License-Identifier: GPL-2.0
//! Where things lie: the checkout, what is built in it, and the cache that
//! outlives it.

use crate::root::series::Series;
use anyhow::{bail, Context, Result};
use std::env;
use std::path::{Path, PathBuf};

#[derive(Clone)]
pub struct Place {
    checkout: PathBuf,
    cache: PathBuf,
    series: Option<Series>,
}

impl Place {
    /// Finds the places. `cache` and `series` are the user's choice; without a cache it is the one that the
    /// XDG base directory specification names.
    pub fn find(cache: Option<PathBuf>, series: Option<Series>) -> Result<Self> {
        let cache = match cache {
            Some(dir) => dir,
            None => default_cache()?,
        };
        Ok(Self {
            checkout: find_checkout()?,
            cache,
            series,
        })
    }

    /// Makes one up, for tests.
    #[cfg(test)]
    pub fn made_up(checkout: PathBuf, cache: &Path) -> Self {
        Self {
            checkout,
            cache: cache.into(),
            series: None,
        }
    }

    /// Returns the same place, with another kernel.
    pub fn with_series(&self, series: Series) -> Self {
        Self {
            series: Some(series),
            ..self.clone()
        }
    }

    /// Returns the series of the kernel, if one was asked for.
    pub fn series(&self) -> Option<Series> {
        self.series
    }

    pub fn checkout(&self) -> &Path {
        &self.checkout
    }

    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Returns the root file system with the kernel, its tree and its tools.
    pub fn root(&self) -> PathBuf {
        self.cache.join("build-root")
    }

    /// Returns the directory of everything this checkout builds, but for what cargo builds.
    pub fn build(&self) -> PathBuf {
        self.checkout.join("build")
    }

    pub fn workspace(&self) -> PathBuf {
        self.checkout.join("userspace")
    }

    pub fn tests(&self) -> PathBuf {
        self.checkout.join("tests")
    }

    /// Returns where cargo puts what it builds from the workspace.
    pub fn target(&self) -> PathBuf {
        match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => self.checkout.join(dir),
            None => self.workspace().join("target"),
        }
    }
}

fn default_cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => {
            let home = env::var_os("HOME")
                .context("neither XDG_CACHE_HOME nor HOME is set: where is the cache?")?;
            Path::new(&home).join(".cache")
        }
    };
    Ok(base.join("pagemove"))
}

/// Returns the directory that holds userspace/xtask, found from where this was started.
/// The path that was compiled in would be wrong in a checkout that was moved.
fn find_checkout() -> Result<PathBuf> {
    let start = env::current_dir().context("the current directory is gone")?;
    for dir in start.ancestors() {
        if dir.join("userspace/xtask/Cargo.toml").is_file() {
            return Ok(dir.to_path_buf());
        }
    }
    bail!("{} is not inside a checkout of pagemove", start.display())
}
