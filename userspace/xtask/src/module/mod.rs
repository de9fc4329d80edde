// SPDX-License-Identifier: GPL-2.0
//! Build pagemove.ko for the stock kernel, in the build root.

pub mod extra;
pub mod kdir;
pub mod ntb;
pub mod rtm;
pub mod sign;
mod sync;
pub mod vendor;

use crate::place::Place;
use crate::report::Report;
use crate::root::{chroot, make, BuildRoot};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

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
    fn name(self) -> &'static str {
        match self {
            Variant::Ship => "ship",
            Variant::Test => "test",
        }
    }

    /// Where the built module is put in the checkout.
    pub fn output(self, place: &Place) -> PathBuf {
        place.build().join(match self {
            Variant::Ship => "pagemove.ko",
            Variant::Test => "pagemove-test.ko",
        })
    }
}

/// Build `variant` and return where it is. Does nothing where nothing changed.
pub fn build(place: &Place, root: &BuildRoot, variant: Variant) -> Result<PathBuf> {
    let log = place.build().join(format!("logs/module-{}.log", variant.name()));
    let mut report = Report::new("module", &log)?;
    vendor::ensure(place, &mut report)?;
    let inside = Path::new("build").join(format!("pagemove-{}", checkout_id(place))).join(variant.name());
    let work = root.dir().join(&inside);
    copy_sources(place, &work)?;
    let output = variant.output(place);
    if is_newest(&output, &work.join("pagemove.ko"), &work)? {
        return Ok(output);
    }
    chroot::need_root("building the module")?;
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    report.step(&format!("building {name} for {}", root.release()));
    let mut command = chroot::command(root.dir(), "make");
    command.arg("-C").arg(format!("/{}", make::tree())).args(make::make_arguments(root.release()));
    command.arg(format!("M=/{}", inside.display()));
    if variant == Variant::Test {
        command.arg("PAGEMOVE_TEST=1");
    }
    report.run(command.arg("modules"))?;
    let built = work.join("pagemove.ko");
    fs::copy(&built, &output).with_context(|| format!("copying {}", built.display()))?;
    report.done();
    Ok(output)
}

fn copy_sources(place: &Place, work: &Path) -> Result<()> {
    let crates: Vec<String> = vendor::CRATES.iter().map(|name| format!("third_party/{name}/src")).collect();
    let mut names = vec!["Kbuild", "src", "include"];
    names.extend(crates.iter().map(String::as_str));
    sync::copy(place.checkout(), &names, work)
}

/// Checkouts share the cache, each with a directory of its own in it.
fn checkout_id(place: &Place) -> String {
    let mut hasher = DefaultHasher::new();
    place.checkout().hash(&mut hasher);
    format!("{:08x}", hasher.finish() as u32)
}

/// Whether what was built, and copied to `output`, is younger than all sources.
fn is_newest(output: &Path, built: &Path, work: &Path) -> Result<bool> {
    let Ok(age) = fs::metadata(output).and_then(|data| data.modified()) else {
        return Ok(false);
    };
    if !built.exists() {
        return Ok(false);
    }
    sync::all_older(work, age)
}
