// SPDX-License-Identifier: GPL-2.0
//! Run one test.

use super::again;
use super::kinds::{cargo, dkms, format, host, module_clippy, module_file, tap};
use super::setup::Setup;
use super::suite::{Guest, Own, Test};
use crate::judge::devtlb::{self, Claims};
use crate::judge::tap::Status;
use crate::judge::verdict::{self, Verdict, SKIPPED};
use crate::module;
use crate::root::image::{Flavour, Image};
use crate::root::series::Series;
use crate::root::{make, BuildRoot};
use crate::vm::accel::Accel;
use crate::vm::job::{Job, Terminal};
use crate::vm::pair;
use crate::vm::profile::Profile;
use crate::vm::rtm::{self, Rtm};
use crate::vm::run::{End, Outcome, Vm};
use anyhow::{bail, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the sources of the modules are that tests bring along.
const EXTRA_MODULES: [&str; 3] = [
    "tests/rtm-emulation/test",
    "tests/debug/planted",
    "tests/bench",
];

/// What became of a test.
pub struct Finished<'a> {
    pub test: &'a Test,
    pub kernel: Flavour,
    /// The series of the kernel, if it is not the default one.
    pub series: Option<Series>,
    pub verdict: Verdict,
    pub wall: Duration,
    /// What it printed, and for a VM the kernel's console.
    pub texts: Vec<(&'static str, String)>,
    pub logs: PathBuf,
}

impl Finished<'_> {
    /// Returns the test's name, and the kernel's if that is not the default one.
    pub fn name(&self) -> String {
        match self.series {
            Some(series) => format!("{}@{}", self.test.name, series.name()),
            None => self.test.name.clone(),
        }
    }

    /// Returns what the program in a VM printed.
    pub fn output(&self) -> &str {
        let output = self.texts.iter().find(|(title, _)| *title == "output");
        output.map_or("", |(_, text)| text.as_str())
    }
}

/// Runs `test`, whose VMs boot the kernel `flavour`.
pub fn run<'a>(setup: &Setup, test: &'a Test, flavour: Flavour, live: bool) -> Finished<'a> {
    let logs = logs(setup, flavour).join(&test.name);
    let start = Instant::now();
    let (verdict, texts) = attempt(setup, test, flavour, live, &logs).unwrap_or_else(|error| {
        let mut verdict = Verdict::default();
        verdict.fail(format!("{}: {error:#}", test.name));
        (verdict, Vec::new())
    });
    Finished {
        test,
        kernel: flavour,
        series: make::other_series(setup.place),
        verdict,
        wall: start.elapsed(),
        texts,
        logs,
    }
}

fn logs(setup: &Setup, flavour: Flavour) -> PathBuf {
    let mut logs = setup.place.build().join("logs");
    if let Some(series) = make::other_series(setup.place) {
        logs.push(series.name());
    }
    match flavour {
        Flavour::Stock => logs,
        Flavour::Kasan | Flavour::Kcsan => logs.join(flavour.name()),
    }
}

type Texts = Vec<(&'static str, String)>;

fn attempt(
    setup: &Setup,
    test: &Test,
    flavour: Flavour,
    live: bool,
    logs: &Path,
) -> Result<(Verdict, Texts)> {
    if let Some(guest) = &test.vm {
        let unfit = |guest: &Guest| unfit(setup, guest, flavour).transpose();
        if let Some(reason) = test.guests().find_map(unfit).transpose()? {
            let mut verdict = Verdict::default();
            verdict.add(&test.name, Status::Skipped(reason));
            return Ok((verdict, Vec::new()));
        }
        return in_vm(setup, test, guest, flavour, live, logs);
    }
    fs::create_dir_all(logs)?;
    let (verdict, text) = match (&test.cargo, &test.host, &test.tap, test.own) {
        (Some(arguments), ..) => {
            let mut told = Vec::new();
            if test.kernel_source {
                told.push((cargo::KERNEL_SOURCE, setup.kernel_source()?));
            }
            if test.build_root {
                told.push((cargo::BUILD_ROOT, setup.root()?.dir().to_path_buf()));
            }
            cargo::run(&test.name, arguments, setup.place, &told)?
        }
        (_, Some(argv), ..) => host::run(&test.name, argv, setup.place)?,
        (_, _, Some(argv), _) => tap::run(&test.name, argv, setup.place)?,
        (.., Some(Own::ModuleFile)) => (module_file::run(setup)?, String::new()),
        (.., Some(Own::ModuleClippy)) => module_clippy::run(setup)?,
        (.., Some(Own::Dkms)) => dkms::run(&test.name, setup)?,
        (.., Some(Own::Format)) => (format::run(setup)?, String::new()),
        (None, None, None, None) => match &test.debian_cargo {
            Some(arguments) => host::debian(&test.name, arguments, setup)?,
            None => bail!("test {} does nothing", test.name),
        },
    };
    fs::write(logs.join("output.log"), &text)?;
    Ok((verdict, vec![("output", text)]))
}

/// Returns why a guest can not run here, if so.
fn unfit(setup: &Setup, guest: &Guest, flavour: Flavour) -> Result<Option<String>> {
    if let Some(reason) = guest.unfit(flavour) {
        return Ok(Some(reason));
    }
    if guest.debian && setup.debian()?.is_none() {
        let release = setup.root()?.release();
        return Ok(Some(format!(
            "the mirror has Debian's package of kernel {release} no more"
        )));
    }
    Ok(None)
}

fn in_vm(
    setup: &Setup,
    test: &Test,
    guest: &Guest,
    flavour: Flavour,
    live: bool,
    logs: &Path,
) -> Result<(Verdict, Texts)> {
    let host = Host::new(setup, guest, flavour, live)?;
    let (mut verdict, texts) = match &guest.peer {
        None => {
            let (outcome, remarks) = again::run(&host.vm(), guest, logs)?;
            let mut verdict = judge(&test.name, guest, &outcome);
            verdict.remarks = remarks;
            (
                verdict,
                vec![
                    ("output", outcome.output),
                    ("dmesg", outcome.dmesg),
                    ("CPUs", again::places(&outcome.registers)),
                ],
            )
        }
        Some(other) => {
            let peer = Host::new(setup, other, flavour, false)?;
            let outcomes = pair::run(&host.vm(), &peer.vm(), logs)?;
            of_pair(&test.name, [guest, other], outcomes)
        }
    };
    if let Some(reason) = &guest.red {
        let remarks = std::mem::take(&mut verdict.remarks);
        verdict = red(&test.name, reason, &verdict);
        verdict.remarks = remarks;
    }
    Ok((verdict, texts))
}

/// A guest of a test, ready to be started.
struct Host<'a> {
    root: &'a BuildRoot,
    image: &'a Image,
    profile: Profile,
    job: Job,
    accel: Accel,
    unpacked: PathBuf,
}

impl<'a> Host<'a> {
    fn new(setup: &'a Setup, guest: &Guest, flavour: Flavour, live: bool) -> Result<Self> {
        let mut profile = setup.profiles.get(&guest.profile)?.clone();
        if let Some(nodes) = &guest.nodes {
            profile.nodes = nodes.clone();
            profile.check()?;
        }
        profile.cpus = guest.cpus.unwrap_or(profile.cpus);
        let mut job = job(setup, guest, flavour, live)?;
        let mut accel = setup.accel()?;
        job.first_result = again::first_result(guest, accel);
        if guest.rtm {
            // It is a part of TCG.
            accel = Accel::Tcg;
            profile.kernel.extend(rtm::KERNEL.map(String::from));
            job.rtm = Some(Rtm {
                plugin: setup.rtm()?.clone(),
                options: guest.rtm_options.clone(),
            });
        }
        if guest.counter {
            accel = Accel::Tcg;
            job.counter = Some(setup.counter()?.clone());
        }
        let (root, image) = (setup.root()?, setup.image(flavour)?);
        Ok(Self {
            root,
            image,
            profile,
            job,
            accel,
            unpacked: setup.place.build().join("kmod"),
        })
    }

    fn vm(&self) -> Vm<'_> {
        Vm {
            root: self.root,
            image: self.image,
            profile: &self.profile,
            accel: self.accel,
            job: &self.job,
            unpacked: &self.unpacked,
        }
    }
}

fn judge(name: &str, guest: &Guest, outcome: &Outcome) -> Verdict {
    let judge = if guest.plain {
        verdict::of_status
    } else {
        verdict::of_tap
    };
    // The empty text is in every line.
    let allowed = if guest.corrupts {
        vec![String::new()]
    } else {
        guest.allow.clone()
    };
    let mut verdict = judge(name, outcome, &allowed);
    if !guest.trace.is_empty() {
        traced(name, outcome, &mut verdict);
    }
    verdict
}

/// Judges both hosts, each by itself, as one test.
fn of_pair(name: &str, guests: [&Guest; 2], [first, peer]: [Outcome; 2]) -> (Verdict, Texts) {
    let verdict = judge(name, guests[0], &first).of_host("host A");
    let verdict = verdict.and(judge(name, guests[1], &peer).of_host("host B (peer)"));
    let texts = vec![
        ("host A: output", first.output),
        ("host A: dmesg", first.dmesg),
        ("host A: CPUs", again::places(&first.registers)),
        ("host B (peer): output", peer.output),
        ("host B (peer): dmesg", peer.dmesg),
        ("host B (peer): CPUs", again::places(&peer.registers)),
    ];
    (verdict, texts)
}

fn job(setup: &Setup, guest: &Guest, flavour: Flavour, live: bool) -> Result<Job> {
    let mut job = Job::new(
        guest.argv.clone(),
        Duration::from_secs(guest.timeout * flavour.patience()),
    );
    if let Some(variant) = guest.module {
        job.module = Some(setup.module(flavour, variant)?.clone());
        job.params = guest.params.clone();
    }
    if guest.needs_programs() {
        job.programs = setup.programs()?.to_vec();
    }
    let scripts = setup.place.tests().join("guest");
    job.files = guest
        .scripts
        .iter()
        .map(|name| (scripts.join(name), format!("bin/{name}")))
        .collect();
    if let Some(name) = &guest.extra_module {
        let has_it = |dir: &&str| {
            setup
                .place
                .checkout()
                .join(dir)
                .join(format!("{name}.c"))
                .exists()
        };
        let dir = EXTRA_MODULES
            .into_iter()
            .find(has_it)
            .with_context(|| format!("{name}.c is nowhere"))?;
        let file =
            module::extra::build(setup.place, setup.root()?, setup.image(flavour)?, dir, name)?;
        job.files.push((file, format!("{name}.ko")));
    }
    if !guest.selftests.is_empty() {
        job.programs.extend(module::selftests::build(
            setup.place,
            setup.root()?,
            setup.image(flavour)?,
            &guest.selftests,
        )?);
    }
    if guest.ntb {
        job.files.extend(setup.ntb(flavour)?.iter().map(|file| {
            let name = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            (file.clone(), name)
        }));
    }
    if guest.qemu {
        job.archives.push(setup.guest_qemu()?.clone());
    }
    if guest.python {
        job.archives.push(setup.python()?.clone());
    }
    if guest.libvirt {
        job.archives.push(setup.libvirt()?.clone());
    }
    if guest.debian {
        let debian = setup.debian()?.context("no user space of Debian's")?;
        let archives = [debian, setup.packages(flavour)?].map(PathBuf::clone);
        job.archives.extend(archives);
    }
    if guest.kernel_inside {
        let kernel = setup.image(flavour)?.vmlinuz.clone();
        job.files.push((kernel, "boot/vmlinuz".to_string()));
    }
    job.packed = guest.packed;
    job.trace = guest.trace.clone();
    job.unload = !guest.corrupts;
    job.live = live;
    job.terminal = live.then(Terminal::of_stdout).flatten();
    Ok(job)
}

/// Judges what the program claims by what QEMU traced: one more result. A program that
/// was skipped claims nothing.
fn traced(name: &str, outcome: &Outcome, verdict: &mut Verdict) {
    if outcome.end == End::Status(SKIPPED) {
        return;
    }
    let found =
        Claims::parse(&outcome.claims).and_then(|claims| devtlb::check(&outcome.trace, &claims));
    match found {
        Ok(text) => verdict.add(format!("{name}: trace: {text}"), Status::Passed),
        Err(error) => verdict.fail(format!("{name}: trace: {error:#}")),
    }
}

/// Judges a test of the runner or of a judge: the run must have been judged a failure, for the
/// right reason.
fn red(name: &str, reason: &str, inner: &Verdict) -> Verdict {
    let mut verdict = Verdict::default();
    let reasons: Vec<&str> = inner.failures().collect();
    match reasons.iter().any(|text| text.contains(reason)) {
        true => verdict.add(name, Status::Passed),
        false => verdict.fail(format!(
            "{name}: not judged a failure for {reason:?}, but {reasons:?}"
        )),
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_should_be_red_and_is_not_fails() {
        let mut green = Verdict::default();
        green.add("a", Status::Passed);
        assert!(red("t", "warning", &green).failed());
        let mut other = Verdict::default();
        other.fail("t: timed out");
        assert!(red("t", "warning", &other).failed());
        let mut right = Verdict::default();
        right.fail("t: dmesg: warning: x");
        assert!(!red("t", "warning", &right).failed());
    }
}
