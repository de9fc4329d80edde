// SPDX-License-Identifier: GPL-2.0
//! `pagemove qualify`: the whole of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use pagemove_uapi::{Control, Error, PciAddress, Verdict, DEVICE_ATS, FORMAT_UNKNOWN, VERDICT_ATS};

use super::args::QualifyArgs;
use super::decide::{self, Demand};
use super::list;
use super::noes;
use super::report::{Found, Outcome};
use super::store::{self, Store};
use super::subject::{self, Subject};
use super::trials;
use crate::exit::Exit;
use crate::report::{self, ErrorReport};
use crate::running::{Running, Work};
use crate::signals;
use pagemove_uapi::cpu::Cpu;

pub fn run(control: &Control, args: &QualifyArgs, running: &Running, as_json: bool) -> Exit {
    let done = match args.device {
        Some(device) => qualify(control, args, device, running, as_json),
        None if args.restore => restore(control, &args.firmware, as_json),
        None => list::run(control, as_json),
    };
    done.unwrap_or_else(|error| fail(&error, as_json))
}

/// Reports a failure; an error of the kernel's own has a number and a reason.
fn fail(error: &anyhow::Error, as_json: bool) -> Exit {
    let kernel = error.downcast_ref::<Error>();
    let words = format!("{error:#}");
    let host = || ErrorReport::new("host", words.clone());
    report::failure(kernel.map_or_else(host, ErrorReport::from), &words, as_json);
    kernel.map_or(Exit::Kernel, Exit::of_error)
}

fn qualify(
    control: &Control,
    args: &QualifyArgs,
    address: PciAddress,
    running: &Running,
    as_json: bool,
) -> Result<Exit> {
    let Some(kind) = subject::check(control, address)? else {
        let words = subject::no_driver(address);
        report::failure(ErrorReport::new("host", words.clone()), &words, as_json);
        return Ok(Exit::Unsupported);
    };
    let cpu = Cpu::here()?;
    // Before anything is tried: a file that can not be read can not be kept.
    let file = store::path(&args.firmware);
    let mut store = Store::read(&file)?;
    let demand = Demand::of(args.unnoticed, args.rounds);
    let mut subject = Subject::open(control, address, kind)?;
    signals::die_of_interrupts();
    running.begins(Work::of("qualify").device(Some(address)), "drains", None);
    let time = Duration::from_secs(args.seconds);
    let evidence = trials::run(&mut subject, time, demand, running)?;
    let about = about(&subject, cpu);
    let live = control.verdict_list()?;
    let known = store.all().iter().chain(&live);
    let judgement = decide::judge(
        &evidence,
        noes::earlier(&about, known, &args.forget),
        demand,
    );
    let verdict = Verdict {
        engines: judgement.engines,
        findings: judgement.findings,
        ..about
    };
    drop(subject);

    let known = verdict.format != FORMAT_UNKNOWN;
    if known && !args.dry_run {
        control.verdict_set(&verdict)?;
    }
    if known && args.store {
        store.merge(verdict)?;
        store.write(&file)?;
    }
    let found = Found {
        address,
        kind: kind.name(),
        verdict,
        judgement,
        evidence,
        outcome: Outcome {
            set: known && !args.dry_run,
            stored: (known && args.store).then_some(file),
        },
    };
    found.print(as_json);
    Ok(Exit::of_verdict(verdict.engines))
}

/// Returns a verdict that says nothing yet, on what is tried.
fn about(subject: &Subject, cpu: Cpu) -> Verdict {
    Verdict {
        iommu: subject.listed.iommu,
        format: subject.listed.format,
        cpu: cpu.signature,
        microcode: cpu.microcode,
        flags: match subject.listed.flags & DEVICE_ATS {
            0 => 0,
            _ => VERDICT_ATS,
        },
        registers: subject.listed.registers,
        ..Verdict::default()
    }
}

/// Sets what was stored for this machine.
fn restore(control: &Control, firmware: &Path, as_json: bool) -> Result<Exit> {
    let file = store::path(firmware);
    let store = Store::read(&file)?;
    for verdict in store.of(Cpu::here()?) {
        control
            .verdict_set(verdict)
            .with_context(|| format!("a verdict in {}", file.display()))?;
    }
    list::run(control, as_json)
}
