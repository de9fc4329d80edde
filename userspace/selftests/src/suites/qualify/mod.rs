// SPDX-License-Identifier: GPL-2.0
//! `pagemove qualify` on the emulated machine: its answers, and that the module goes by
//! them. The arguments are the format that the VM is meant to have, and what its emulated
//! transactions notice: nothing for a VM without; `rtm`: every access; `rtm-values`: changed
//! values only, so that a walk that stores nothing is not seen. Others name what is wrong with the machine.

mod answers;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{module, pci};
use pagemove_uapi::{self as uapi, PciAddress};
use serde_json::Value;

use crate::bench::{self, Bench};
use crate::patience;
use answers::{
    equal, expect_answers, expect_engines, expect_list, expect_no_rtm, is_yes, question, tell,
};
use pagemove_testkit::tap::{self, Case, Outcome, Pass, Verdict};

const PROGRAM: &str = "pagemove";
const FILE: &str = "/lib/firmware/pagemove/verdicts";
/// Without the parameter that the other suites have, allow_unqualified.
const PARAMETERS: &str = "allow_incoherent=1";
/// The same where transactions are emulated, which takes longer than the default allows.
const EMULATED: &str = "allow_incoherent=1 longest_us=3000";
/// A build for tests, which says of writes that have landed that A and D are not set yet.
const LATE: &str = "allow_incoherent=1 inject=46";
/// What is seen of an IOMMU that does not say that all DMA looks into the caches.
const LOOSE: &[(&str, &str)] = &[("drains", "yes"), ("snoops", "no"), ("ad-first", "yes")];
/// What is seen of one that sets A and D after the access.
const LATE_MARKS: &[(&str, &str)] = &[("ad-first", "no")];
/// Builds for tests: a table is known for a moment before it is filled; its pieces map their neighbours.
const LATE_TABLE: &str = "allow_incoherent=1 inject=64";
const ASTRAY: &str = "allow_incoherent=1 inject=65";
/// What is seen of either.
const SIZES_LOSE: &[(&str, &str)] = &[("split-live", "no"), ("merge-live", "no")];
/// Splits and merges that an answer takes here, and DMAs meanwhile: an emulator has few in the time.
const ROUNDS: u32 = 100;
const HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";
/// What is seen of both all the same.
const NOTHING_LOST: &[(&str, &str)] = &[("ad-set", "yes"), ("valid-change-adbit", "yes")];
const USAGE: &str =
    "qualify wants one of: x86_64 vtdss amdv1, and perhaps: loose late late-table astray rtm rtm-values";
const PAGES: usize = 16;
/// Seconds from which on too little evidence is an answer.
const LONGEST: u32 = 36;
/// Bytes before the verdicts, and of the name of an IOMMU.
const HEADER: usize = 8;
const NAME: usize = 16;

type Check = fn(&mut ()) -> Outcome;

const X86_64: &[(&str, Check)] = &[
    (
        "a device that is not bound: the command that binds it",
        not_bound,
    ),
    (
        "without a verdict a move is refused, reason unqualified",
        unqualified_first,
    ),
    (
        "a device that a VMM has open: one error, and nothing changes",
        in_use,
    ),
    (
        "qualify: answers from what was seen; adbit is allowed",
        allows_adbit,
    ),
    ("with its verdict a move works", moves),
    (
        "a write is seen to land, whichever part of a page it is to, with the marks of that moment",
        lands,
    ),
    (
        "a move without verification: only if no swap was overwritten",
        unverified,
    ),
    ("qualify --list shows the verdict", listed),
    (
        "qualify --dry-run of a device too slow for evidence: none allowed, nothing set",
        dry_run,
    ),
    ("loaded again the module knows nothing of it", forgets),
    (
        "qualify --store: loaded again the module allows the move",
        stores,
    ),
    (
        "a stored no outweighs a later yes, until it is given up by name",
        keeps_a_no,
    ),
    (
        "a stored verdict of another machine does not count, and stays in the file",
        other_machine,
    ),
    ("qualify --restore sets what is stored elsewhere", restores),
    (
        "a damaged file allows nothing, and is not replaced",
        damaged,
    ),
];

pub fn main(args: &[String]) -> ExitCode {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let format = ["x86_64", "vtdss", "amdv1"]
        .into_iter()
        .find(|format| args.first() == Some(format));
    let cases = match (format, args.get(1)) {
        (Some("x86_64"), None) => X86_64
            .iter()
            .map(|(name, check)| Case::new(*name, check))
            .collect(),
        (Some(format), None) => refusing(format),
        (Some(format), Some(&"loose")) => of_broken(format, "an IOMMU that does not snoop", LOOSE),
        (Some(format), Some(&"late")) => of_broken(format, "A and D after the access", LATE_MARKS),
        (Some(format), Some(&"late-table")) => losing(format, "a table that is filled late"),
        (Some(format), Some(&"astray")) => losing(format, "pieces that map their neighbours"),
        (Some(format), Some(&"rtm")) => with_rtm(format, true),
        (Some(format), Some(&"rtm-values")) => with_rtm(format, false),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(1);
        }
    };
    let parameters = match args.get(1) {
        Some(&"late") => LATE,
        Some(&"late-table") => LATE_TABLE,
        Some(&"astray") => ASTRAY,
        Some(part) if part.starts_with("rtm") => EMULATED,
        _ => PARAMETERS,
    };
    if let Err(error) = reload_with(parameters).and(huge_pages(1)) {
        return tap::fail_all(&error);
    }
    tap::run(&mut (), cases)
}

/// Formats without A and D, on a CPU without RTM.
fn refusing(format: &'static str) -> Vec<Case<()>> {
    let answers = move |_: &mut ()| {
        let wanted = [
            ("ad-set", "no"),
            ("clean-walks", "can-not-be-tried"),
            ("split-live", "yes"),
            ("merge-live", "yes"),
        ];
        let json = qualify("", 1, &wanted)?;
        equal(&json, "/verdict/format", &format.into())?;
        expect_sizes(&json)?;
        expect_no_rtm(&json)?;
        expect_engines(&json, &[])
    };
    let refused = |_: &mut ()| {
        let (code, json) = run("qualify --list --json")?;
        ensure!(code == 1, "exit code {code}");
        expect_list(&json, "/verdicts/0/engines", &[])?;
        refused(uapi::REASON_FORMAT)
    };
    vec![
        Case::new(
            format!("{format}: qualify finds no A and D, and allows no engine"),
            answers,
        ),
        Case::new(
            format!("{format}: without a huge page split-live and merge-live can not be tried, and the rest is"),
            without_huge_pages,
        ),
        Case::new(
            format!("{format}: where none is reserved the kernel makes one"),
            with_made_huge_page,
        ),
        Case::new(
            format!("{format}: a move is refused, reason format"),
            refused,
        ),
    ]
}

/// None is reserved, and the kernel may make none for this process and its children.
fn without_huge_pages(_: &mut ()) -> Outcome {
    huge_pages(0)?;
    let makes_none = |is_on: bool| {
        // SAFETY: it is given numbers alone.
        let done = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, u64::from(is_on), 0, 0, 0) };
        ensure!(done == 0, "{}", std::io::Error::last_os_error());
        Ok(())
    };
    makes_none(true)?;
    let wanted = [
        ("ad-set", "no"),
        ("split-live", "can-not-be-tried"),
        ("merge-live", "can-not-be-tried"),
    ];
    let found = qualify("", 1, &wanted);
    makes_none(false)?;
    let json = found?;
    let why = question(&json, "split-live")?["why"].as_str();
    ensure!(
        why.is_some_and(|why| why.contains("/proc/sys/vm/nr_hugepages")),
        "{why:?}"
    );
    has_findings(&json, &[])
}

fn with_made_huge_page(_: &mut ()) -> Outcome {
    let json = qualify("", 1, &[("split-live", "yes"), ("merge-live", "yes")])?;
    expect_sizes(&json)?;
    huge_pages(1)?;
    Ok(Pass)
}

/// A module that changes the size of leaves in a wrong way: the answers are no, and stay so when it does it right, until
/// they are given up by name.
fn losing(format: &'static str, what: &str) -> Vec<Case<()>> {
    let judged = move |_: &mut ()| {
        let json = qualify("--store", 1, SIZES_LOSE)?;
        equal(&json, "/verdict/format", &format.into())?;
        let sizes = &question(&json, "split-live")?["evidence"];
        let number = |name: &str| sizes[name].as_u64().unwrap_or_default();
        let wrong = ["dmas_lost", "device_errors", "faults"].map(number);
        ensure!(wrong.iter().any(|count| *count > 0), "{sizes}");
        has_findings(&json, &["no-split-live", "no-merge-live"])
    };
    let kept = |_: &mut ()| {
        reload()?;
        let json = qualify(
            "--store --forget split-live",
            1,
            &[("merge-live", "no"), ("split-live", "yes")],
        )?;
        has_findings(&json, &["split-live", "no-merge-live"])
    };
    vec![
        Case::new(
            format!("{format}: {what}: split-live and merge-live are no, by what the device shows"),
            judged,
        ),
        Case::new(
            format!("{format}: one no outweighs a later yes, and is given up by name"),
            kept,
        ),
    ]
}

/// An IOMMU that does not promise what both engines need: `answers` says what is seen, though
/// nothing is lost.
fn of_broken(
    format: &'static str,
    what: &str,
    answers: &'static [(&'static str, &'static str)],
) -> Vec<Case<()>> {
    let judged = move |_: &mut ()| {
        let wanted = [answers, NOTHING_LOST].concat();
        let json = qualify("", 1, &wanted)?;
        equal(&json, "/verdict/format", &format.into())?;
        expect_engines(&json, &[])
    };
    vec![
        Case::new(
            format!("{format}: {what} allows no engine, whatever was seen"),
            judged,
        ),
        Case::new(
            format!("{format}: a move is refused, reason unqualified"),
            |_: &mut ()| refused(uapi::REASON_UNQUALIFIED),
        ),
    ]
}

/// A CPU with RTM. `sees_walks`: it notices a walk that stores nothing.
fn with_rtm(format: &'static str, sees_walks: bool) -> Vec<Case<()>> {
    let unqualified = |_: &mut ()| refused_by_rtm(uapi::REASON_UNQUALIFIED);
    let answers = move |_: &mut ()| {
        let device = nvme()?;
        pci::bind(device, pci::PAGEMOVE)?;
        let (code, json) = run(&format!(
            "qualify --json {device} --seconds 8 --unnoticed 10 --rounds 30"
        ))?;
        tell(&json);
        equal(&json, "/verdict/format", &format.into())?;
        let walks = if sees_walks { "yes" } else { "no" };
        expect_answers(&json, &[("walk-seen", walks)])?;
        let has_bits = format == "x86_64";
        expect_answers(&json, &[("ad-set", if has_bits { "yes" } else { "no" })])?;
        let a_seen = is_yes(&json, "a-seen")?;
        ensure!(has_bits || !a_seen, "there is no A");
        let by_a = a_seen && is_yes(&json, "ad-first")?;
        let rtm = (sees_walks || by_a) && is_yes(&json, "valid-change-rtm")?;
        ensure!(rtm || !sees_walks, "walks are seen, and rtm is not allowed");
        let adbit = has_bits && is_yes(&json, "ad-first")? && is_yes(&json, "valid-change-adbit")?;
        ensure!(code == i32::from(!(adbit || rtm)), "exit code {code}");
        let engines = [("adbit", adbit), ("rtm", rtm)];
        let allowed: Vec<&str> = engines
            .into_iter()
            .filter_map(|(name, allowed)| allowed.then_some(name))
            .collect();
        expect_engines(&json, &allowed)
    };
    let obeys = |_: &mut ()| {
        let (_, json) = run("qualify --list --json")?;
        let engines = json["verdicts"][0]["engines"]
            .as_array()
            .context("no verdict")?;
        if engines.iter().any(|engine| engine == "rtm") {
            moved_by_rtm()
        } else {
            refused_by_rtm(uapi::REASON_UNQUALIFIED)
        }
    };
    let seen = if sees_walks {
        "is seen: rtm is allowed"
    } else {
        "is not seen"
    };
    vec![
        Case::new(
            format!("{format}: without a verdict rtm is refused, reason unqualified"),
            unqualified,
        ),
        Case::new(
            format!("{format}: qualify finds that a walk that stores nothing {seen}"),
            answers,
        ),
        Case::new(
            format!("{format}: the module goes by the verdict on rtm"),
            obeys,
        ),
    ]
}

fn by_rtm(bench: &Bench) -> uapi::MoveReport {
    let request = uapi::MoveRequest {
        engine: uapi::ENGINE_RTM,
        retries: 1000,
        ..bench.request(0, PAGES, bench.nodes.there)
    };
    patience::patiently(|| bench.move_pages(&request)).0
}

fn refused_by_rtm(reason: u32) -> Outcome {
    let bench = Bench::open(PAGES)?;
    let report = by_rtm(&bench);
    bench.region.map.check(0)?;
    is_refused(&report, reason)
}

fn moved_by_rtm() -> Outcome {
    let bench = Bench::open(PAGES)?;
    let report = by_rtm(&bench);
    bench.region.map.check(0)?;
    ensure!(
        report.error.is_none() && report.pages_moved > 0 && report.engine_used == uapi::ENGINE_RTM,
        "{} pages, {}",
        report.pages_moved,
        bench::describe(&report)
    );
    Ok(Pass)
}

fn nvme() -> Result<PciAddress> {
    let found = pci::find(pci::NVME)?;
    found.first().copied().context("the VM has no NVMe device")
}

fn start(line: &str) -> Result<Output> {
    let mut command = Command::new(PROGRAM);
    command.args(line.split_whitespace());
    command.output().context("starting pagemove")
}

fn run(line: &str) -> Result<(i32, Value)> {
    let output = start(line)?;
    let code = output
        .status
        .code()
        .with_context(|| output.status.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let json = serde_json::from_slice(&output.stdout).with_context(|| format!("it says {said}"))?;
    Ok((code, json))
}

/// Qualifies with the first NVMe device, until there is evidence for each of these answers. What was found
/// goes into the log, for it differs from run to run.
fn qualify(options: &str, code: i32, wanted: &[(&str, &str)]) -> Result<Value> {
    let device = nvme()?;
    pci::bind(device, pci::PAGEMOVE)?;
    let mut seconds = 4;
    loop {
        let (found, json) = run(&format!(
            "qualify --json {device} --seconds {seconds} --rounds {ROUNDS} {options}"
        ))?;
        tell(&json);
        // A busy machine shows less in the same time.
        let is_asked = |name: &str| found != code || wanted.iter().any(|(asked, _)| *asked == name);
        if lacks_evidence(&json, is_asked) && seconds < LONGEST {
            seconds *= 3;
            continue;
        }
        ensure!(found == code, "exit code {found} instead of {code}: {json}");
        expect_answers(&json, wanted)?;
        return Ok(json);
    }
}

/// Returns whether one of these questions has no answer since too little was seen.
fn lacks_evidence(json: &Value, is_asked: impl Fn(&str) -> bool) -> bool {
    let questions = json["questions"].as_array();
    let is_open = |question: &Value| {
        question["answer"] == "not-seen" && question["question"].as_str().is_some_and(&is_asked)
    };
    questions.is_some_and(|questions| questions.iter().any(is_open))
}

/// Reserves so many huge pages, or gives them up.
fn huge_pages(count: u32) -> Result<()> {
    fs::write(HUGE_PAGES, count.to_string()).context(HUGE_PAGES)
}

/// Leaves were split and merged while the device wrote and read their pages, and the findings say so.
fn expect_sizes(json: &Value) -> Result<()> {
    let sizes = &question(json, "split-live")?["evidence"];
    let number = |name: &str| sizes[name].as_u64().unwrap_or_default();
    let least = ["splits", "merges", "met"].map(number).into_iter().min();
    ensure!(
        least >= Some(ROUNDS.into()) && number("reads") > 0 && number("reverted") == 0,
        "{sizes}"
    );
    has_findings(json, &["split-live", "merge-live"]).map(drop)
}

/// These are the findings on the size of leaves.
fn has_findings(json: &Value, wanted: &[&str]) -> Outcome {
    let findings = json["verdict"]["findings"]
        .as_array()
        .context("no verdict")?;
    let names = findings.iter().filter_map(Value::as_str);
    let found: Vec<&str> = names
        .filter(|name| name.ends_with("split-live") || name.ends_with("merge-live"))
        .collect();
    ensure!(found == wanted, "{found:?} instead of {wanted:?}");
    Ok(Pass)
}

/// Loads the module again, without any verdict but those stored.
fn reload() -> Result<()> {
    reload_with(PARAMETERS)
}

fn reload_with(parameters: &str) -> Result<()> {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(20))?;
    module::load_pagemove_with(parameters)
}

/// Moves some pages there and back; what became of it.
fn attempt(flags: u32) -> Result<uapi::MoveReport> {
    let bench = Bench::open(PAGES)?;
    let request = uapi::MoveRequest {
        flags,
        ..bench.request(0, PAGES, bench.nodes.there)
    };
    let (report, _) = bench.move_pages(&request);
    bench.region.map.check(0)?;
    Ok(report)
}

fn refused(reason: u32) -> Outcome {
    is_refused(&attempt(0)?, reason)
}

fn is_refused(report: &uapi::MoveReport, reason: u32) -> Outcome {
    let found = report.error.map(|error| (error.errno, error.reason));
    ensure!(
        found == Some((libc::EOPNOTSUPP, reason)) && report.pages_moved == 0,
        "{}",
        bench::describe(report)
    );
    Ok(Pass)
}

fn moves(_: &mut ()) -> Outcome {
    let report = attempt(0)?;
    ensure!(
        report.error.is_none() && report.pages_moved == PAGES as u64,
        "{}",
        bench::describe(&report)
    );
    Ok(Pass)
}

fn unqualified_first(_: &mut ()) -> Outcome {
    let (code, json) = run("qualify --list --json")?;
    ensure!(
        code == 1 && json["verdicts"] == serde_json::json!([]),
        "{json}"
    );
    refused(uapi::REASON_UNQUALIFIED)
}

fn not_bound(_: &mut ()) -> Outcome {
    let device = nvme()?;
    pci::unbind(device)?;
    let output = start(&format!("qualify {device}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{}", output.status);
    ensure!(
        said.lines().count() == 1 && said.contains("driver_override"),
        "it says {said:?}"
    );
    pci::bind(device, pci::PAGEMOVE)?;
    Ok(Pass)
}

fn in_use(_: &mut ()) -> Outcome {
    let bench = Bench::open(PAGES)?;
    let output = start(&format!("qualify {}", bench.device))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{}", output.status);
    ensure!(
        said.lines().count() == 1 && said.contains("is in use"),
        "it says {said:?}"
    );
    bench.region.map.check(0)?;
    Ok(Pass)
}

fn allows_adbit(_: &mut ()) -> Outcome {
    // What QEMU is known to do: Documentation/emulation.md.
    let known = [
        ("drains", "yes"),
        ("snoops", "yes"),
        ("ad-set", "yes"),
        ("ad-first", "yes"),
        ("clean-walks", "no"),
        ("valid-change-adbit", "yes"),
        ("split-live", "yes"),
        ("merge-live", "yes"),
    ];
    let json = qualify("", 0, &known)?;
    equal(&json, "/verdict/format", &"x86_64".into())?;
    expect_sizes(&json)?;
    equal(&json, "/set", &true.into())?;
    equal(&json, "/stored", &Value::Null)?;
    expect_no_rtm(&json)?;
    let race = &question(&json, "ad-cas")?["evidence"];
    ensure!(race["swaps"] != 0 && race["updates"] != 0, "{race}");
    // DMAs came while frames were swapped, or QEMU's store undid a swap before.
    ensure!(race["marked"] != 0 || race["undone"] != 0, "{race}");
    expect_engines(&json, &["adbit"])
}

/// Moves without verification. Whether the emulator overwrites a swap is a matter of chance: what
/// counts is that the module goes by what was seen.
fn unverified(_: &mut ()) -> Outcome {
    let (_, json) = run("qualify --list --json")?;
    let findings = json["verdicts"][0]["findings"]
        .as_array()
        .context("no verdict")?;
    let cas = findings.iter().any(|finding| finding == "ad-cas");
    tap::note(&format!("ad-cas was found: {cas}"));
    let report = attempt(uapi::MOVE_NO_VERIFY)?;
    let reason = report.error.map_or(uapi::REASON_NONE, |error| error.reason);
    let wanted = if cas {
        uapi::REASON_NONE
    } else {
        uapi::REASON_UNQUALIFIED
    };
    ensure!(reason == wanted, "{}", bench::describe(&report));
    Ok(Pass)
}

fn listed(_: &mut ()) -> Outcome {
    let (code, json) = run("qualify --list --json")?;
    ensure!(code == 0, "exit code {code}");
    equal(&json, "/verdicts/0/format", &"x86_64".into())?;
    equal(&json, "/verdicts/0/iommu", &"dmar0".into())?;
    expect_list(&json, "/verdicts/0/engines", &["adbit"])
}

/// A CPU writes, which marks no entry: what is found is what was there.
fn lands(_: &mut ()) -> Outcome {
    const LONGEST_NS: u64 = 100_000_000;
    const PATIENCE: Duration = Duration::from_secs(60);
    /// Words of an eighth of a page.
    const PART: usize = uapi::PAGE_SIZE / 8 / 8;
    let bench = Bench::open(1)?;
    let (file, map) = (&bench.region.control, &bench.region.map);
    let device = bench.device;
    let experiment = |kind, ns| {
        file.experiment(&uapi::ExperimentRequest {
            kind,
            device,
            iova: bench::IOVA,
            ns,
        })
    };
    for (before, marks) in [
        (uapi::EXPERIMENT_CLEAR, 0),
        (uapi::EXPERIMENT_SET, uapi::USED_ACCESSED | uapi::USED_DIRTY),
    ] {
        for part in 0..8 {
            // Others may have the CPU when the write comes.
            let end = Instant::now() + PATIENCE;
            let mut tries = std::iter::repeat(()).take_while(|()| Instant::now() < end);
            let seen = tries.find_map(|()| {
                let word = part * PART;
                let report = experiment(before, 0).and_then(|_| {
                    std::thread::scope(|scope| {
                        let look = scope.spawn(|| experiment(uapi::EXPERIMENT_LANDS, LONGEST_NS));
                        std::thread::sleep(Duration::from_millis(5));
                        map.write(0, word, !map.read(0, word));
                        look.join().expect("the thread that looks panicked")
                    })
                });
                match report {
                    Ok(report) if report.updates == 0 => None,
                    other => Some(other),
                }
            });
            let report = seen.context("no write was seen to land")??;
            ensure!(report.found == marks, "part {part}: {:#x}", report.found);
        }
    }
    Ok(Pass)
}

fn dry_run(_: &mut ()) -> Outcome {
    let edu = *pci::find(pci::EDU)?.first().context("no edu")?;
    pci::bind(edu, pci::PAGEMOVE)?;
    let mut seconds = 1;
    let json = loop {
        let line = format!("qualify --json {edu} --seconds {seconds} --rounds {ROUNDS} --dry-run");
        let (code, json) = run(&line)?;
        ensure!(code == 1, "exit code {code}: {json}");
        if !lacks_evidence(&json, |name| name == "ad-set") || seconds >= LONGEST {
            break json;
        }
        seconds *= 3;
    };
    expect_answers(
        &json,
        &[("ad-set", "yes"), ("valid-change-adbit", "not-seen")],
    )?;
    equal(&json, "/set", &false.into())?;
    expect_engines(&json, &[])?;
    listed(&mut ())
}

fn forgets(_: &mut ()) -> Outcome {
    reload()?;
    refused(uapi::REASON_UNQUALIFIED)
}

fn stores(state: &mut ()) -> Outcome {
    let json = qualify("--store", 0, &[])?;
    equal(&json, "/stored", &FILE.into())?;
    reload()?;
    listed(state)?;
    moves(state)
}

/// Makes the stored verdict one that has seen a move lose something.
fn keeps_a_no(state: &mut ()) -> Outcome {
    const ENGINES: usize = HEADER + NAME + 12;
    const FINDINGS: usize = HEADER + NAME + 16;
    let good = fs::read(FILE)?;
    let mut file = good.clone();
    let no = uapi::FINDING_NO_MOVES_ADBIT.to_ne_bytes();
    file[ENGINES..ENGINES + 4].fill(0);
    for (byte, no) in file[FINDINGS..FINDINGS + 4].iter_mut().zip(no) {
        *byte |= no;
    }
    fs::write(FILE, &file)?;
    reload()?;
    let json = qualify("--store", 1, &[("valid-change-adbit", "no")])?;
    expect_engines(&json, &[])?;
    refused(uapi::REASON_UNQUALIFIED)?;
    reload()?;
    refused(uapi::REASON_UNQUALIFIED)?;
    pci::bind(nvme()?, pci::PAGEMOVE)?;
    // Whether enough happens for a yes is a matter of chance; the no has gone at any rate.
    let line = format!(
        "qualify --json {} --store --rounds {ROUNDS} --forget valid-change-adbit",
        nvme()?
    );
    let (_, json) = run(&line)?;
    let again = &question(&json, "valid-change-adbit")?["answer"];
    ensure!(again == "yes" || again == "not-seen", "{again}");
    fs::write(FILE, good)?;
    reload()?;
    moves(state)
}

/// Makes the stored verdict one of a CPU that does not exist.
fn other_machine(state: &mut ()) -> Outcome {
    let mine = fs::read(FILE)?;
    let mut other = mine.clone();
    other[HEADER + NAME + 4] ^= 0xff;
    fs::write(FILE, &other)?;
    reload()?;
    refused(uapi::REASON_UNQUALIFIED)?;
    qualify("--store", 0, &[])?;
    let both = fs::read(FILE)?;
    ensure!(
        both.len() == HEADER + 2 * (mine.len() - HEADER)
            && both[HEADER..].starts_with(&other[HEADER..]),
        "{} bytes",
        both.len()
    );
    reload()?;
    moves(state)
}

fn restores(state: &mut ()) -> Outcome {
    let elsewhere = "/tmp/firmware/pagemove";
    fs::create_dir_all(elsewhere)?;
    fs::copy(FILE, Path::new(elsewhere).join("verdicts"))?;
    fs::remove_file(FILE)?;
    reload()?;
    refused(uapi::REASON_UNQUALIFIED)?;
    let (code, json) = run("qualify --json --restore --firmware /tmp/firmware")?;
    ensure!(code == 0, "exit code {code}: {json}");
    listed(state)?;
    moves(state)
}

fn damaged(_: &mut ()) -> Result<Verdict> {
    let damaged = b"no verdicts, but long enough to be some".repeat(2);
    fs::write(FILE, &damaged)?;
    reload()?;
    let outcome = refused(uapi::REASON_UNQUALIFIED)?;
    let output = start(&format!("qualify {} --store", nvme()?))?;
    ensure!(output.status.code() == Some(2), "{}", output.status);
    ensure!(fs::read(FILE)? == damaged, "the file was replaced");
    fs::remove_file(FILE)?;
    Ok(outcome)
}
