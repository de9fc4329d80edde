// SPDX-License-Identifier: GPL-2.0
//! `make KDIR=...`: build in place against a kernel tree of the user, with the
//! machine's own tools.

use super::vendor;
use crate::place::Place;
use crate::report::Report;
use anyhow::{bail, Context, Result};
use std::path::Path;
use std::process::Command;

/// What a Rust module needs of a kernel tree, and which target of the tree's
/// Makefile makes it.
const NEEDED: [(&str, &str); 9] = [
    ("Makefile", ""),
    (".config", "olddefconfig"),
    ("include/config/auto.conf", "modules_prepare"),
    ("include/generated/autoconf.h", "modules_prepare"),
    ("include/generated/rustc_cfg", "modules_prepare"),
    ("scripts/target.json", "modules_prepare"),
    ("rust/libmacros.so", "modules_prepare"),
    ("rust/libkernel.rmeta", "modules_prepare"),
    ("Module.symvers", "modules"),
];

/// Returns why `kdir` can not be built against, or nothing.
fn complaint(kdir: &Path) -> Option<String> {
    let shown = kdir.display();
    let (file, target) = NEEDED.iter().find(|(file, _)| !kdir.join(file).exists())?;
    if target.is_empty() {
        return Some(format!(
            "{shown} is no kernel tree: {shown}/{file} is missing"
        ));
    }
    let help = if file.starts_with("rust/")
        || file.contains("rust")
        || file.ends_with("target.json")
    {
        "\nA package of kernel headers alone has no Rust metadata: that takes the source of the same kernel \
         with its .config (CONFIG_RUST=y), and the rustc and bindgen that built it.\n\
         To build for Debian's stock kernel instead, leave out KDIR: `make`."
    } else {
        ""
    };
    Some(format!(
        "{shown}/{file} is missing. This makes it:\n    make -C {shown} {target}{help}"
    ))
}

pub fn build(place: &Place, kdir: &Path, test: bool) -> Result<()> {
    let kdir = kdir
        .canonicalize()
        .with_context(|| format!("KDIR={}: no such directory", kdir.display()))?;
    if let Some(text) = complaint(&kdir) {
        bail!("{text}");
    }
    let mut report = Report::new("module", &place.build().join("logs/module-kdir.log"))?;
    vendor::ensure(place, &mut report)?;
    report.step(&format!("building pagemove.ko against {}", kdir.display()));
    let mut command = Command::new("make");
    command
        .arg("-C")
        .arg(&kdir)
        .arg(format!("M={}", place.checkout().display()));
    if test {
        command.arg("PAGEMOVE_TEST=1");
    }
    report.run(command.arg("modules"))?;
    report.done();
    println!("{}", place.checkout().join("pagemove.ko").display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_missing_file_and_its_command_are_named() {
        let dir = std::env::temp_dir().join(format!("pagemove-kdir-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        for (file, target) in NEEDED {
            let text = complaint(&dir).unwrap();
            assert!(text.contains(&format!("/{file} is missing")), "{text}");
            assert!(
                text.contains(&format!("make -C {} {target}", dir.display())) || target.is_empty(),
                "{text}"
            );
            fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
            fs::write(dir.join(file), "").unwrap();
        }
        assert_eq!(complaint(&dir), None);
        fs::remove_dir_all(dir).unwrap();
    }
}
