// SPDX-License-Identifier: GPL-2.0
//! `sabotage`: a test build of the module leaves out one step, and a hot storm
//! has to show it: in the harness's own account, or in the module's own
//! verification. Kind 0 leaves nothing out: the control, which must show
//! nothing.

use std::fmt;
use std::process::ExitCode;

use anyhow::{ensure, Result};
use pagemove_uapi::Control;

use crate::campaign::tool::Range;
use crate::campaign::Campaign;
use pagemove_testkit::tap::{note, skip_all, Tap};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What the loaded module leaves out (its parameter `sabotage`).
    #[arg(long, value_parser = kind)]
    pub kind: u32,
    /// Move without the verification: then only the harness can catch it.
    #[arg(long)]
    pub no_verify: bool,
    /// A cause of aborts that the control has to see.
    #[arg(long, value_name = "CAUSE")]
    pub expect_abort: Option<String>,
    /// Moves that the control makes.
    #[arg(long, default_value_t = 5000)]
    pub moves: u64,
    #[command(flatten)]
    pub campaign: crate::campaign::Options,
}

/// Seconds after which a sabotage has survived. It is seen when a DMA meets a move, which takes a
/// few seconds on a quiet machine.
const TIME_LIMIT: u64 = 300;

/// By the module's parameter.
const KINDS: [&str; 7] = [
    "nothing left out",
    "first invalidation left out",
    "A/D clear left out",
    "CPU hold-back left out",
    "compare in the swap left out",
    "verification left out",
    "read-back from the aperture left out",
];

/// The parameter's values from here on are steps of the engines', by their bits.
const FIRST_STEP: u32 = 100;

/// Of these, holding CPUs back, and until the end.
const STEP_CPU_HOLD: u32 = FIRST_STEP + 2;
const STEP_CPUS_LAST: u32 = FIRST_STEP + 36;

fn kind(text: &str) -> Result<u32> {
    let kind: u32 = text.parse()?;
    let is_known = kind < KINDS.len() as u32 || (FIRST_STEP..FIRST_STEP + 64).contains(&kind);
    ensure!(
        is_known,
        "it is 0 to {}, or {FIRST_STEP} and the bit of a step",
        KINDS.len() - 1
    );
    Ok(kind)
}

fn name_of(kind: u32) -> String {
    match KINDS.get(kind as usize) {
        Some(name) => name.to_string(),
        None => format!("step {} left out", kind - FIRST_STEP),
    }
}

/// A hot storm: few pages and a deep queue.
const HOT: [&str; 10] = [
    "--device",
    "nvme",
    "--pages",
    "6",
    "--queue-depth",
    "16",
    "--cpu-pages",
    "4",
    "--cpu-writers",
    "1",
];
/// Seconds after which a transfer is taken for lost; where nothing is left out that is the host's doing.
const SOON: &str = "8";
const LATE: &str = "60";

/// The CPU hold-back.
const CPU_HOLD: u32 = 3;

/// Arguments of the guest. Writers that never pause show a missing hold-back;
/// elsewhere they would keep a CPU from the emulated device.
fn guest_arguments(kind: u32) -> Vec<String> {
    let pause = if matches!(kind, 0 | CPU_HOLD | STEP_CPU_HOLD | STEP_CPUS_LAST) {
        "0"
    } else {
        "1000"
    };
    let timeout = if kind == 0 { LATE } else { SOON };
    HOT.iter()
        .chain(&["--cpu-pause-us", pause, "--transfer-timeout", timeout])
        .map(|text| text.to_string())
        .collect()
}

/// Who found the loss.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Catch {
    Module(String),
    Harness(String),
}

impl fmt::Display for Catch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Catch::Module(what) => write!(f, "module: {what}"),
            Catch::Harness(what) => write!(f, "harness: {what}"),
        }
    }
}

/// What a run came to.
#[derive(Debug)]
struct Outcome {
    caught: Option<Catch>,
    /// How many pages by which engine, in words.
    moved: String,
    dmas: u64,
    aborts: String,
}

impl Outcome {
    fn meanwhile(&self) -> String {
        format!(
            "{}, {} DMAs, aborts: {}",
            self.moved, self.dmas, self.aborts
        )
    }
}

pub fn run(options: &Options) -> Result<ExitCode> {
    if Control::open()?.info()?.test_build != 1 {
        return Ok(skip_all("this is no test build of the module"));
    }
    let mut tap = Tap::plan(1);
    let name = name_of(options.kind);
    let how = if options.no_verify {
        ", moving without verification"
    } else {
        ""
    };
    let what = format!("sabotage {} ({name}{how})", options.kind);
    match attempt(options) {
        Ok(outcome) => {
            let (passed, verdict) = judge(options.kind, &outcome);
            tap.test(passed, &format!("{what} {verdict}"));
        }
        Err(error) => tap.fail_the_rest(&format!("{what} could not be tried: {error:#}")),
    }
    Ok(tap.exit_code())
}

fn judge(kind: u32, outcome: &Outcome) -> (bool, String) {
    let meanwhile = outcome.meanwhile();
    match (kind, &outcome.caught) {
        (0, None) => (true, format!("lost nothing: {meanwhile}")),
        (0, Some(catch)) => (
            false,
            format!("lost something, says the {catch} ({meanwhile})"),
        ),
        (_, None) => (false, format!("survived: {meanwhile}")),
        (_, Some(catch)) => (true, format!("caught by {catch} ({meanwhile})")),
    }
}

fn attempt(options: &Options) -> Result<Outcome> {
    let mut settings = options.campaign.clone();
    settings.time_limit.get_or_insert(TIME_LIMIT);
    let mut campaign =
        Campaign::start(&settings, options.no_verify, &guest_arguments(options.kind))?;
    if options.kind > 0 && options.no_verify {
        // A lost ring entry would stop the device before data is lost.
        campaign.range = Range::without_control(&campaign.guest.layout);
    }
    let mut caught = storm(&mut campaign, options)?;
    let pages_moved = campaign.sums.pages_moved;
    let moved = campaign.sums.describe_moved();
    ensure!(
        campaign.engine_is_as_asked(),
        "{moved}, with --engine {}",
        campaign.tool.engine
    );
    let aborts = campaign.sums.describe_aborts();
    if let Some(cause) = &options.expect_abort {
        let seen = campaign.sums.aborts.get(cause).copied().unwrap_or(0);
        ensure!(seen > 0, "no abort by '{cause}' was seen: {aborts}");
    }
    let last = campaign.guest.stop()?;
    last.events.iter().for_each(|event| note(event));
    if caught.is_none() && !last.is_clean() {
        caught = Some(Catch::Harness(last.describe_losses()));
    }
    if options.kind == 0 {
        ensure!(
            pages_moved >= options.moves,
            "only {pages_moved} of {} pages were moved in time",
            options.moves
        );
    }
    Ok(Outcome {
        caught,
        moved,
        dmas: last.dmas(),
        aborts,
    })
}

/// Moves back and forth until somebody notices, or the time is up.
fn storm(campaign: &mut Campaign, options: &Options) -> Result<Option<Catch>> {
    let mut node = 1;
    while !campaign.time_is_up() && (options.kind > 0 || campaign.sums.pages_moved < options.moves)
    {
        let report = campaign.move_to(node)?;
        if report.found_loss() || campaign.lost_writes()? > 0 {
            let words = report
                .error
                .map(|failure| format!(", {}", failure.errno))
                .unwrap_or_default();
            return Ok(Some(Catch::Module(format!(
                "{} lost writes found{words}",
                campaign.lost_writes()?
            ))));
        }
        if let Some(why) = report.fatal() {
            anyhow::bail!("moving ended: {why}");
        }
        let status = campaign.guest.status()?;
        if !status.is_clean() {
            return Ok(Some(Catch::Harness(status.describe_losses())));
        }
        node = 1 - node;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(caught: Option<Catch>) -> Outcome {
        Outcome {
            caught,
            moved: "10 pages moved (adbit 10)".to_string(),
            dmas: 20,
            aborts: "none".to_string(),
        }
    }

    #[test]
    fn a_sabotage_has_to_be_caught_and_the_control_must_not() {
        let catch = || Some(Catch::Harness("1 pages with lost writes".into()));
        for kind in 1..KINDS.len() as u32 {
            assert!(judge(kind, &outcome(catch())).0);
            assert!(!judge(kind, &outcome(None)).0);
        }
        assert!(judge(0, &outcome(None)).0);
        assert!(!judge(0, &outcome(catch())).0);
    }

    #[test]
    fn the_verdict_names_who_found_it() {
        let (_, text) = judge(
            1,
            &outcome(Some(Catch::Module("2 lost writes found, EIO".into()))),
        );
        assert_eq!(
            text,
            "caught by module: 2 lost writes found, EIO (10 pages moved (adbit 10), 20 DMAs, aborts: none)"
        );
        assert!(judge(4, &outcome(None)).1.starts_with("survived"));
    }
}
