// SPDX-License-Identifier: GPL-2.0
//! PAGEMOVE_IOC_USED: which pages a device has used, by A and D of the IOMMU's entries.

use crate::abi;
use crate::aperture::slot::Slot;
use crate::args::{self, UserArray};
use crate::device::hold::Hold;
use crate::device::{list, Device};
use crate::file::rights::may_move;
use crate::host::task;
use crate::machine::{entry_at, leaf_for};
use crate::refusal::{eopnotsupp, Refusal};
use crate::region::claim::Claim;
use core::sync::atomic::Ordering;
use engine::{Iova, PageSpan, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

/// Pages that are held at a time: VFIO's unmap of any of them waits for all.
const CHUNK: u64 = 64;

/// Tells which pages were used. Unlike most calls it writes its structure back whatever happens,
/// for the pages before a refusal.
#[inline(never)]
pub(super) fn call(argument: usize) -> Result {
    may_move()?;
    let (mut args, size) = args::read::<abi::Used>(argument)?;
    args.reason = abi::REASON_NONE;
    args.pages = 0;
    let done = run(&mut args);
    args::write(argument, &args, size)?;
    done
}

/// Does what `args` asks for; counts the pages that have an answer.
fn run(args: &mut abi::Used) -> Result {
    if args.flags & !abi::USED_CLEAR != 0 {
        return Err(eopnotsupp());
    }
    let span = PageSpan::new(Iova(args.iova), args.length).ok_or(EINVAL)?;
    if span.pages() > u64::from(abi::MAX_MOVE_PAGES) {
        return Err(EINVAL);
    }
    let entries = UserArray::new(args.entries)?;
    let device = list::open_at(args.segment, args.bus, args.devfn).map_err(Refusal::error)?;
    while args.pages < span.pages() {
        let first = span
            .first()
            .0
            .saturating_add(args.pages.saturating_mul(PAGE_SIZE));
        let count = span.pages().saturating_sub(args.pages).min(CHUNK);
        let part = PageSpan::new(Iova(first), count.saturating_mul(PAGE_SIZE)).ok_or(EINVAL)?;
        let mut found = KVec::with_capacity(CHUNK as usize, GFP_KERNEL)?;
        let done = look(&device, part, args.flags & abi::USED_CLEAR != 0, &mut found);
        entries.write(args.pages, &found)?;
        args.pages = args.pages.saturating_add(found.len() as u64);
        done.map_err(|refusal| {
            args.reason = refusal.reason();
            refusal.error()
        })?;
        if task::has_signal() {
            args.reason = abi::REASON_SIGNAL;
            return Err(EINTR);
        }
    }
    Ok(())
}

/// Looks at the pages of one hold. No move of them runs meanwhile: it would miss an access
/// whose A is cleared here.
fn look(
    device: &Arc<Device>,
    span: PageSpan,
    clear: bool,
    found: &mut KVec<u8>,
) -> Result<(), Refusal> {
    let mut hold = device.hold(span)?;
    if clear {
        hold.domain.nature().check_coherent()?;
    }
    hold.pin(&mut KVec::new(), None)?;
    let mut cleared = false;
    let mut done = Ok(());
    for n in 0..span.pages() {
        let iova = Iova(span.first().0.saturating_add(n.saturating_mul(PAGE_SIZE)));
        match look_at_page(&hold, iova, clear) {
            Ok(used) => {
                cleared |= used & abi::USED_ACCESSED != 0;
                found
                    .push_within_capacity(used as u8)
                    .map_err(|_| Refusal::NoMemory)?;
            }
            Err(refusal) => {
                done = Err(refusal);
                break;
            }
        }
    }
    if clear && cleared {
        hold.domain.flush(span);
    }
    done
}

/// Reads the PAGEMOVE_USED_* of one page.
fn look_at_page(hold: &Hold, iova: Iova, clear: bool) -> Result<u64, Refusal> {
    let leaf = leaf_for(hold, iova)?;
    if !leaf.format.has_ad_bits() {
        return Err(Refusal::Format);
    }
    let entry = entry_at(leaf.pte);
    // Who brings it home goes by A, too.
    let claim = match Slot::find(leaf.page) {
        Some(slot) if clear => Claim::take_at(&slot).map(Some),
        _ => Ok(None),
    };
    let Ok(_claim) = claim else {
        return Ok(abi::USED_ACCESSED);
    };
    let (accessed, dirty) = (leaf.format.accessed(), leaf.format.dirty());
    let now = match clear {
        true => entry.fetch_and(!accessed, Ordering::SeqCst),
        false => entry.load(Ordering::Acquire),
    };
    let mut used = 0;
    if now & accessed != 0 {
        used |= abi::USED_ACCESSED;
    }
    if now & dirty != 0 {
        used |= abi::USED_DIRTY;
    }
    Ok(used)
}
