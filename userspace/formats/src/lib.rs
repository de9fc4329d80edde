// SPDX-License-Identifier: GPL-2.0
//! What Linux says about page-table entries: its own format headers, compiled for
//! user space from a kernel's source tree, answer questions. Only for tests, which
//! compare the engine's answers with these.

mod headers;
mod oracle;

pub use headers::{Edit, SOURCE_VARIABLE};
pub use oracle::{Constants, Kind, Leaf, Oracle};

use anyhow::{Context, Result};
use std::path::PathBuf;

/// The kernel's source tree, as the environment names it.
pub fn kernel_source() -> Result<PathBuf> {
    let tree = std::env::var_os(SOURCE_VARIABLE).filter(|value| !value.is_empty());
    let tree = tree.with_context(|| {
        format!("{SOURCE_VARIABLE} is not set: run `make check T=host-formats`")
    })?;
    Ok(PathBuf::from(tree))
}
