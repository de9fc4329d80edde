// SPDX-License-Identifier: GPL-2.0
//! PAGEMOVE_IOC_EXPERIMENT: tries one thing on one page, or on two, for `pagemove qualify`.
//!
//! The page belongs to the region of the file that asks, so that whatever the machine
//! does harms nobody else. (What changes the size of a leaf, `sizes.rs`, takes any memory.)

mod frames;
mod lands;
mod sizes;

use crate::args;
use crate::device::hold::Hold;
use crate::device::list;
use crate::file::rights::may_move;
use crate::host::{cpu, memory, task};
use crate::iommu::sharing::Sharers;
use crate::machine::{entry_at, leaf_for};
use crate::mover::others::Pins;
use crate::refusal::{eopnotsupp, Refusal};
use crate::region::claim::Claim;
use crate::region::Region;
use crate::session::cpus::{self, CpuPair};
use crate::{abi, page, session};
use core::sync::atomic::{AtomicU64, Ordering};
use engine::rtm::{self, Edit, Generation, Plan, Schedule, Status, Times};
use engine::{Format, Iova, Leaf, PageSpan, PAGE_SIZE};
use kernel::prelude::*;

/// A bit of an entry that no walker looks at, in all three formats (VT-d: 9.8 and
/// 9.9, AMD: table 17, bits 58:52): what the race swaps.
const IGNORED: u64 = 1 << 53;
/// Looks at an entry between two that clear its A and D, at most.
const LOOKS: u32 = 65536;
/// An even number of swaps between the read and the store of an update would hide that
/// they were overwritten: not too many.
const LOOKS_PER_SWAP: u32 = 4;
/// Looks at an entry between two at the clock, which also let others have the CPU.
const LOOKS_PER_TIME: u32 = 256;
/// The interval between slots of a transaction that no helper ever answers, in ns.
const INTERVAL_NS: u64 = 1_000;

/// The page of an experiment, held.
struct Subject {
    hold: Hold,
    span: PageSpan,
    leaf: Leaf,
    _claim: Claim,
    /// The page behind it, if that is needed, too.
    second: Option<(Leaf, Claim)>,
    /// Of the device.
    node: i32,
}

/// Tries something. Unlike most calls it writes its structure back whatever happens, for the
/// reason.
#[inline(never)]
pub(super) fn call(region: &Region, argument: usize) -> Result {
    may_move()?;
    let (mut args, size) = args::read::<abi::Experiment>(argument)?;
    args.reason = abi::REASON_NONE;
    (args.found, args.lost, args.updates) = (0, 0, 0);
    let done = run(region, &mut args);
    args::write(argument, &args, size)?;
    done
}

fn run(region: &Region, args: &mut abi::Experiment) -> Result {
    check(args)?;
    let done = match args.kind {
        abi::EXPERIMENT_SPLIT | abi::EXPERIMENT_SIZES => sizes::run(args),
        _ => Subject::new(region, args).and_then(|subject| subject.try_out(args)),
    };
    done.map_err(|refusal| {
        args.reason = refusal.reason();
        refusal.error()
    })
}

fn check(args: &abi::Experiment) -> Result {
    let longest = match args.kind {
        abi::EXPERIMENT_USED
        | abi::EXPERIMENT_CLEAR
        | abi::EXPERIMENT_SET
        | abi::EXPERIMENT_SPLIT => 0,
        abi::EXPERIMENT_WATCH => abi::MAX_WATCH_NS,
        abi::EXPERIMENT_RACE
        | abi::EXPERIMENT_FRAMES
        | abi::EXPERIMENT_LANDS
        | abi::EXPERIMENT_SIZES => abi::MAX_EXPERIMENT_NS,
        _ => return Err(eopnotsupp()),
    };
    if args.ns > longest || (longest != 0 && args.ns == 0) {
        return Err(EINVAL);
    }
    span(args).map(drop).ok_or(EINVAL)
}

/// Returns the pages that it is about.
fn span(args: &abi::Experiment) -> Option<PageSpan> {
    match args.kind {
        abi::EXPERIMENT_SPLIT | abi::EXPERIMENT_SIZES => sizes::span(args),
        abi::EXPERIMENT_FRAMES => PageSpan::new(Iova(args.iova), 2 * PAGE_SIZE),
        _ => PageSpan::new(Iova(args.iova), PAGE_SIZE),
    }
}

/// Claims a page of the span, which has to be one of the region that nobody else uses.
fn page_at(
    region: &Region,
    hold: &Hold,
    (pins, n): (&Pins, u64),
    iova: Iova,
) -> Result<(Leaf, Claim), Refusal> {
    let leaf = leaf_for(hold, iova)?;
    let claim = Claim::take(leaf.page)?;
    if claim.region.id != region.id || !page::is_memory(leaf.page) {
        return Err(Refusal::NotScratch);
    }
    if pins.has_more(n) || page::has_others(leaf.page) {
        return Err(Refusal::InUse);
    }
    Ok((leaf, claim))
}

impl Subject {
    fn new(region: &Region, args: &abi::Experiment) -> Result<Self, Refusal> {
        let device = list::open_at(args.segment, args.bus, args.devfn)?;
        let span = span(args).ok_or(Refusal::NotMapped)?;
        let mut hold = device.hold(span)?;
        hold.domain.nature().check_coherent()?;
        if Sharers::of(hold.domain.id()).is_foreign {
            return Err(Refusal::SharedDomain);
        }
        let pins = Pins::look(&device, &hold.stays, span).map_err(|_| Refusal::NoMemory)?;
        hold.pin(&mut KVec::new(), None)?;
        let (leaf, claim) = page_at(region, &hold, (&pins, 0), span.first())?;
        let second = if span.pages() > 1 {
            let behind = Iova(span.first().0.saturating_add(PAGE_SIZE));
            Some(page_at(region, &hold, (&pins, 1), behind)?)
        } else {
            None
        };
        Ok(Self {
            hold,
            span,
            leaf,
            _claim: claim,
            second,
            node: device.node,
        })
    }

    fn try_out(&self, args: &mut abi::Experiment) -> Result<(), Refusal> {
        match args.kind {
            abi::EXPERIMENT_USED => args.found = self.used(self.entry().load(Ordering::Acquire)),
            abi::EXPERIMENT_CLEAR => args.found = self.change(|entry, both| entry & !both)?,
            abi::EXPERIMENT_SET => args.found = self.change(|entry, both| entry | both)?,
            abi::EXPERIMENT_WATCH => self.watch(args)?,
            abi::EXPERIMENT_RACE => self.race(args)?,
            abi::EXPERIMENT_FRAMES => self.frames(args)?,
            _ => self.lands(args)?,
        }
        Ok(())
    }

    fn entry(&self) -> &AtomicU64 {
        entry_at(self.leaf.pte)
    }

    /// A and D of the format.
    fn both(&self) -> Result<u64, Refusal> {
        let format: Format = self.leaf.format;
        if !format.has_ad_bits() {
            return Err(Refusal::Format);
        }
        Ok(format.accessed() | format.dirty())
    }

    /// PAGEMOVE_USED_*.
    fn used(&self, entry: u64) -> u64 {
        let format = self.leaf.format;
        let accessed = entry & format.accessed() != 0;
        let dirty = entry & format.dirty() != 0;
        (u64::from(accessed) * abi::USED_ACCESSED) | (u64::from(dirty) * abi::USED_DIRTY)
    }

    /// Changes A and D, invalidates, and says what they were.
    fn change(&self, to: impl Fn(u64, u64) -> u64) -> Result<u64, Refusal> {
        let both = self.both()?;
        let old = self
            .entry()
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |entry| {
                Some(to(entry, both))
            })
            .unwrap_or_default();
        self.hold.domain.flush(self.span);
        Ok(self.used(old))
    }

    /// A transaction that has read the page and waits.
    fn watch(&self, args: &mut abi::Experiment) -> Result<(), Refusal> {
        cpus::check_rtm()?;
        let entry = self.entry();
        let now = entry.load(Ordering::Acquire);
        let page = memory::virt(self.leaf.page.0) as u64;
        let edits = [Edit {
            entry: core::ptr::from_ref(entry) as u64,
            expected: now,
            new: now,
            watch: page,
        }];
        // Before the clock is read: its threads may have to be made.
        let session = session::of(CpuPair::new(None, None, self.node)?)?;
        let wait = args.ns / INTERVAL_NS;
        let times = Times {
            lead: cpu::ticks_of(args.ns),
            first_slot: 1,
            // 64 slots at most, so that the last is at the end of the time.
            interval: cpu::ticks_of(args.ns) / 63,
            slots: 64.min(wait.max(2) as u32),
        };
        let schedule = Schedule::plan(rtm::ticks(), times, 0, u64::MAX).ok_or(Refusal::Tsc)?;
        let plan = Plan {
            edits: &edits,
            schedule: &schedule,
            // No attempt has this generation before the others have used up all.
            generation: Generation::LAST.get(),
            without: engine::Steps::empty(),
        };
        let outcome = session.try_transaction(&plan)?;
        let status = outcome.map_or_else(|status| status, |_| Status(0));
        args.found = u64::from(status.0);
        args.lost = u64::from(status.cause() != engine::Abort::Timeout);
        Ok(())
    }

    /// Swaps to and fro against the A and D updates of the IOMMU.
    fn race(&self, args: &mut abi::Experiment) -> Result<(), Refusal> {
        let both = self.both()?;
        let until = task::now().saturating_add(args.ns);
        let entry = self.entry();
        while task::now() < until {
            self.swaps(both, args);
            entry.fetch_and(!both, Ordering::SeqCst);
            self.hold.domain.flush(self.span);
            task::yield_cpu();
        }
        entry.fetch_and(!IGNORED, Ordering::SeqCst);
        self.hold.domain.flush(self.span);
        Ok(())
    }

    /// Until A and D are set, so that an update meets a swap whenever it comes. Nobody
    /// else touches the ignored bit: if it is not as it was swapped, a swap was
    /// overwritten.
    fn swaps(&self, both: u64, args: &mut abi::Experiment) {
        let entry = self.entry();
        let first = entry.load(Ordering::Acquire);
        let (mut swapped, mut used) = (first & IGNORED, first & both);
        for look in 0..LOOKS {
            let seen = entry.load(Ordering::Acquire);
            if seen & IGNORED != swapped {
                args.lost = args.lost.saturating_add(1);
                swapped = seen & IGNORED;
            }
            if seen & both != used {
                args.updates = args.updates.saturating_add(1);
                used = seen & both;
            }
            if used == both {
                return;
            }
            if look % LOOKS_PER_SWAP != 0 {
                continue;
            }
            let new = seen ^ IGNORED;
            let swap = entry.compare_exchange(seen, new, Ordering::SeqCst, Ordering::SeqCst);
            if swap.is_ok() {
                args.found = args.found.saturating_add(1);
                swapped = new & IGNORED;
            }
        }
    }
}
