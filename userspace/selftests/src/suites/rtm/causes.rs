// SPDX-License-Identifier: GPL-2.0
//! Every cause of an abort, brought about on purpose: it is reported as what it is, the
//! page is as it was, and moves afterwards.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_rtm_emulation::{Control, Filter};
use pagemove_testkit::module;
use pagemove_testkit::slowness::slowness;
use pagemove_uapi::{
    text, ABORT_CAPACITY, ABORT_CONFLICT, ABORT_DEADLINE, ABORT_DEVICE_GONE, ABORT_EXPLICIT,
    ABORT_INTERRUPT, ABORT_LATE, ABORT_PTE_CHANGED, ABORT_TIMEOUT, ENGINE_RTM, PAGE_ABORTED,
    REASON_DEADLINE,
};

use super::{cause, is_intact, move_over};
use crate::bench;
use crate::rig::Rig;
use pagemove_testkit::tap::{self, Case, Pass};

const PARAMETERS: &str = "allow_incoherent=1 allow_unqualified=1 longest_us=3000";
/// How long to call until one is aborted for the cause that was brought about: it may be for
/// another, and on a busy host most are late.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a call with a deadline: with the pauses between them they take seconds.
const RETRIES: u16 = 10_000;
/// Longer than any phase 1.
const LONG_NS: u64 = 50_000_000;

/// How to bring a cause about.
#[derive(Clone, Copy)]
enum Means {
    /// The transaction is aborted with this status before XEND.
    Status(u32),
    /// It is held up before it has stored the entry.
    Delay,
    /// Parameters of the module's test build.
    Module(&'static str),
}

const CAUSES: [(u8, &str, Means); 11] = [
    (ABORT_CONFLICT, "conflict bit", Means::Status(1 << 2)),
    (
        ABORT_CONFLICT,
        "conflict and retry",
        Means::Status(1 << 2 | 1 << 1),
    ),
    (ABORT_CAPACITY, "capacity bit", Means::Status(1 << 3)),
    (ABORT_INTERRUPT, "no bit at all", Means::Status(0)),
    (ABORT_INTERRUPT, "retry alone", Means::Status(1 << 1)),
    (
        ABORT_EXPLICIT,
        "an XABORT of somebody else",
        Means::Status(0x55 << 24 | 1),
    ),
    (
        ABORT_PTE_CHANGED,
        "the entry is another",
        Means::Status(1 << 24 | 1),
    ),
    (
        ABORT_DEADLINE,
        "the deadline passes inside",
        Means::Status(4 << 24 | 1),
    ),
    (ABORT_LATE, "phase 1 is held up", Means::Delay),
    (
        ABORT_TIMEOUT,
        "the helper is slow to copy",
        Means::Module("stall_step=5 stall_us=50000 stall_for_ms=1000000"),
    ),
    (
        ABORT_DEVICE_GONE,
        "the device does not answer any more",
        Means::Module("inject=2"),
    ),
];

pub fn main(more: &str) -> ExitCode {
    let control = match Control::find() {
        Ok(control) => control,
        Err(why) => return tap::skip_all(&format!("no abort can be injected: {why}")),
    };
    let mut cases: Vec<Case<()>> = Vec::new();
    for (wanted, how, means) in CAUSES {
        let name = format!(
            "{}: {how}",
            text::name_or_number(text::ABORTS, wanted.into())
        );
        let more = more.to_string();
        cases.push(Case::new(name, move |_: &mut ()| {
            brought_about(control, (wanted, means), &more).map(|()| Pass)
        }));
    }
    let more = more.to_string();
    cases.push(Case::new(
        "deadline: the call ends with ETIME",
        move |_: &mut ()| past_deadline(control, &more).map(|()| Pass),
    ));
    tap::run(&mut (), cases)
}

fn reload(parameters: &str) -> Result<()> {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(10))?;
    module::load_pagemove_with(&format!("{PARAMETERS} {parameters}"))
}

fn brought_about(control: Control, (wanted, means): (u8, Means), more: &str) -> Result<()> {
    let parameters = match means {
        Means::Module(parameters) => parameters,
        _ => "",
    };
    reload(&format!("{parameters} {more}"))?;
    let mut rig = Rig::open(4)?;
    let mut seen = BTreeMap::<u8, u32>::new();
    let end = Instant::now() + PATIENCE * slowness();
    while Instant::now() < end {
        let found = one(&mut rig, control, means)?;
        if found == wanted {
            if !parameters.is_empty() {
                drop(rig);
                reload(more)?;
                rig = Rig::open(4)?;
            }
            return (0..4).try_for_each(|page| move_over(&mut rig, page, 0));
        }
        *seen.entry(found).or_default() += 1;
    }
    anyhow::bail!("not seen; calls by cause: {seen:?}")
}

/// One call, which has to be aborted; says for what.
fn one(rig: &mut Rig, control: Control, means: Means) -> Result<u8> {
    let kernel = Filter {
        kernel: true,
        ..Filter::default()
    };
    control.filter(&kernel);
    match means {
        Means::Status(status) => control.abort_at(0, status, u64::MAX / 2),
        Means::Delay => control.delay_at(3, LONG_NS, u64::MAX / 2),
        Means::Module(_) => {}
    }
    let request = rig.request(0, 1, ENGINE_RTM, rig.nodes.there);
    let (report, results) = rig.move_pages(&request);
    control.clear();
    let result = results.first().context("no result")?;
    ensure!(
        result.outcome == PAGE_ABORTED && report.pages_moved == 0,
        "outcome {}, {}: {}",
        result.outcome,
        cause(result),
        bench::describe(&report)
    );
    ensure!(
        report.aborts[usize::from(result.abort)] == 1,
        "{} was not counted",
        cause(result)
    );
    is_intact(rig, 0, rig.nodes.here, 0)?;
    Ok(result.abort)
}

fn past_deadline(control: Control, more: &str) -> Result<()> {
    reload(more)?;
    let mut rig = Rig::open(4)?;
    let here = rig.nodes.here;
    control.abort_at(0, 1 << 2, u64::MAX / 2);
    let mut request = rig.request(0, 1, ENGINE_RTM, rig.nodes.there);
    request.retries = RETRIES.into();
    request.deadline_ns = 30_000_000;
    let (report, results) = rig.move_pages(&request);
    control.clear();
    let found = report.error.map(|error| (error.errno, error.reason));
    ensure!(
        found == Some((libc::ETIME, REASON_DEADLINE)),
        "{}",
        bench::describe(&report)
    );
    // By its deadline and not when it had no retries left. How late it is is the host's.
    let attempts = results.first().context("no result")?.attempts;
    ensure!(attempts < RETRIES, "all {attempts} attempts");
    is_intact(&mut rig, 0, here, 0)?;
    move_over(&mut rig, 0, 0)
}
