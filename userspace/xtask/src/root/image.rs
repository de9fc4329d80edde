// SPDX-License-Identifier: GPL-2.0
//! A kernel that VMs boot and modules are built for: Debian's, or one that looks for
//! mistakes and is built from the same source.

use super::series::Series;
use super::{chroot, debug, make, BuildRoot};
use crate::place::Place;
use crate::root::chroot::need_root;
use anyhow::Result;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// What Debian's users run.
    #[default]
    Stock,
    /// KASAN, lockdep, kmemleak, fault injection, KCOV: tests/debug/kasan.config.
    Kasan,
    /// Races between CPUs: tests/debug/kcsan.config.
    Kcsan,
}

impl Flavour {
    pub fn name(self) -> &'static str {
        match self {
            Flavour::Stock => "stock",
            Flavour::Kasan => "kasan",
            Flavour::Kcsan => "kcsan",
        }
    }

    /// Returns words for the kernel's command line.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Flavour::Stock => &[],
            // With five levels of page tables KASAN asks a CPU feature where its shadow is, and
            // identify_cpu() clears the features for a moment: an interrupt that comes then is
            // reported as a wild access (seen on 7.2.12 under TCG).
            Flavour::Kasan | Flavour::Kcsan => &["no5lvl", "tsc=reliable"],
        }
    }

    /// Returns how many times as long as on the stock kernel a test may take. Measured under TCG:
    /// what uses the CPUs takes 3 to 5 times as long.
    pub fn patience(self) -> u64 {
        match self {
            Flavour::Stock => 1,
            Flavour::Kasan | Flavour::Kcsan => 6,
        }
    }
}

#[derive(Debug)]
pub struct Image {
    pub flavour: Flavour,
    /// What `uname -r` prints.
    pub release: String,
    pub vmlinuz: PathBuf,
    /// Where modules.order is, and what it lists.
    pub modules: PathBuf,
    /// Whether the modules' files are packed.
    pub packed: bool,
    series: Series,
    /// Whether it is of the series that is taken where none is asked for.
    is_default: bool,
    /// The build root.
    root: PathBuf,
    /// Inside the build root: where make is started, and what it is told.
    tree: String,
    arguments: Vec<String>,
}

impl Image {
    pub fn stock(root: &BuildRoot) -> Self {
        let modules = root.modules();
        Self {
            flavour: Flavour::Stock,
            release: root.release().to_string(),
            vmlinuz: modules.join("vmlinuz"),
            modules,
            packed: true,
            series: root.series(),
            is_default: root.is_default(),
            root: root.dir().to_path_buf(),
            tree: root.tree(),
            arguments: make::make_arguments(root.release()),
        }
    }

    /// Returns a kernel that was built in `tree` of the build root.
    pub fn built(
        root: &BuildRoot,
        flavour: Flavour,
        release: &str,
        tree: String,
        arguments: Vec<String>,
    ) -> Self {
        let dir = root.dir().join(&tree);
        Self {
            flavour,
            release: release.to_string(),
            vmlinuz: dir.join("arch/x86/boot/bzImage"),
            modules: dir,
            packed: false,
            series: root.series(),
            is_default: root.is_default(),
            root: root.dir().to_path_buf(),
            tree,
            arguments,
        }
    }

    /// Returns the kernel of this flavour, built if it is not there.
    pub fn ensure(place: &Place, root: &BuildRoot, flavour: Flavour) -> Result<Self> {
        match flavour {
            Flavour::Stock => Ok(Self::stock(root)),
            Flavour::Kasan | Flavour::Kcsan => debug::ensure(place, root, flavour),
        }
    }

    /// Makes a command of make in the kernel's tree, for modules in `dir` of the build root.
    pub fn make_modules(&self, dir: &Path) -> Result<Command> {
        need_root("building a module")?;
        let mut command = chroot::command(&self.root, "make");
        command
            .arg("-C")
            .arg(format!("/{}", self.tree))
            .args(&self.arguments);
        command.arg(format!("M=/{}", dir.display())).arg("modules");
        Ok(command)
    }

    /// Returns where in `dir` of the checkout is what belongs to this kernel: in `dir` itself for the
    /// default one.
    pub fn within(&self, dir: &Path) -> PathBuf {
        match self.is_default {
            true => self.of_flavour(dir),
            false => self.of_flavour(&dir.join(self.series.name())),
        }
    }

    /// Returns where in `dir` of the build root is what is built for this kernel. Which kernel is the
    /// default may change, and then nothing must be taken for new.
    pub fn workshop(&self, dir: &Path) -> PathBuf {
        self.of_flavour(&dir.join(self.series.name()))
    }

    fn of_flavour(&self, dir: &Path) -> PathBuf {
        match self.flavour {
            Flavour::Stock => dir.to_path_buf(),
            Flavour::Kasan | Flavour::Kcsan => dir.join(self.flavour.name()),
        }
    }
}
