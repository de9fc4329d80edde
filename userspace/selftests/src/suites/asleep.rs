// SPDX-License-Identifier: GPL-2.0
//! Devices that sleep. Their memory moves as any other, by both engines; where such a device has a TLB of
//! its own, it can't be asked to forget a page, and the call says so.

use std::os::unix::fs::FileExt;
use std::process::ExitCode;

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::pci;
use pagemove_testkit::tap::{self, Case, Outcome, Pass};
use pagemove_uapi::{ENGINE_ADBIT, ENGINE_RTM, MOVE_EVEN_IF_THERE, REASON_ASLEEP, REASON_NONE};

use crate::bench::{self, Bench};
use crate::rig::Rig;

const PAGES: usize = 4;

pub fn main(arguments: &[String]) -> ExitCode {
    match arguments.first().map(String::as_str) {
        None => of_ats(),
        Some("cold") => of_cold(),
        Some(other) => tap::fail_all(&anyhow::anyhow!("there is no part {other}")),
    }
}

/// A build for tests (`inject=32`) says that devices do not answer, for they have no power.
fn of_cold() -> ExitCode {
    let mut rig = match Rig::open(PAGES) {
        Ok(rig) => rig,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |(name, engine)| Case::new(name, move |rig: &mut Rig| moves_all(rig, engine));
    let cases = [
        ("without power: its memory moves by adbit", ENGINE_ADBIT),
        ("without power: its memory moves by rtm", ENGINE_RTM),
    ];
    tap::run(&mut rig, cases.into_iter().map(case).collect())
}

fn moves_all(rig: &Rig, engine: u32) -> Outcome {
    let to = rig.other(rig.node_of(0)?);
    // An attempt of rtm's may come too late on a busy host.
    let mut request = rig.request(0, PAGES, engine, to);
    request.retries = 1000;
    let (report, results) = rig.move_patiently(&request);
    ensure!(
        report.error.is_none() && report.pages_moved == PAGES as u64,
        "{}: {results:?}",
        bench::describe(&report)
    );
    Ok(Pass)
}

/// A device with ATS, open.
struct Sleeper(Bench);

fn of_ats() -> ExitCode {
    let mut sleeper = match Sleeper::open() {
        Ok(sleeper) => sleeper,
        Err(error) => return tap::fail_all(&error),
    };
    let cases = vec![Case::new(
        "with a TLB of its own: reason asleep while it sleeps, and moves when it is awake",
        |sleeper: &mut Sleeper| sleeps_and_wakes(sleeper).map(|()| Pass),
    )];
    tap::run(&mut sleeper, cases)
}

impl Sleeper {
    fn open() -> Result<Self> {
        let found = pci::find(pci::VIRTIO_NET)?;
        let device = *found.first().context("the VM has no virtio-net")?;
        Ok(Self(Bench::of(device, PAGES)?))
    }

    /// Lets the device go to a state: 0 is awake, 3 D3hot.
    fn go_to(&self, state: u8) -> Result<()> {
        const CONFIGURATION: u32 = 7;
        let region = self.0.assigned.device.region(CONFIGURATION);
        let (base, _) = region.map_err(std::io::Error::from_raw_os_error)?;
        let at = base + u64::from(self.power_management(base)?) + 4;
        let file = self.0.assigned.device.file();
        let mut word = [0; 2];
        file.read_exact_at(&mut word, at)?;
        word[0] = word[0] & !3 | state;
        file.write_all_at(&word, at)?;
        let path = format!("/sys/bus/pci/devices/{}/power_state", self.0.device);
        let says = std::fs::read_to_string(&path).context(path)?;
        let expected = if state == 0 { "D0" } else { "D3hot" };
        ensure!(says.trim() == expected, "it is in {says}");
        Ok(())
    }

    /// Finds the capability.
    fn power_management(&self, base: u64) -> Result<u8> {
        const FIRST: u64 = 0x34;
        const KIND: u8 = 1;
        let file = self.0.assigned.device.file();
        let mut at = [0];
        file.read_exact_at(&mut at, base + FIRST)?;
        for _ in 0..48 {
            let mut head = [0; 2];
            file.read_exact_at(&mut head, base + u64::from(at[0]))?;
            if head[0] == KIND {
                return Ok(at[0]);
            }
            at = [head[1]];
        }
        bail!("the device can't sleep")
    }

    fn expect(&self, expected: (i32, u32)) -> Result<()> {
        for node in [self.0.nodes.there, self.0.nodes.here] {
            let mut request = self.0.request(0, PAGES, node);
            request.engine = ENGINE_ADBIT;
            request.flags = MOVE_EVEN_IF_THERE;
            let report = self.0.control.move_pages(&request, None);
            let found = bench::answer_of(&report);
            ensure!(found == expected, "{}", bench::describe(&report));
            let moved = if found.0 == 0 { PAGES as u64 } else { 0 };
            ensure!(report.pages_moved == moved, "{report:?}");
        }
        self.0.region.map.check(0)
    }
}

fn sleeps_and_wakes(sleeper: &Sleeper) -> Result<()> {
    sleeper.expect((0, REASON_NONE))?;
    sleeper.go_to(3)?;
    let asleep = sleeper.expect((libc::EBUSY, REASON_ASLEEP));
    sleeper.go_to(0)?;
    asleep?;
    sleeper.expect((0, REASON_NONE))
}
