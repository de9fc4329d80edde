// SPDX-License-Identifier: GPL-2.0
//! The list of tests, tests/tests.toml.

use crate::module::selftests::Selftest;
use crate::module::Variant;
use crate::root::image::Flavour;
use anyhow::{bail, Context, Result};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// When a test is run without being asked for by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    #[default]
    Check,
    /// In `make check`, too; has a table of its own.
    Sabotage,
    /// In its table, and only in `make sabotage` and `make check-deep`.
    Steps,
    /// Only in `make check-deep`.
    Deep,
    Demo,
    /// Only in `make check-debug` and `make check-kcsan`.
    Debug,
    /// Only in `make storm`.
    Storm,
    /// Only in `make bench`.
    Bench,
}

/// A check that this program does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Own {
    /// Of the built modules as files.
    ModuleFile,
    /// Clippy's lints on the module.
    ModuleClippy,
    /// The package pagemove-dkms, with Debian's dkms.
    Dkms,
    /// Whether every source file is formatted.
    Format,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    pub name: String,
    /// What it shows, in one line.
    pub about: String,
    #[serde(default)]
    pub group: Group,
    /// Arguments of cargo; each test that libtest reports counts.
    pub cargo: Option<Vec<String>>,
    /// With `cargo`: make the build root first, and name its kernel source tree in
    /// the environment, PAGEMOVE_KERNEL_SOURCE.
    #[serde(default)]
    pub kernel_source: bool,
    /// With `cargo`: make the build root first, and name its directory in the environment,
    /// PAGEMOVE_BUILD_ROOT.
    #[serde(default)]
    pub build_root: bool,
    /// Arguments of the build root's cargo, which users of Debian have; counts as one.
    pub debian_cargo: Option<Vec<String>>,
    /// A command of the host; counts as one.
    pub host: Option<Vec<String>>,
    /// A program of the host that speaks TAP, started in the workspace; each of its
    /// results counts.
    pub tap: Option<Vec<String>>,
    /// What this program checks by itself, in the build root or with its tools.
    pub own: Option<Own>,
    /// One of the few that `make check` runs on the other supported kernels, too.
    #[serde(default)]
    pub each_series: bool,
    /// A program run in a VM.
    pub vm: Option<Guest>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    pub profile: String,
    /// The kernel that it needs; on any other one it is skipped.
    pub kernel: Option<Flavour>,
    /// Of the long ones `make check-debug` runs this, too.
    #[serde(default)]
    pub kasan: bool,
    /// It is about two CPUs at once: `make check-kcsan` runs it.
    #[serde(default)]
    pub kcsan: bool,
    /// Why it can not be judged on a kernel that looks for mistakes.
    pub stock_only: Option<String>,
    /// Which module to load first; none: not even put into the VM.
    pub module: Option<Variant>,
    #[serde(default)]
    pub params: Vec<String>,
    pub argv: Vec<String>,
    /// In seconds, from power on.
    #[serde(default = "default_timeout")]
    pub timeout: u64,
    /// Shell scripts of tests/guest/ to put into /bin, instead of our programs.
    #[serde(default)]
    pub scripts: Vec<String>,
    /// Put QEMU itself into the guest.
    #[serde(default)]
    pub qemu: bool,
    /// Put Python into it, as Debian has it.
    #[serde(default)]
    pub python: bool,
    /// Put libvirt into it, as Debian has it, and QEMU where libvirt finds it.
    #[serde(default)]
    pub libvirt: bool,
    /// Put Debian's user space into it, below /debian, and what an operator installs there.
    #[serde(default)]
    pub debian: bool,
    /// Put the VM's own kernel into it, for a guest inside.
    #[serde(default)]
    pub kernel_inside: bool,
    /// How many CPUs, instead of the profile's.
    pub cpus: Option<u32>,
    /// Memory of each NUMA node in MiB, instead of the profile's.
    pub nodes: Option<Vec<u64>>,
    /// The program prints something else than TAP.
    #[serde(default)]
    pub plain: bool,
    /// Texts that excuse a line of dmesg.
    #[serde(default)]
    pub allow: Vec<String>,
    /// The run damages the kernel's memory on purpose: its log is not judged, and
    /// the module is not unloaded.
    #[serde(default)]
    pub corrupts: bool,
    /// A module of the tests (`EXTRA_MODULES` in runner.rs) to put into the VM, as /NAME.ko.
    pub extra_module: Option<String>,
    /// Put ntb.ko, pagemove_test_ntb.ko and pagemove_ntb.ko into the VM, in /.
    #[serde(default)]
    pub ntb: bool,
    /// Selftests of the kernel's own to build from its source and to put into /bin, as
    /// "vfio/vfio_pci_device_test". One that this series does not have is left out.
    #[serde(default)]
    pub selftests: Vec<Selftest>,
    /// Boot the kernel as it is installed: packed, and so at a random address, with random places of
    /// its maps.
    #[serde(default)]
    pub packed: bool,
    /// Emulate hardware transactions.
    #[serde(default)]
    pub rtm: bool,
    /// Options of that emulation (tests/rtm-emulation/README.md).
    #[serde(default)]
    pub rtm_options: Vec<String>,
    /// Count instructions, where the program asks for it (tests/instruction-counter/README.md).
    #[serde(default)]
    pub counter: bool,
    /// Events that QEMU traces. What the program claims to have moved is compared with
    /// them.
    #[serde(default)]
    pub trace: Vec<String>,
    /// It keeps both CPUs of its VM busy: beside another VM it would take more than twice as long.
    #[serde(default)]
    pub busy: bool,
    /// A test of the runner or of a judge: the run has to fail with this text in a reason.
    pub red: Option<String>,
    /// A second VM that runs beside this one, joined to it as the profiles of both say. Its
    /// logs are in `peer/`.
    pub peer: Option<Box<Guest>>,
}

impl Test {
    /// Returns the VMs that it needs at a time.
    pub fn guests(&self) -> impl Iterator<Item = &Guest> {
        self.vm
            .iter()
            .chain(self.vm.iter().filter_map(|guest| guest.peer.as_deref()))
    }

    /// Returns whether it belongs to all tests of the kernel `flavour`. A twin in which a step of
    /// pagemove's is left out is red on each kernel; on one that looks for mistakes it would only
    /// take time.
    pub fn is_for(&self, flavour: Flavour) -> bool {
        let Some(guest) = &self.vm else {
            return flavour == Flavour::Stock;
        };
        match flavour {
            Flavour::Stock => true,
            Flavour::Kasan if guest.red.is_some() => guest.kernel == Some(flavour),
            Flavour::Kasan => guest.kasan || [Group::Check, Group::Debug].contains(&self.group),
            Flavour::Kcsan => guest.kcsan,
        }
    }
}

impl Guest {
    /// Checks that what is said of a pair as a whole is said of its first VM.
    fn check_peer(&self) -> Result<()> {
        let Some(peer) = &self.peer else {
            return Ok(());
        };
        if peer.peer.is_some() || peer.red.is_some() || peer.busy {
            bail!("a peer has no peer, red or busy of its own");
        }
        if self.busy {
            bail!("two VMs at a time are always busy");
        }
        Ok(())
    }

    /// Returns why it is not to be run on the kernel `flavour`, if so.
    pub fn unfit(&self, flavour: Flavour) -> Option<String> {
        match (&self.stock_only, self.kernel) {
            (Some(reason), _) if flavour != Flavour::Stock => Some(reason.clone()),
            (_, Some(needed)) if needed != flavour => {
                Some(format!("it is for kernel {}", needed.name()))
            }
            _ => None,
        }
    }

    /// Returns whether it runs one of our programs; a script makes do with busybox.
    pub fn needs_programs(&self) -> bool {
        self.scripts.is_empty()
    }
}

/// Most tests take 10 to 30 s; beside other work on the host several times as long.
fn default_timeout() -> u64 {
    200
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    test: Vec<Test>,
}

pub struct Suite(Vec<Test>);

impl Suite {
    pub fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", file.display()))
    }

    pub fn parse(text: &str) -> Result<Self> {
        let tests = toml::from_str::<List>(text)?.test;
        let mut names = BTreeSet::new();
        for test in &tests {
            if !names.insert(&test.name) {
                bail!("two tests are named {}", test.name);
            }
            let commands = [&test.cargo, &test.debian_cargo, &test.host, &test.tap]
                .map(|command| command.is_some());
            let kinds = [&commands[..], &[test.own.is_some(), test.vm.is_some()]].concat();
            if kinds.iter().filter(|kind| **kind).count() != 1 {
                bail!(
                    "test {} has to be one of cargo, debian_cargo, host, tap, own and vm",
                    test.name
                );
            }
            if (test.kernel_source || test.build_root) && test.cargo.is_none() {
                bail!(
                    "test {} has kernel_source or build_root, which are for cargo only",
                    test.name
                );
            }
            if let Some(guest) = &test.vm {
                guest
                    .check_peer()
                    .with_context(|| format!("test {}", test.name))?;
            }
        }
        Ok(Self(tests))
    }

    pub fn all(&self) -> &[Test] {
        &self.0
    }

    /// Returns the tests in `groups` whose name matches `pattern`; with a pattern, those of
    /// every group: who names a test wants it. Where it is whole words of names, it is no part of others.
    pub fn select(&self, groups: &[Group], pattern: Option<&str>) -> Result<Vec<&Test>> {
        let whole =
            pattern.filter(|pattern| self.0.iter().any(|test| has_words(pattern, &test.name)));
        let wanted = |test: &&Test| match (whole, pattern) {
            (Some(words), _) => has_words(words, &test.name),
            (None, Some(pattern)) => matches(pattern, &test.name),
            (None, None) => groups.contains(&test.group),
        };
        let tests: Vec<&Test> = self.0.iter().filter(wanted).collect();
        if tests.is_empty() {
            bail!(
                "no test matches {}: `make check-list` lists them",
                pattern.unwrap_or("the group")
            );
        }
        Ok(tests)
    }
}

/// Returns whether `words` are whole words of the name: `deb` is no part of `debug-twin-lock`.
fn has_words(words: &str, name: &str) -> bool {
    format!("-{name}-").contains(&format!("-{words}-"))
}

/// Returns whether `pattern` is a part of the name; with `*` in it, the whole name, `*` standing
/// for anything.
fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains('*') {
        return name.contains(pattern);
    }
    let parts: Vec<&str> = pattern.split('*').collect();
    let (first, last) = (parts[0], parts[parts.len() - 1]);
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    for part in &parts[1..parts.len() - 1] {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
#[path = "suite_tests.rs"]
mod tests;
