// SPDX-License-Identifier: GPL-2.0
//! Build selftests of the kernel's own, from its source tree and by their own makefiles, as static
//! programs for the guest. Nothing is written into that tree.

use super::{is_newest, make_parent, sync, workshop};
use crate::place::Place;
use crate::report::Report;
use crate::root::image::Image;
use crate::root::{chroot, BuildRoot};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::sync::Mutex;

/// What they need and the build root does not have.
const OURS: &str = "tests/kernel";
/// Where they are in the kernel's tree.
const SELFTESTS: &str = "tools/testing/selftests";
/// The directory of those of VFIO.
const VFIO: &str = "vfio";

/// A program: "vfio/vfio_pci_device_test".
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Selftest {
    directory: String,
    program: String,
}

impl FromStr for Selftest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |part: &&str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        match text.split('/').collect::<Vec<_>>()[..] {
            [directory, program] if plain(&directory) && plain(&program) => Ok(Self {
                directory: directory.to_string(),
                program: program.to_string(),
            }),
            _ => Err(format!(
                "{text:?} is no DIRECTORY/PROGRAM of the kernel's selftests"
            )),
        }
    }
}

impl TryFrom<String> for Selftest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Where things are while programs are built for one kernel.
struct Workshop<'a> {
    root: &'a BuildRoot,
    /// Inside the build root.
    inside: PathBuf,
    report: Report,
}

/// Builds those of `wanted` that this kernel's tree has, and returns where they are. Does nothing
/// where nothing changed.
///
/// One at a time: tests that run side by side may need the same program.
pub fn build(
    place: &Place,
    root: &BuildRoot,
    image: &Image,
    wanted: &[Selftest],
) -> Result<Vec<PathBuf>> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = BUILDING.lock().unwrap_or_else(|broken| broken.into_inner());
    let inside = workshop(place, image).join("selftests");
    let work = root.dir().join(&inside);
    sync::copy(place.checkout(), &[OURS], &work)?;
    let source = root.dir().join(root.tree()).join(SELFTESTS);
    let (mut outputs, mut missing) = (Vec::new(), Vec::new());
    for test in wanted {
        let file = source.join(&test.directory).join(&test.program);
        if !file.with_extension("c").is_file() {
            continue;
        }
        let built = work.join(&test.directory).join(&test.program);
        let output = image
            .within(&place.build())
            .join("selftests")
            .join(&test.program);
        if !is_newest(&output, &built, &work)? {
            missing.push((test, built, output.clone()));
        }
        outputs.push(output);
    }
    if missing.is_empty() {
        return Ok(outputs);
    }
    chroot::need_root("building the kernel's selftests")?;
    let log = image
        .within(&place.build().join("logs"))
        .join("selftests.log");
    let report = Report::new("selftests", &log)?;
    let mut workshop = Workshop {
        root,
        inside,
        report,
    };
    workshop.headers(&image.release)?;
    workshop.hooks()?;
    for (test, built, output) in &missing {
        // Make does not know of what is linked into it.
        let _ = fs::remove_file(built);
        workshop.program(test)?;
        make_parent(output)?;
        fs::copy(built, output).with_context(|| format!("copying {}", built.display()))?;
    }
    workshop.report.done();
    Ok(outputs)
}

impl Workshop<'_> {
    /// Returns a path of the workshop as it is seen from inside the build root.
    fn path(&self, name: &str) -> String {
        format!("/{}", self.inside.join(name).display())
    }

    fn make(&self, directory: &Path) -> Command {
        let mut command = chroot::command(self.root.dir(), "make");
        let count = std::thread::available_parallelism().map_or(1, |count| count.get());
        command
            .arg("-C")
            .arg(Path::new("/").join(directory))
            .arg(format!("-j{count}"));
        command
    }

    /// Makes the header files that this kernel has for programs, once.
    fn headers(&mut self, release: &str) -> Result<()> {
        let made = self.root.dir().join(&self.inside).join("headers.made");
        if fs::read_to_string(&made).is_ok_and(|text| text == release) {
            return Ok(());
        }
        self.report.step("the kernel's headers for its selftests");
        let mut command = self.make(Path::new(&self.root.tree()));
        command.arg(format!("O={}", self.path("headers")));
        self.report.run(command.args(["ARCH=x86", "headers"]))?;
        fs::write(&made, release).with_context(|| format!("writing {}", made.display()))
    }

    /// Compiles what is linked into the selftests of VFIO.
    fn hooks(&mut self) -> Result<()> {
        let mut command = chroot::command(self.root.dir(), "gcc");
        command
            .args(["-O2", "-Wall", "-Werror", "-c", "-o"])
            .args([self.path("hooks.o"), self.path(&format!("{OURS}/hooks.c"))]);
        self.report.run(&mut command)
    }

    fn program(&mut self, test: &Selftest) -> Result<()> {
        let Selftest { directory, program } = test;
        self.report.step(&format!("building {program}"));
        let output = self.path(directory);
        let source = Path::new(&self.root.tree()).join(SELFTESTS).join(directory);
        let mut flags = format!("USERCFLAGS=-I{}", self.path(OURS));
        let mut objects = String::new();
        if directory == VFIO {
            flags += &format!(" -include {}", self.path(&format!("{OURS}/allocate.h")));
            objects = format!("{} -Wl,--wrap=poll", self.path("hooks.o"));
        }
        let mut command = self.make(&source);
        // Their makefiles would link libuuid.
        command.args([
            format!("OUTPUT={output}"),
            format!(
                "KHDR_INCLUDES=-isystem {}",
                self.path("headers/usr/include")
            ),
            flags,
            "USERLDFLAGS=-static".to_string(),
            format!("LDLIBS={objects}"),
            format!("{output}/{program}"),
        ]);
        fs::create_dir_all(self.root.dir().join(&self.inside).join(directory))?;
        self.report.run(&mut command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selftest_is_a_directory_and_a_program() {
        let test: Selftest = "vfio/vfio_pci_device_test".parse().unwrap();
        assert_eq!(test.directory, "vfio");
        assert_eq!(test.program, "vfio_pci_device_test");
        for wrong in ["", "vfio", "vfio/", "/x", "a/b/c", "../x", "vfio/x y"] {
            assert!(wrong.parse::<Selftest>().is_err(), "{wrong}");
        }
    }
}
