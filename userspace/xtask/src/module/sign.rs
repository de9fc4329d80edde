// SPDX-License-Identifier: GPL-2.0
//! `make sign KEY=... CERT=...`: sign the module, for machines whose firmware
//! lets only signed code in.

use crate::root::BuildRoot;
use anyhow::{bail, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// With this the kernel recognises a signed module (scripts/sign-file.c).
const MAGIC: &[u8] = b"~Module signature appended~\n";

pub fn sign(root: &BuildRoot, key: &Path, cert: &Path, ko: &Path) -> Result<()> {
    let key = existing(key, "KEY", "the private key, PEM")?;
    let cert = existing(cert, "CERT", "the certificate, PEM or DER")?;
    let ko = existing(ko, "KO", "the module; `make` builds it")?;
    let program = format!("{}/scripts/sign-file", root.tree());
    if !root.dir().join(&program).exists() {
        bail!(
            "{} is missing: `make build-root` makes it",
            root.dir().join(program).display()
        );
    }
    if fs::read(&ko)?.ends_with(MAGIC) {
        bail!(
            "{} is signed already: `make` builds it anew after `rm {0}`",
            ko.display()
        );
    }
    let status = root
        .tool(&program)
        .arg("sha256")
        .args([&key, &cert, &ko])
        .status()?;
    if !status.success() || !fs::read(&ko)?.ends_with(MAGIC) {
        bail!("sign-file could not sign {} ({status})", ko.display());
    }
    println!("signed {}", ko.display());
    Ok(())
}

fn existing(path: &Path, variable: &str, what: &str) -> Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("{variable}={} is missing ({what})", path.display()))
}
