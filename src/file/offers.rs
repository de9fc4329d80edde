// SPDX-License-Identifier: GPL-2.0
//! OFFER, ARRIVE, RETRACT and WANTED.

use crate::abi;
use crate::args::{self, check_entries, no_flags, UserArray};
use crate::file::rights::may_move;
use crate::host::task;
use crate::refusal::{eopnotsupp, Refusal};
use crate::region::offers::Ending;
use crate::region::{list, Region};
use engine::{Iova, PageSpan, PAGE_SHIFT};
use kernel::prelude::*;
use kernel::sync::Arc;

/// Offers pages. Unlike most calls it writes its structure back whatever happens, since pages
/// before a refusal are offered.
#[inline(never)]
pub(super) fn offer(argument: usize) -> Result {
    may_move()?;
    let (mut args, size) = args::read::<abi::Offer>(argument)?;
    args.pages = 0;
    args.reason = abi::REASON_NONE;
    // Found now rather than after pages were offered.
    args::write(argument, &args, size)?;
    let done = offer_span(&mut args);
    args::write(argument, &args, size)?;
    done
}

fn offer_span(args: &mut abi::Offer) -> Result {
    if args.flags & !abi::OFFER_AWAIT != 0 {
        return Err(eopnotsupp());
    }
    if args.reserved != 0 {
        return Err(EINVAL);
    }
    let (first, pages) = span_of(args.offset, args.length)?;
    check_entries(pages)?;
    let region = region_with(args.region, first, pages)?;
    let targets = UserArray::new(args.targets)?;
    // Nobody could tell the peer about pages that were offered in vain.
    for n in 0..pages {
        targets.write(n, &[0u64])?;
    }
    let awaited = args.flags & abi::OFFER_AWAIT != 0;
    let mut done = Ok(());
    for n in 0..pages {
        done = offer_page(&region, first.saturating_add(n), awaited, args)
            .and_then(|target| targets.write(n, &[target]));
        if done.is_err() {
            break;
        }
        if n % 512 == 511 && task::has_signal() {
            args.reason = abi::REASON_SIGNAL;
            done = Err(EINTR);
            break;
        }
    }
    if awaited {
        // CPUs that had mapped the pages fault, and wait.
        region.zap(first, pages);
    }
    done
}

fn offer_page(region: &Region, index: u64, awaited: bool, args: &mut abi::Offer) -> Result<u64> {
    match region.offer(index, args.window.checked_sub(1), awaited) {
        Ok((target, new)) => {
            args.pages = args.pages.saturating_add(u64::from(new));
            Ok(target)
        }
        Err(refusal) => {
            args.reason = refusal.reason();
            Err(refusal.error())
        }
    }
}

pub(super) fn end(argument: usize, what: Ending) -> Result {
    may_move()?;
    args::with(argument, |args: &mut abi::Offered| {
        no_flags(args.flags)?;
        if args.reserved != 0 {
            return Err(EINVAL);
        }
        let (first, pages) = span_of(args.offset, args.length)?;
        let region = region_with(args.region, first, pages)?;
        args.pages = region.end(first, pages, what);
        Ok(())
    })
}

pub(super) fn wanted(argument: usize) -> Result {
    may_move()?;
    args::with(argument, |args: &mut abi::Wanted| {
        no_flags(args.flags)?;
        if args.reserved != 0 {
            return Err(EINVAL);
        }
        check_entries(u64::from(args.capacity))?;
        let entries = UserArray::new(args.entries)?;
        let region = list::by_id(args.region).ok_or(ENOENT)?;
        let wants = region
            .wants(args.seen, args.timeout_ns)
            .map_err(Refusal::error)?;
        let room = wants.pages.len().min(args.capacity as usize);
        entries.write(0, wants.pages.get(..room).ok_or(EFAULT)?)?;
        args.seen = wants.ever;
        args.count = u32::try_from(wants.pages.len()).unwrap_or(u32::MAX);
        Ok(())
    })
}

/// Returns first page and number of pages of a span of bytes.
fn span_of(offset: u64, length: u64) -> Result<(u64, u64)> {
    let span = PageSpan::new(Iova(offset), length).ok_or(EINVAL)?;
    Ok((span.first().0 >> PAGE_SHIFT, span.pages()))
}

/// Returns the region of this number, if it has these pages.
fn region_with(id: u32, first: u64, pages: u64) -> Result<Arc<Region>> {
    let region = list::by_id(id).ok_or(ENOENT)?;
    if first.saturating_add(pages) > region.length_in_pages() {
        return Err(EINVAL);
    }
    Ok(region)
}
