// SPDX-License-Identifier: GPL-2.0
//! `make sign KEY=... CERT=...`: sign the module, for machines whose firmware
//! lets only signed code in.

use crate::root::BuildRoot;
use anyhow::{bail, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// With this the kernel recognises a signed module (scripts/sign-file.c).
const MAGIC: &[u8] = b"~Module signature appended~\n";

/// Signs by the program of the build root.
pub fn sign(root: &BuildRoot, key: &Path, cert: &Path, ko: &Path) -> Result<()> {
    let program = format!("{}/scripts/sign-file", root.tree());
    if !root.dir().join(&program).exists() {
        bail!(
            "{} is missing: `make build-root` makes it",
            root.dir().join(program).display()
        );
    }
    sign_by(root.tool(&program), key, cert, ko)
}

/// Signs by the program of a kernel tree: each has it that modules can be built against.
pub fn sign_by_tree(kdir: &Path, key: &Path, cert: &Path, ko: &Path) -> Result<()> {
    let program = kdir.join("scripts/sign-file");
    let program = program.canonicalize().with_context(|| {
        format!(
            "{} is missing: `make -C {} modules_prepare` makes it where the kernel has \
             CONFIG_MODULE_SIG_FORMAT",
            program.display(),
            kdir.display()
        )
    })?;
    sign_by(Command::new(program), key, cert, ko)
}

fn sign_by(mut program: Command, key: &Path, cert: &Path, ko: &Path) -> Result<()> {
    let key = existing(key, "KEY", "the private key, PEM")?;
    let cert = existing(cert, "CERT", "the certificate, PEM or DER")?;
    let ko = existing(ko, "KO", "the module; `make` builds it")?;
    if fs::read(&ko)?.ends_with(MAGIC) {
        bail!(
            "{} is signed already: `make` builds it anew after `rm {0}`",
            ko.display()
        );
    }
    let status = program.arg("sha256").args([&key, &cert, &ko]).status()?;
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
