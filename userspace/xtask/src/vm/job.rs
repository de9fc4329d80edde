// SPDX-License-Identifier: GPL-2.0
//! One run of a VM: what is put into it and what it is to do.

use super::initramfs::Initramfs;
use super::kmod::Kmods;
use super::profile::Profile;
use super::rtm::Rtm;
use crate::root::image::Image;
use crate::root::BuildRoot;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const INIT: &str = include_str!("init.sh");

/// The terminal that the program's output is shown on while it runs.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    pub columns: u16,
    pub lines: u16,
}

impl Terminal {
    /// Returns the terminal that is our standard output, if it is one.
    pub fn of_stdout() -> Option<Self> {
        let (lines, columns) = console::Term::stdout().size_checked()?;
        Some(Self { columns, lines })
    }
}

#[derive(Clone, Debug)]
pub struct Job {
    /// pagemove.ko, or none.
    pub module: Option<PathBuf>,
    /// Parameters for it, beside the profile's.
    pub params: Vec<String>,
    /// Static programs for /bin.
    pub programs: Vec<PathBuf>,
    /// Further files: of the host, name in the guest.
    pub files: Vec<(PathBuf, String)>,
    /// A cpio archive to be unpacked in the guest, too.
    pub archives: Vec<PathBuf>,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Events that QEMU writes to `trace.log`; `*` stands for anything.
    pub trace: Vec<String>,
    /// Whether pagemove has to be unloadable when the program has ended.
    pub unload: bool,
    pub timeout: Duration,
    /// By when its first result has to be there, if that is watched.
    pub first_result: Option<Duration>,
    /// Boot the kernel as it is installed, packed.
    pub packed: bool,
    /// Emulate hardware transactions.
    pub rtm: Option<Rtm>,
    /// The counter of instructions, a plugin.
    pub counter: Option<PathBuf>,
    /// Copy the output to ours while the program runs.
    pub live: bool,
    pub terminal: Option<Terminal>,
}

impl Job {
    /// Runs `argv` without a module, unseen.
    pub fn new(argv: Vec<String>, timeout: Duration) -> Self {
        Self {
            module: None,
            params: Vec::new(),
            programs: Vec::new(),
            files: Vec::new(),
            archives: Vec::new(),
            argv,
            trace: Vec::new(),
            unload: true,
            timeout,
            first_result: None,
            packed: false,
            rtm: None,
            counter: None,
            live: false,
            terminal: None,
        }
    }

    /// Writes the guest's initramfs to `path`.
    pub fn pack(
        &self,
        root: &BuildRoot,
        image: &Image,
        profile: &Profile,
        unpacked: &Path,
        path: &Path,
    ) -> Result<()> {
        let mut archive = Initramfs::create(path)?;
        for dir in ["dev", "proc", "sys", "tmp", "run"] {
            archive.directory(dir)?;
        }
        archive.device("dev/console", 5, 1)?;
        archive.file("init", INIT.as_bytes(), 0o755)?;
        archive.copy(&root.busybox(), "bin/busybox")?;
        let kmods = Kmods::new(root, image, unpacked.to_path_buf())?;
        let mut load = String::new();
        let first = kmods.resolve(&profile.modules)?;
        let all = kmods.resolve(&[&profile.modules[..], &profile.available[..]].concat())?;
        for kmod in &all {
            archive.copy(
                &kmod.file,
                &format!("lib/modules/{}/{}.ko", image.release, kmod.name),
            )?;
        }
        for kmod in &first {
            let options = profile
                .options
                .get(&kmod.name)
                .map(String::as_str)
                .unwrap_or_default();
            writeln!(load, "{} {options}", kmod.name)?;
        }
        if let Some(module) = &self.module {
            archive.copy(module, &guest_path(module))?;
        }
        for program in &self.programs {
            let name = program
                .file_name()
                .context("a program without a name")?
                .to_string_lossy();
            archive.copy(program, &format!("bin/{name}"))?;
        }
        for (from, name) in &self.files {
            archive.copy(from, name)?;
        }
        archive.file(
            "etc/pagemove/job",
            self.settings(profile, &load).as_bytes(),
            0o644,
        )?;
        archive.file("etc/pagemove/run", self.script().as_bytes(), 0o755)?;
        for more in &self.archives {
            archive = archive.append(more)?;
        }
        archive.finish()
    }

    /// Returns the shell assignments that init.sh reads.
    fn settings(&self, profile: &Profile, load: &str) -> String {
        let module = self.module.as_deref().map(guest_path).unwrap_or_default();
        let params = [&profile.params[..], &self.params[..]].concat().join(" ");
        let terminal = self.terminal.unwrap_or(Terminal {
            columns: 80,
            lines: 25,
        });
        let mut text = String::new();
        for (name, value) in [
            ("load", load),
            ("module", &module),
            ("params", &params),
            (
                "address",
                profile
                    .link
                    .as_ref()
                    .map(|link| link.address.as_str())
                    .unwrap_or_default(),
            ),
            ("tty", if self.terminal.is_some() { "1" } else { "0" }),
            ("unload", if self.unload { "1" } else { "0" }),
        ] {
            text += &format!("{name}={}\n", quote(value));
        }
        text += &format!(
            "export COLUMNS={} LINES={} TERM=linux\n",
            terminal.columns, terminal.lines
        );
        text
    }

    fn script(&self) -> String {
        let words: Vec<String> = self.argv.iter().map(|word| quote(word)).collect();
        format!("exec {}\n", words.join(" "))
    }
}

/// Returns where a module is in the guest.
fn guest_path(module: &Path) -> String {
    format!(
        "/{}",
        module.file_name().unwrap_or_default().to_string_lossy()
    )
}

/// Returns a word of a shell command that stands for exactly `text`.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_string();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
