// SPDX-License-Identifier: GPL-2.0
//! The section of README.md on one's own machine, typed line by line into a machine that has
//! loaded nothing: what stands there is what is run. Only the values at its top are others.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::tap::{self, Case, Outcome, Pass};
use pagemove_testkit::{module, pci};
use pagemove_uapi::{Control, Place, PLACE_NODE};

use crate::bench::{self, Nodes};
use crate::complaints::COMPLAINTS;
use pagemove_testkit::kernel_log::KernelLog;

const README: &str = include_str!("../../../../README.md");
const SECTION: &str = "## On your machine";
const QEMU: &str = "/bin/qemu-system-x86_64";
const VERDICTS: &str = "/lib/firmware/pagemove/verdicts";
/// For the guest of a guest, whose memory is moved without KVM.
const RAM: &str = "256M";
/// How often a line is typed again that its section says may be.
const AGAIN: Duration = Duration::from_secs(240);

/// A command as it stands there, and what it may end with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    text: String,
    /// It is typed again after this exit code: what it does is not done yet.
    again: Option<i32>,
    /// An exit code that is an answer as good as 0.
    answer: Option<i32>,
}

/// What the section has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Section {
    /// Names and values at the top.
    values: Vec<(String, String)>,
    lines: Vec<Line>,
}

/// Reads the section. What takes a compiler (`make`) is not for a VM.
fn section(text: &str) -> Section {
    let mut section = Section::default();
    let body = text.lines().skip_while(|line| *line != SECTION).skip(1);
    let body = body.take_while(|line| !line.starts_with("## "));
    let mut begun = String::new();
    for line in body.filter_map(|line| line.strip_prefix("    ")) {
        if let Some(part) = line.strip_suffix('\\') {
            begun.push_str(part);
            continue;
        }
        let whole = std::mem::take(&mut begun) + line.trim_start();
        let text = whole.split("  #").next().unwrap_or_default().trim();
        if text.is_empty() || text.starts_with('#') || text.starts_with("make") {
            continue;
        }
        match assignment(text) {
            Some(value) => section.values.push(value),
            None => section.lines.push(Line {
                text: text.to_string(),
                again: again(text),
                // No: this machine is an emulator's.
                answer: (text == "pagemove probe").then_some(1),
            }),
        }
    }
    section
}

/// Reads `NAME=value`.
fn assignment(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase());
    is_name.then(|| (name.to_string(), value.to_string()))
}

/// Returns the exit code after which a line is typed again: the section says so of moves, and a
/// module goes when the last page of the guest has.
fn again(text: &str) -> Option<i32> {
    if text.starts_with("pagemove move") {
        return Some(5);
    }
    text.starts_with("rmmod").then_some(1)
}

/// Returns what stands behind an option.
fn argument<'a>(line: &'a str, option: &str) -> Option<&'a str> {
    line.split_whitespace()
        .skip_while(|word| *word != option)
        .nth(1)
}

/// Reads `64M`, as bytes.
fn mib(text: &str) -> Result<u64> {
    let number = text
        .strip_suffix('M')
        .with_context(|| format!("{text} is no M"))?;
    Ok(number.parse::<u64>()? << 20)
}

struct State {
    /// What the shell is told before each line.
    values: String,
    log: KernelLog,
}

pub fn main(_: &[String]) -> ExitCode {
    if !Path::new(QEMU).exists() {
        return tap::fail_all(&anyhow::anyhow!("the VM has no QEMU inside"));
    }
    let section = section(README);
    let mut state = match set_up(&section) {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |line: Line| Case::new(line.text.clone(), move |state: &mut State| state.run(&line));
    let mut cases: Vec<Case<State>> = section.lines.into_iter().map(case).collect();
    cases.push(Case::new("nothing is left", |state: &mut State| {
        state.left()
    }));
    let code = tap::run(&mut state, cases);
    // As the runner wants to find it.
    let _ = fs::remove_file(VERDICTS);
    code
}

/// Makes a machine that has loaded nothing, but could.
fn set_up(section: &Section) -> Result<State> {
    let device = *bench::devices()?.first().context("the VM has no NVMe")?;
    ensure!(pci::driver(device).is_none(), "{device} has a driver");
    Nodes::find()?.context("the VM has one NUMA node only")?;
    module::unload_pagemove(Duration::from_secs(20))?;
    module::remove_all([
        "vfio_pci",
        "vfio_pci_core",
        "vfio_iommu_type1",
        "vfio",
        "irqbypass",
    ])?;
    let depmod = Command::new("depmod").output().context("depmod")?;
    ensure!(depmod.status.success(), "depmod: {depmod:?}");
    // The IOMMU of the VM is an emulator's, which says that it does not snoop.
    let module = format!("'{} allow_incoherent=1'", module::pagemove_file().display());
    let device = device.to_string();
    let mut values = String::new();
    for (name, _) in &section.values {
        let value = match name.as_str() {
            "KO" => &module,
            "DEV" => &device,
            "RAM" => RAM,
            other => bail!("README has a value {other} that this test does not know"),
        };
        values.push_str(&format!("{name}={value}\n"));
    }
    Ok(State {
        values,
        log: KernelLog::from_now(COMPLAINTS)?,
    })
}

impl State {
    fn type_in(&self, line: &str) -> Result<Output> {
        let script = format!("{}{line}", self.values);
        Command::new("sh")
            .args(["-c", &script])
            .output()
            .with_context(|| format!("sh for {line}"))
    }

    fn run(&mut self, line: &Line) -> Outcome {
        let start = Instant::now();
        let mut times = 1;
        loop {
            let output = self.type_in(&line.text)?;
            let code = output.status.code();
            if code == Some(0) || code.is_some() && code == line.answer {
                break;
            }
            // While the BIOS is at work QEMU takes memory away from the device and gives it back, and the
            // module leaves that alone for a second.
            let stderr = String::from_utf8_lossy(&output.stderr);
            let is_passing = line.text.starts_with("pagemove move")
                && ["(EAGAIN)", "(ENOENT)"]
                    .iter()
                    .any(|why| stderr.contains(why));
            ensure!(
                (code == line.again || is_passing) && start.elapsed() < AGAIN,
                "{}, the {times}. time: {}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr),
                String::from_utf8_lossy(&output.stdout)
            );
            times += 1;
            std::thread::sleep(Duration::from_millis(200));
        }
        if times > 1 {
            tap::note(&format!("typed {times} times"));
        }
        self.log.check()?;
        self.is_done(&line.text)?;
        Ok(Pass)
    }

    /// Looks whether a line has done what stands behind it.
    fn is_done(&self, line: &str) -> Result<()> {
        let Some(node) = argument(line, "--to-node") else {
            return Ok(());
        };
        let node: i32 = node.parse().context("the node")?;
        let control = Control::open()?;
        let region = *control.region_list()?.first().context("no region")?;
        // What the device has at an address of these is what the guest has there.
        let (offset, length, missing) = match argument(line, "--iova") {
            Some(iova) => (
                mib(iova)?,
                mib(argument(line, "--length").context("no length")?)?,
                0,
            ),
            // ROMs of the default machine lie in the first MiB, where the device may not write.
            None => (0, region.length, 256),
        };
        let places = control.region_query(region.id, offset, length)?;
        let is_there = |place: &&Place| (place.kind, place.number) == (PLACE_NODE, node);
        let elsewhere = places.len() - places.iter().filter(is_there).count();
        ensure!(
            elsewhere <= missing,
            "{elsewhere} pages are elsewhere than on node {node}"
        );
        Ok(())
    }

    fn left(&mut self) -> Outcome {
        ensure!(!module::is_loaded(module::PAGEMOVE), "the module is loaded");
        ensure!(!Path::new("/run/guest.pid").exists(), "QEMU is there");
        self.log.check()?;
        Ok(Pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_they_stand() {
        let text = "# x\n    no\n## On your machine\n\n    make     # it\n    DEV=a:b   # one\n\
                    \n    # why\n    echo $DEV > f\n    qemu -m 1 \\\n        -x    # more\ntext\n\
                    ## Next\n    no\n";
        let line = |text: &str| Line {
            text: text.to_string(),
            again: None,
            answer: None,
        };
        assert_eq!(
            section(text),
            Section {
                values: vec![("DEV".to_string(), "a:b".to_string())],
                lines: vec![line("echo $DEV > f"), line("qemu -m 1 -x")],
            }
        );
    }

    /// What the defects of that section were.
    #[test]
    fn the_section_is_whole() {
        let section = section(README);
        let names: Vec<&str> = section
            .values
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["KO", "DEV", "RAM"]);
        let at = |begin: &str| {
            let found = section
                .lines
                .iter()
                .position(|line| line.text.starts_with(begin));
            found.unwrap_or_else(|| panic!("no line begins with {begin}: {section:?}"))
        };
        assert!(at("modprobe") < at("insmod") && at("insmod") < at("pagemove qualify"));
        assert!(at("qemu-system-x86_64") < at("pagemove move"));
        for line in &section.lines {
            assert!(
                !line.text.contains('…') && !line.text.ends_with('\\'),
                "{line:?}"
            );
        }
    }
}
