// SPDX-License-Identifier: GPL-2.0
//! `vanish`: the device goes away while its pages are moved, either because it was asked
//! to (a person at the machine, by QEMU's monitor) or at once (it is pulled out of its
//! slot). A guest that closes it late must not hurt either.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{Control, PciAddress};

use crate::campaign::tool::{Failure, Running};
use crate::campaign::{judge_last, with_tap, Campaign};
use pagemove_devices::pci::PciBus;
use pagemove_testkit::slot::Slot;
use pagemove_testkit::tap::{to_runner, Tap};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum How {
    /// The runner asks QEMU to unplug it: Linux takes its driver away first.
    Unplug,
    /// It is gone before anybody knows.
    Surprise,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[arg(long, value_enum)]
    pub how: How,
    /// What the guest does when VFIO asks for the device.
    #[arg(long, default_value = "close")]
    pub reaction: String,
    /// QEMU's id of the device.
    #[arg(long, default_value = "vn0")]
    pub id: String,
    #[command(flatten)]
    pub campaign: crate::campaign::Options,
}

/// An attention button is heard for five seconds before anything happens.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
/// VFIO resets the device while it is closed, which takes long if it is not there.
const CLOSED_TIMEOUT: Duration = Duration::from_secs(40);
const GONE_TIMEOUT: Duration = Duration::from_secs(20);
/// No call waits for a device that is gone: its reset alone takes more than a minute. The
/// tool has to be started, too, on a machine that may be busy.
const LONGEST_CALL: Duration = Duration::from_secs(20);

/// So many that a call takes a while.
const CPU_PAGES: &str = "1500";

/// What a call may end with when its device was closed, and is gone.
const DOCUMENTED: [&str; 4] = ["EAGAIN", "ENOTCONN", "ENXIO", "ENODEV"];

/// Calls in one of which the device has to go.
const TRIES: u32 = 20;

const TESTS: usize = 7;

pub fn run(options: &Options) -> Result<ExitCode> {
    let arguments = [
        "--device",
        "virtio-net",
        "--pages",
        "64",
        "--cpu-pages",
        CPU_PAGES,
    ];
    let mut arguments = arguments.map(String::from).to_vec();
    arguments.extend(["--on-request".to_string(), options.reaction.clone()]);
    Ok(with_tap(
        TESTS,
        &options.campaign,
        &arguments,
        |campaign, tap| vanish(campaign, options, tap),
    ))
}

fn vanish(mut campaign: Campaign, options: &Options, tap: &mut Tap) -> Result<()> {
    let address: PciAddress = campaign.guest.layout.device.parse()?;
    let mut calls = Calls::default();
    for _ in 0..2 {
        calls.make(&mut campaign, |_, _| Ok(()))?;
    }
    ensure!(calls.end.is_none(), "no move works: {:?}", calls.end);
    let dmas = campaign.guest.status()?.dmas();
    ensure!(dmas > 0, "the device makes no DMA");
    let mut within = false;
    for call in 1..=TRIES {
        calls.make(&mut campaign, |campaign, running| {
            within = has_begun(campaign, running)?;
            if !within && call < TRIES {
                // It was over before that was seen: in the next call, then.
                return Ok(());
            }
            match options.how {
                How::Unplug => to_runner(&format!("unplug {}", options.id)),
                How::Surprise => Slot::of(&PciBus::default(), address)?.pull_out()?,
            }
            Ok(())
        })?;
        if within {
            break;
        }
    }
    let moved = campaign.sums.pages_moved;
    tap.test(
        within,
        &format!("it was to go within a move call; {moved} pages were moved by then"),
    );
    let after = moves_until_closed(&mut campaign, &mut calls)?;
    report_moves(&calls, after, options, tap);
    report_end(&mut campaign, calls, tap)?;
    wait_until_gone(address, tap);
    finish(campaign, tap)
}

/// Calls of the tool, one after the other.
#[derive(Default)]
struct Calls {
    count: u32,
    longest: Duration,
    /// How the last one ended, if that was an error.
    end: Option<Failure>,
}

impl Calls {
    /// One call; `meanwhile` is done while it runs.
    fn make(
        &mut self,
        campaign: &mut Campaign,
        meanwhile: impl FnOnce(&Campaign, &Running) -> Result<()>,
    ) -> Result<()> {
        let node = 1 - (self.count % 2) as i32;
        let start = Instant::now();
        let running = campaign.start_even_if_there(node);
        meanwhile(campaign, &running)?;
        let report = campaign.finish_even_if_there(running, node)?;
        self.count += 1;
        self.longest = self.longest.max(start.elapsed());
        self.end = report.error;
        Ok(())
    }
}

/// Waits until the module works on a call; false if that has ended.
fn has_begun(campaign: &Campaign, running: &Running) -> Result<bool> {
    let before = campaign.stats()?.invalidations;
    while campaign.stats()?.invalidations == before && !running.is_done() {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(!running.is_done())
}

/// Moves on and on, until a call is refused or the time is up. How many pages were moved
/// after VFIO had asked for the device.
fn moves_until_closed(campaign: &mut Campaign, calls: &mut Calls) -> Result<Option<u64>> {
    let mut asked = None;
    let end = Instant::now() + REQUEST_TIMEOUT;
    while calls.end.is_none() && Instant::now() < end {
        if asked.is_none() && campaign.guest.status()?.asked {
            asked = Some(campaign.sums.pages_moved);
        }
        calls.make(campaign, |_, _| Ok(()))?;
    }
    // It may have been asked and have closed within one call.
    if asked.is_none() && campaign.guest.status()?.asked {
        asked = Some(campaign.sums.pages_moved);
    }
    Ok(asked.map(|before| campaign.sums.pages_moved - before))
}

fn report_moves(calls: &Calls, after: Option<u64>, options: &Options, tap: &mut Tap) {
    let late = options.reaction == "late";
    let text = match after {
        None => "VFIO never asked for the device".to_string(),
        Some(pages) => format!("VFIO asked for the device; {pages} pages were moved after that"),
    };
    // The TLB of a device that was pulled out can't be asked, so nothing moves any more.
    let expected = |pages: u64| match options.how {
        How::Unplug => !late || pages > 0,
        How::Surprise => pages == 0,
    };
    tap.test(after.is_some_and(expected), &text);
    tap.test(
        calls.longest <= LONGEST_CALL,
        &format!(
            "{} calls, the longest took {:.2} s",
            calls.count,
            calls.longest.as_secs_f64()
        ),
    );
}

fn report_end(campaign: &mut Campaign, calls: Calls, tap: &mut Tap) -> Result<()> {
    let mut closed = campaign.guest.status()?.closed;
    let until = Instant::now() + CLOSED_TIMEOUT;
    while !closed && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
        closed = campaign.guest.status()?.closed;
    }
    let (known, text) = match calls.end {
        None => (false, "no call was refused".to_string()),
        Some(end) => (
            DOCUMENTED.contains(&end.errno.as_str()),
            format!("the last call ended with {} ({})", end.errno, end.message),
        ),
    };
    tap.test(
        known && closed && campaign.sums.lost == 0 && campaign.misplaced == 0,
        &format!(
            "{text}; {} pages moved in all, {} of them not where the tool said, aborts: {}",
            campaign.sums.pages_moved,
            campaign.misplaced,
            campaign.sums.describe_aborts()
        ),
    );
    Ok(())
}

fn wait_until_gone(address: PciAddress, tap: &mut Tap) {
    let directory = PciBus::default().directory(address);
    let gone = wait(GONE_TIMEOUT, || !directory.exists());
    tap.test(gone, &format!("the function {address} is gone"));
}

/// What the pages hold is checked, and that nothing of them stays behind.
fn finish(campaign: Campaign, tap: &mut Tap) -> Result<()> {
    let last = campaign.guest.stop()?;
    judge_last(&last, tap);
    let control = Control::open()?;
    let left = || -> Result<(usize, u64)> {
        let devices = control.device_list().context("listing devices")?.len();
        Ok((devices, control.stats()?.region_pages))
    };
    let clean = wait(GONE_TIMEOUT, || left().is_ok_and(|left| left == (0, 0)));
    let (devices, pages) = left()?;
    tap.test(
        clean,
        &format!("{devices} devices and {pages} pages are left when the guest has ended"),
    );
    Ok(())
}

fn wait(timeout: Duration, done: impl Fn() -> bool) -> bool {
    let end = Instant::now() + timeout;
    while !done() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}
