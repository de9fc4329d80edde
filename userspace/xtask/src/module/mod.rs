// SPDX-License-Identifier: GPL-2.0
//! Build pagemove.ko for a kernel, in the build root.

pub mod extra;
pub mod kdir;
pub mod ntb;
pub mod plugin;
pub mod selftests;
pub mod sign;
mod sync;
pub mod vendor;

use crate::place::Place;
use crate::report::Report;
use crate::root::image::Image;
use crate::root::BuildRoot;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which module a build makes and a test loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// What users get.
    Ship,
    /// One that can leave out a step, to see that its absence is noticed.
    Test,
}

impl Variant {
    pub fn name(self) -> &'static str {
        match self {
            Variant::Ship => "ship",
            Variant::Test => "test",
        }
    }

    /// Returns what make is told.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Variant::Ship => &[],
            Variant::Test => &["PAGEMOVE_TEST=1"],
        }
    }

    /// Returns where the module that was built for this kernel is put in the checkout.
    pub fn output(self, place: &Place, image: &Image) -> PathBuf {
        image.within(&place.build()).join(self.file())
    }

    fn file(self) -> &'static str {
        match self {
            Variant::Ship => "pagemove.ko",
            Variant::Test => "pagemove-test.ko",
        }
    }
}

/// Builds `variant` and returns where it is. Does nothing where nothing changed.
pub fn build(place: &Place, root: &BuildRoot, image: &Image, variant: Variant) -> Result<PathBuf> {
    let log = image
        .within(&place.build().join("logs"))
        .join(format!("module-{}.log", variant.name()));
    let mut report = Report::new("module", &log)?;
    vendor::ensure(place, &mut report)?;
    let inside = workshop(place, image).join(variant.name());
    let work = root.dir().join(&inside);
    copy_sources(place, &work)?;
    let output = variant.output(place, image);
    if is_newest(&output, &work.join("pagemove.ko"), &work)? {
        return Ok(output);
    }
    report.step(&format!(
        "building {} for {}",
        variant.file(),
        image.release
    ));
    let mut command = image.make_modules(&inside)?;
    report.run(command.args(variant.arguments()))?;
    let built = work.join("pagemove.ko");
    make_parent(&output)?;
    fs::copy(&built, &output).with_context(|| format!("copying {}", built.display()))?;
    report.done();
    Ok(output)
}

/// Makes a command that has clippy compile `variant`, beside what rustc compiles.
pub fn clippy(place: &Place, root: &BuildRoot, image: &Image, variant: Variant) -> Result<Command> {
    let log = place.build().join("logs/module-clippy.log");
    vendor::ensure(place, &mut Report::new("module", &log)?)?;
    let inside = clippy_dir(place, image, variant);
    copy_sources(place, &root.dir().join(&inside))?;
    let mut command = image.make_modules(&inside)?;
    command.arg("CLIPPY=1").args(variant.arguments());
    Ok(command)
}

/// Returns where clippy compiles `variant`, inside the build root.
pub fn clippy_dir(place: &Place, image: &Image, variant: Variant) -> PathBuf {
    workshop(place, image).join(format!("clippy-{}", variant.name()))
}

fn copy_sources(place: &Place, work: &Path) -> Result<()> {
    let crates: Vec<String> = vendor::CRATES
        .iter()
        .map(|name| format!("third_party/{name}/src"))
        .collect();
    let mut names = vec!["Kbuild", "src", "include"];
    names.extend(crates.iter().map(String::as_str));
    sync::copy(place.checkout(), &names, work)
}

/// Returns where modules of this checkout are built for `image`, inside the build root.
fn workshop(place: &Place, image: &Image) -> PathBuf {
    image.workshop(&workshops(place))
}

/// Returns where they are built for all kernels.
fn workshops(place: &Place) -> PathBuf {
    Path::new("build").join(format!("pagemove-{}", checkout_id(place)))
}

/// Removes what was built of this checkout inside the build root.
pub fn clean(place: &Place) -> Result<()> {
    let dir = place.root().join(workshops(place));
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn make_parent(file: &Path) -> Result<()> {
    let dir = file.parent().context("a file without a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))
}

/// Checkouts share the cache, each with a directory of its own in it.
pub fn checkout_id(place: &Place) -> String {
    let mut hasher = DefaultHasher::new();
    place.checkout().hash(&mut hasher);
    format!("{:08x}", hasher.finish() as u32)
}

/// Returns whether `output` is what was built, and younger than all sources. A signature may follow
/// in it. It may be of another kernel, where this one has become the default since.
fn is_newest(output: &Path, built: &Path, work: &Path) -> Result<bool> {
    let Ok(age) = fs::metadata(output).and_then(|data| data.modified()) else {
        return Ok(false);
    };
    let Ok(made) = fs::read(built) else {
        return Ok(false);
    };
    Ok(fs::read(output)?.starts_with(&made) && sync::all_older(work, age)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn only_what_was_built_last_is_newest() {
        let dir = tempfile::tempdir().unwrap();
        let [work, output, built] = ["work", "output", "built"].map(|name| dir.path().join(name));
        fs::create_dir_all(dir.path().join("from")).unwrap();
        fs::write(dir.path().join("from/Kbuild"), "").unwrap();
        sync::copy(&dir.path().join("from"), &["Kbuild"], &work).unwrap();
        let newest = || is_newest(&output, &built, &work).unwrap();
        let put = |text: &str| {
            fs::write(&output, text).unwrap();
            let later = SystemTime::now() + Duration::from_secs(5);
            let file = fs::File::options().write(true).open(&output).unwrap();
            file.set_modified(later).unwrap();
        };
        assert!(!newest());
        put("module");
        assert!(!newest());
        fs::write(&built, "module").unwrap();
        assert!(newest());
        put("module and its signature");
        assert!(newest());
        put("one of another kernel");
        assert!(!newest());
    }
}
