// SPDX-License-Identifier: GPL-2.0
//! What `pagemove qualify` has found out about the IOMMUs of this machine.

use crate::host::{cpu, ffi};
use crate::iommu::name::IommuName;
use crate::refusal::Refusal;
use crate::testing::sabotage::{self, Bug};
use crate::{abi, numbers, params};
use engine::{Format, Method};
use kernel::prelude::*;

/// "PGV1": verdicts that do not say where the registers are.
const OLD_MAGIC: u32 = 0x3156_4750;

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before the device file exists.
    unsafe(uninit) static VERDICTS: Mutex<KVec<abi::Verdict>> = KVec::new();
}

/// Makes the list usable, with what was stored.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { VERDICTS.init() };
    if let Err(why) = load() {
        pr_warn!("stored verdicts are not used: {}\n", why);
    }
}

/// Frees its room, at the end.
pub(crate) fn end() {
    drop(core::mem::take(&mut *VERDICTS.lock()));
}

/// Reads the file of stored verdicts. None is not an error, one that is wrong is.
fn load() -> Result<(), &'static str> {
    const HEADER: usize = size_of::<abi::VerdictFile>();
    const EACH: usize = size_of::<abi::Verdict>();
    const MOST: usize = HEADER + abi::MAX_VERDICTS * EACH;
    let mut bytes = KVec::from_elem(0u8, MOST, GFP_KERNEL).map_err(|_| "no memory")?;
    // SAFETY: there is room for so many bytes.
    let found = unsafe { ffi::pagemove_read_verdicts(bytes.as_mut_ptr().cast(), bytes.len()) };
    if found == 0 {
        return Ok(());
    }
    let mut words = bytes
        .get(..found)
        .ok_or("the file is too long")?
        .chunks_exact(4)
        .map(|word| u32::from_ne_bytes(word.try_into().unwrap_or_default()));
    match words.next() {
        Some(abi::VERDICT_MAGIC) => {}
        Some(OLD_MAGIC) => return Err("an older pagemove has written them: qualify again"),
        _ => return Err("the file does not begin as one of verdicts does"),
    }
    let count = words.next().unwrap_or(0) as usize;
    if found != HEADER.saturating_add(count.saturating_mul(EACH)) {
        return Err("the file has not the length that it says");
    }
    for _ in 0..count {
        let verdict = read(&mut words).ok_or("the file is too short")?;
        // One of another machine says nothing here.
        if is_of_this_machine(&verdict) {
            set(verdict).map_err(|_| "a verdict contradicts itself")?;
        }
    }
    Ok(())
}

fn read(words: &mut impl Iterator<Item = u32>) -> Option<abi::Verdict> {
    let mut verdict = abi::Verdict::default();
    let mut registers = [0; 8];
    for part in verdict.iommu.chunks_exact_mut(4) {
        part.copy_from_slice(&words.next()?.to_ne_bytes());
    }
    verdict.format = words.next()?;
    verdict.cpu = words.next()?;
    verdict.microcode = words.next()?;
    verdict.engines = words.next()?;
    verdict.findings = words.next()?;
    verdict.flags = words.next()?;
    let halves = [words.next()?.to_ne_bytes(), words.next()?.to_ne_bytes()];
    for (to, from) in registers.iter_mut().zip(halves.as_flattened()) {
        *to = *from;
    }
    verdict.registers = u64::from_ne_bytes(registers);
    Some(verdict)
}

fn is_of_this_machine(verdict: &abi::Verdict) -> bool {
    (verdict.cpu, verdict.microcode) == cpu::signature()
}

/// Returns whether the findings support the engines.
fn is_consistent(verdict: &abi::Verdict) -> bool {
    let all = Method::ALL.iter().copied();
    let supported = all.filter(|method| supports(verdict.findings, *method));
    verdict.engines & !abi::mask_of(supported.map(numbers::engine_number)) == 0
        && !has_yes_and_no(verdict.findings)
        && verdict.flags & !abi::VERDICT_ATS == 0
        && numbers::format_of(verdict.format).is_some()
}

/// Returns whether something was found that is said not to be, too. (What moves under load showed
/// has a no for each engine.)
const fn has_yes_and_no(findings: u32) -> bool {
    const NO_WALK_SEEN: u32 = abi::FINDING_NO_WALK_SEEN.trailing_zeros();
    let single = !abi::FINDING_VALID_CHANGE & (abi::FINDING_NO_WALK_SEEN - 1);
    findings & (findings >> NO_WALK_SEEN) & single != 0
}

/// Returns whether an engine that commits so may be used where this was found.
fn supports(findings: u32, method: Method) -> bool {
    let has = |needed| findings & needed == needed;
    let (found, lost) = match method {
        Method::AdBit => (
            has(abi::FINDING_AD_SET | abi::FINDING_AD_FIRST),
            abi::FINDING_NO_MOVES_ADBIT,
        ),
        Method::Rtm => (
            has(abi::FINDING_WALK_SEEN) || has(abi::FINDING_A_SEEN | abi::FINDING_AD_FIRST),
            abi::FINDING_NO_MOVES_RTM,
        ),
    };
    found && has(abi::FINDING_VALID_CHANGE) && !has(lost)
}

/// Returns whether two verdicts are about the same.
fn is_same(a: &abi::Verdict, b: &abi::Verdict) -> bool {
    (a.iommu, a.registers, a.format, a.flags) == (b.iommu, b.registers, b.format, b.flags)
}

/// Replaces the verdict on the same thing.
pub(crate) fn set(verdict: abi::Verdict) -> Result {
    if !is_of_this_machine(&verdict) || !is_consistent(&verdict) {
        return Err(EINVAL);
    }
    let mut verdicts = VERDICTS.lock();
    if let Some(old) = verdicts.iter_mut().find(|old| is_same(old, &verdict)) {
        *old = verdict;
        return Ok(());
    }
    if verdicts.len() >= abi::MAX_VERDICTS {
        return Err(ENOSPC);
    }
    Ok(verdicts.push(verdict, GFP_KERNEL)?)
}

/// Returns the `n`-th verdict.
pub(crate) fn nth(n: usize) -> Option<abi::Verdict> {
    VERDICTS.lock().get(n).copied()
}

/// What a verdict is about, beside a format: the IOMMU that a device is behind, which its registers
/// tell from another one that had this name before an update of the firmware; and whether the device
/// has a TLB of its own in use, which may write long after the IOMMU has set A and D.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    pub(crate) iommu: IommuName,
    pub(crate) registers: u64,
    pub(crate) has_ats: bool,
}

impl Behind {
    fn is_of(&self, verdict: &abi::Verdict) -> bool {
        let name = verdict.iommu.split(|byte| *byte == 0).next();
        let is_named = name == Some(self.iommu.as_bytes());
        let has_ats = verdict.flags & abi::VERDICT_ATS != 0;
        let is_there = verdict.registers == self.registers || sabotage::has_bug(Bug::NameAlone);
        let is_such = has_ats == self.has_ats || sabotage::has_bug(Bug::AnyDevice);
        is_named && is_there && is_such
    }
}

/// Returns what is known about this IOMMU, such devices and this format.
fn find(behind: &Behind, format: u32) -> Option<abi::Verdict> {
    let verdicts = VERDICTS.lock();
    let is_it = |verdict: &&abi::Verdict| behind.is_of(verdict) && verdict.format == format;
    let found = verdicts.iter().find(is_it).copied();
    found
}

/// Returns whether something was found, and never the contrary.
const fn is_found(verdict: &abi::Verdict, yes: u32, no: u32) -> bool {
    verdict.findings & (yes | no) == yes
}

/// What to do, and what not, with an engine on an IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// `rtm`: clear A first.
    pub(crate) clear_accessed: bool,
    /// Moves have to be verified.
    pub(crate) verify: bool,
    /// A leaf in use may be split.
    pub(crate) split: bool,
    /// A table in use may become a leaf again.
    pub(crate) merge: bool,
}

impl Terms {
    /// Returns what satisfies both.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            clear_accessed: self.clear_accessed || other.clear_accessed,
            verify: self.verify || other.verify,
            split: self.split && other.split,
            merge: self.merge && other.merge,
        }
    }
}

/// Returns whether this engine may be used, and how. Where an update of A or D may land on top of
/// the new entry, and for `rtm` is all that is noticed of a walk, a write can be lost that only the
/// verification finds (`proof.rst`). Who overrides the verdicts may leave that out, too; A is
/// cleared in any case. `free`: an experiment, which is done as it was asked for, or it could not
/// show what happens without.
pub(crate) fn terms(
    behind: &Behind,
    format: Format,
    method: Method,
    free: bool,
) -> Result<Terms, Refusal> {
    if free {
        return Ok(Terms {
            clear_accessed: false,
            verify: false,
            split: true,
            merge: true,
        });
    }
    // Whether a walk may go unnoticed that does not store to the entry.
    let (misses_walks, needs) = match method {
        Method::AdBit => (false, abi::FINDING_AD_CAS),
        Method::Rtm => (true, abi::FINDING_AD_CAS | abi::FINDING_WALK_SEEN),
    };
    let engine = abi::mask_of([numbers::engine_number(method)].into_iter());
    match find(behind, numbers::format_number(format)) {
        Some(verdict) if verdict.engines & engine != 0 => Ok(Terms {
            clear_accessed: misses_walks && verdict.findings & abi::FINDING_WALK_SEEN == 0,
            verify: verdict.findings & needs == 0,
            split: is_found(
                &verdict,
                abi::FINDING_SPLIT_LIVE,
                abi::FINDING_NO_SPLIT_LIVE,
            ),
            merge: is_found(
                &verdict,
                abi::FINDING_MERGE_LIVE,
                abi::FINDING_NO_MERGE_LIVE,
            ),
        }),
        _ if params::allow_unqualified() => Ok(Terms {
            clear_accessed: misses_walks,
            verify: false,
            split: true,
            merge: true,
        }),
        _ => Err(Refusal::Unqualified),
    }
}
