// SPDX-License-Identifier: GPL-2.0
//! Kernels that look for mistakes, built in the build root from the stock kernel's source.
//! What they are made of is in tests/debug/: kernel.config on top of tinyconfig, then the
//! flavour's own.

use super::image::{Flavour, Image};
use super::wipe::remove_tree;
use super::{chroot, lock, packages, pin, BuildRoot};
use crate::place::Place;
use crate::report::Report;
use anyhow::{bail, Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Bumped when something else is done than before.
const RECIPE: u32 = 3;
/// Names the source inside the build root; nothing is built in it, for several kernels are built of it.
fn source(root: &BuildRoot) -> String {
    format!("build/linux-debug-{}", root.series().name())
}

/// Beside what the build root has: kbuild wants the LLVM's ar, nm, objcopy by their plain names.
const PACKAGES: [&str; 1] = ["llvm"];
/// Common to all flavours.
const COMMON: &str = "kernel";

struct Maker<'a> {
    root: &'a BuildRoot,
    flavour: Flavour,
    configs: [(String, String); 2],
    report: Report,
}

/// Makes the kernel if it is not there, or was made of something else.
///
/// That takes 13 minutes on two quiet cores, and 2 GiB for the source and 0.8 for each kernel.
pub fn ensure(place: &Place, root: &BuildRoot, flavour: Flavour) -> Result<Image> {
    let configs = [COMMON, flavour.name()]
        .map(|name| config(place, name))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let configs: [(String, String); 2] = configs.try_into().ok().context("two configurations")?;
    let recipe = format!("{RECIPE} {} {PACKAGES:?} {configs:?}", root.release());
    let stamp = root.dir().join(tree(root, flavour)).join(".pagemove");
    let is_made = || fs::read_to_string(&stamp).is_ok_and(|text| text == recipe);
    // Whoever has what it needs does not wait for who builds another one.
    let file = File::create(place.cache().join("lock-debug"))?;
    let _lock = match is_made() {
        true => None,
        false => Some(lock::alone(file).context("waiting for who builds a debug kernel")?),
    };
    if !is_made() {
        chroot::need_root("building a debug kernel")?;
        let log = place.cache().join(format!("build-{}.log", flavour.name()));
        let mut maker = Maker {
            root,
            flavour,
            configs,
            report: Report::new("debug kernel", &log)?,
        };
        maker.make()?;
        maker.report.done();
        fs::write(&stamp, recipe)?;
    }
    let file = root
        .dir()
        .join(tree(root, flavour))
        .join("include/config/kernel.release");
    let release =
        fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    Ok(Image::built(
        root,
        flavour,
        release.trim(),
        tree(root, flavour),
        arguments(),
    ))
}

fn config(place: &Place, name: &str) -> Result<(String, String)> {
    let file = place.tests().join(format!("debug/{name}.config"));
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    Ok((name.to_string(), text))
}

/// Returns where a kernel is built, inside the build root.
fn tree(root: &BuildRoot, flavour: Flavour) -> String {
    format!("build/debug-{}-{}", root.series().name(), flavour.name())
}

/// Returns what make is told. KASAN with Rust takes clang (init/Kconfig: RUST).
fn arguments() -> Vec<String> {
    let jobs = std::thread::available_parallelism().map_or(1, |n| n.get());
    vec!["ARCH=x86".into(), "LLVM=1".into(), format!("-j{jobs}")]
}

impl Maker<'_> {
    fn make(&mut self) -> Result<()> {
        let name = self.flavour.name();
        self.packages()?;
        self.source()?;
        self.report.step(&format!("configuring kernel {name}"));
        let dir = self.dir();
        fs::create_dir_all(&dir)?;
        // What was built before is used again; what says that it is whole is not.
        let _ = fs::remove_file(dir.join(".pagemove"));
        self.run(&["tinyconfig"])?;
        self.configure()?;
        self.report.step(&format!(
            "building kernel {name}: 13 minutes or more on two CPUs"
        ));
        self.run(&["bzImage", "modules"])
    }

    fn dir(&self) -> PathBuf {
        self.root.dir().join(tree(self.root, self.flavour))
    }

    fn packages(&mut self) -> Result<()> {
        let dir = self.root.dir();
        if dir.join("usr/bin/llvm-ar").exists() {
            return Ok(());
        }
        self.report.step("LLVM's binary tools");
        packages::update(&mut self.report, dir)?;
        let mut command = chroot::command(dir, "apt-get");
        self.report.run(
            command
                .args(["install", "-y", "--no-install-recommends"])
                .args(PACKAGES),
        )
    }

    /// Makes a copy of the stock kernel's source in which nothing was built.
    fn source(&mut self) -> Result<()> {
        let (from, to) = (
            self.root.dir().join(self.root.tree()),
            self.root.dir().join(source(self.root)),
        );
        let stamp = to.join(".pagemove");
        let recipe = format!("{RECIPE} {}", self.root.release());
        if fs::read_to_string(&stamp).is_ok_and(|text| text == recipe) {
            return Ok(());
        }
        self.report.step("copying the kernel's source");
        remove_tree(&to)?;
        let mut command = std::process::Command::new("cp");
        self.report.run(
            command
                .args(["--archive", "--reflink=auto"])
                .arg(&from)
                .arg(&to),
        )?;
        let mut command = chroot::command(self.root.dir(), "make");
        self.report.run(
            command
                .args(["-C", &format!("/{}", source(self.root))])
                .args(arguments())
                .arg("mrproper"),
        )?;
        more_sanitizers(&to)?;
        notify_with_copies(&to)?;
        take_back_without_order(&to)?;
        Ok(fs::write(stamp, recipe)?)
    }

    fn configure(&mut self) -> Result<()> {
        let mut names = vec![".config".to_string()];
        for (name, text) in &self.configs {
            let file = format!("{name}.config");
            fs::write(self.dir().join(&file), text)?;
            names.push(file);
        }
        let script = format!(
            "cd /{tree} && ARCH=x86 LLVM=1 /{source}/scripts/kconfig/merge_config.sh -O /{tree} -m {files}",
            source = source(self.root),
            tree = tree(self.root, self.flavour),
            files = names.join(" "),
        );
        self.report
            .run(chroot::command(self.root.dir(), "sh").args(["-c", &script]))?;
        self.run(&["olddefconfig"])?;
        let made = fs::read_to_string(self.dir().join(".config"))?;
        let missing: Vec<&str> = self
            .configs
            .iter()
            .flat_map(|(_, text)| missing(text, &made))
            .collect();
        if !missing.is_empty() {
            bail!(
                "kernel {} can not have {}",
                self.flavour.name(),
                missing.join(", ")
            );
        }
        Ok(())
    }

    fn run(&mut self, targets: &[&str]) -> Result<()> {
        let mut command = chroot::command(self.root.dir(), "make");
        command
            .args(["-C", &format!("/{}", source(self.root))])
            .args(arguments());
        command
            .arg(format!("O=/{}", tree(self.root, self.flavour)))
            .args(targets);
        self.report.run(&mut command)
    }
}

/// Edits what the kernel says of its target: rustc asks it whether there is a sanitizer. The kernel
/// says so for KASAN only, for it has no Rust that KCSAN should watch: we have. (clang instruments
/// for both.)
fn more_sanitizers(source: &Path) -> Result<()> {
    let sanitizers = (r#""kernel-address"]"#, r#""kernel-address", "thread"]"#);
    edit(source, "scripts/generate_rust_target.rs", &[sanitizers])
}

// What KASAN and lockdep report of the kernel itself. Both are silent after their first report: where one
// of these comes, what comes after it is not seen. So this kernel is without them
// (Documentation/testing.md says what they are).

/// Edits VFIO, which reads a mapping's span after it has let go of the lock that keeps the mapping:
/// where two threads unmap it, what one of them reads is freed. So it copies the span before.
fn notify_with_copies(source: &Path) -> Result<()> {
    edit(source, "drivers/vfio/vfio_iommu_type1.c", &[
        (
            "\tstruct vfio_device *device;\n\n\tif (list_empty(&iommu->device_list))\n",
            "\tstruct vfio_device *device;\n\tdma_addr_t iova = dma->iova;\n\tu64 size = dma->size;\n\n\
             \tif (list_empty(&iommu->device_list))\n",
        ),
        ("dma_unmap(device, dma->iova, dma->size);", "dma_unmap(device, iova, size);"),
    ])
}

/// Edits a slot's hotplug thread, which takes its own reset_lock before and after
/// pci_rescan_remove_lock. The first is the slot's, so that nobody waits for the other order;
/// lockdep knows classes only. An attempt that does not wait is no order to it.
fn take_back_without_order(source: &Path) -> Result<()> {
    const BEFORE: &str = "down_read_nested(&ctrl->reset_lock, ctrl->depth);";
    const AFTER: &str =
        "while (!down_read_trylock(&ctrl->reset_lock)) schedule_timeout_uninterruptible(1);";
    let changes = [
        "\tpci_bus_add_devices(parent);\n\t",
        "\t\tpci_stop_and_remove_bus_device(dev);\n\t\t",
    ]
    .map(|call| (format!("{call}{BEFORE}"), format!("{call}{AFTER}")));
    edit(
        source,
        "drivers/pci/hotplug/pciehp_pci.c",
        &changes
            .each_ref()
            .map(|(from, to)| (from.as_str(), to.as_str())),
    )
}

/// Changes a file of the kernel's source. Each text has to be there once.
fn edit(source: &Path, file: &str, changes: &[(&str, &str)]) -> Result<()> {
    let path = source.join(file);
    let mut text =
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    for (before, after) in changes {
        if text.matches(before).count() != 1 {
            bail!(
                "{file} of this kernel is not as it is in {}, for which {} was written: `{before}`",
                pin::DEBUGGED.name(),
                file!()
            );
        }
        text = text.replace(before, after);
    }
    Ok(fs::write(&path, text)?)
}

/// Returns what `wanted` sets and `made` has not: kconfig drops silently what depends on something
/// that is not there. A kernel without lockdep would find nothing.
fn missing<'a>(wanted: &'a str, made: &str) -> Vec<&'a str> {
    let unset = |line: &str| {
        let name = line.strip_prefix("# ")?.strip_suffix(" is not set")?;
        Some(!made.lines().any(|other| {
            other
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('='))
        }))
    };
    let fine = |line: &&str| match line.starts_with("CONFIG_") {
        true => made.lines().any(|other| other == *line),
        false => unset(line).unwrap_or(true),
    };
    wanted.lines().filter(|line| !fine(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::{edit, missing};
    use std::fs;

    #[test]
    fn a_source_that_has_changed_is_not_edited() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f.c"), "one two two").unwrap();
        assert!(edit(dir.path(), "f.c", &[("two", "2")]).is_err());
        assert!(edit(dir.path(), "f.c", &[("three", "3")]).is_err());
        assert_eq!(
            fs::read_to_string(dir.path().join("f.c")).unwrap(),
            "one two two"
        );
        edit(dir.path(), "f.c", &[("one", "1")]).unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join("f.c")).unwrap(),
            "1 two two"
        );
    }

    #[test]
    fn what_kconfig_dropped_is_named() {
        let wanted = "# words\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\n# CONFIG_D is not set\n\nCONFIG_E=\"x\"\n";
        let made = "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y\n# CONFIG_D is not set\nCONFIG_E=\"x\"\n";
        assert_eq!(
            missing(wanted, made),
            ["CONFIG_B=m", "# CONFIG_C is not set"]
        );
        assert!(missing(wanted, "").contains(&"CONFIG_A=y"));
    }
}
