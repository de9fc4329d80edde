// SPDX-License-Identifier: GPL-2.0
//! Verdicts that can't be right.

use anyhow::{ensure, Context, Result};
use pagemove_uapi::cpu::Cpu;
use pagemove_uapi::{self as uapi, Control, Verdict, MAX_VERDICTS};

use super::State;
use crate::bench::expect_errno;
use pagemove_testkit::tap::{Case, Pass};

/// What is wrong with a verdict, and what makes it so.
type Wrong = (&'static str, fn(&mut Verdict));

const WRONG: &[Wrong] = &[
    ("another CPU", |v| v.cpu ^= 1),
    ("another microcode", |v| v.microcode ^= 1),
    ("format 0", |v| v.format = uapi::FORMAT_UNKNOWN),
    ("format 4", |v| v.format = 4),
    ("engine auto", |v| v.engines = 1 << uapi::ENGINE_AUTO),
    ("an unknown engine", |v| v.engines = 1 << 31),
    ("engine adbit without findings", |v| {
        v.engines = 1 << uapi::ENGINE_ADBIT
    }),
    ("engine adbit where the IOMMU sets no A and D", |v| {
        (v.engines, v.findings) = (1 << uapi::ENGINE_ADBIT, uapi::FINDING_VALID_CHANGE)
    }),
    ("engine adbit where A and D may come late", |v| {
        (v.engines, v.findings) = (
            1 << uapi::ENGINE_ADBIT,
            uapi::FINDING_VALID_CHANGE | uapi::FINDING_AD_SET,
        )
    }),
    ("engine rtm, by A alone, where A may come late", |v| {
        (v.engines, v.findings) = (
            1 << uapi::ENGINE_RTM,
            uapi::FINDING_VALID_CHANGE | uapi::FINDING_A_SEEN,
        )
    }),
    ("engine rtm without findings", |v| {
        v.engines = 1 << uapi::ENGINE_RTM
    }),
    ("engine rtm where no walk is seen", |v| {
        (v.engines, v.findings) = (
            1 << uapi::ENGINE_RTM,
            uapi::FINDING_VALID_CHANGE | uapi::FINDING_WATCH_SEEN | uapi::FINDING_AD_CAS,
        )
    }),
    ("engine adbit where its moves have lost something", |v| {
        (v.engines, v.findings) = (
            1 << uapi::ENGINE_ADBIT,
            uapi::FINDING_VALID_CHANGE
                | uapi::FINDING_AD_SET
                | uapi::FINDING_AD_FIRST
                | uapi::FINDING_NO_MOVES_ADBIT,
        )
    }),
    ("a finding and its no", |v| {
        v.findings = uapi::FINDING_AD_SET | uapi::FINDING_NO_AD_SET
    }),
    ("splits of leaves in use, and that none may be", |v| {
        v.findings = uapi::FINDING_SPLIT_LIVE | uapi::FINDING_NO_SPLIT_LIVE
    }),
    ("merges, and that none may be", |v| {
        v.findings = uapi::FINDING_MERGE_LIVE | uapi::FINDING_NO_MERGE_LIVE
    }),
    ("an unknown flag", |v| v.flags = uapi::VERDICT_ATS << 1),
];

/// One of this machine that allows nothing, of an IOMMU that it does not have.
pub fn harmless() -> Result<Verdict> {
    let cpu = Cpu::here().context("/proc/cpuinfo")?;
    Ok(Verdict {
        iommu: *b"made-up\0\0\0\0\0\0\0\0\0",
        format: uapi::FORMAT_X86_64,
        cpu: cpu.signature,
        microcode: cpu.microcode,
        ..Default::default()
    })
}

pub fn cases(right: Verdict) -> Vec<Case<State>> {
    let mut cases: Vec<Case<State>> = WRONG
        .iter()
        .map(|(what, spoil)| {
            let name = format!("verdict set: {what}: EINVAL");
            Case::new(name, move |_: &mut State| {
                let mut verdict = right;
                verdict.iommu = *b"another\0\0\0\0\0\0\0\0\0";
                spoil(&mut verdict);
                expect_errno(what, set(&Control::open()?, &verdict), libc::EINVAL)?;
                let known = Control::open()?.verdict_list()?;
                ensure!(
                    known.iter().all(|v| v.iommu != verdict.iommu),
                    "it is listed"
                );
                Ok(Pass)
            })
        })
        .collect();
    cases.push(Case::new(
        format!("verdict set: one more than {MAX_VERDICTS}: ENOSPC, and those are all there"),
        move |_: &mut State| {
            too_many(right)?;
            Ok(Pass)
        },
    ));
    cases
}

fn set(control: &Control, verdict: &Verdict) -> Result<(), i32> {
    control.verdict_set(verdict).map_err(|error| error.errno)
}

fn too_many(right: Verdict) -> Result<()> {
    let control = Control::open()?;
    let numbered = |n: usize| {
        let mut verdict = right;
        verdict.iommu[..4].copy_from_slice(&(n as u32 + 1).to_ne_bytes());
        verdict
    };
    let there = control.verdict_list()?.len();
    for n in there..MAX_VERDICTS {
        control.verdict_set(&numbered(n))?;
    }
    let one_more = numbered(MAX_VERDICTS);
    expect_errno("one more", set(&control, &one_more), libc::ENOSPC)?;
    // One that is known is replaced.
    control.verdict_set(&numbered(MAX_VERDICTS - 1))?;
    let known = control.verdict_list()?;
    ensure!(
        known.len() == MAX_VERDICTS && !known.contains(&one_more),
        "{} are known",
        known.len()
    );
    Ok(())
}
