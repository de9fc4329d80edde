// SPDX-License-Identifier: GPL-2.0
//! PAGEMOVE_IOC_MAPS: what the addresses of a device map, as runs of pages.

use crate::abi;
use crate::args::{self, check_entries, no_flags, UserArray};
use crate::device::{list, Device};
use crate::file::rights::may_move;
use crate::host::task;
use crate::iommu::leaves;
use crate::page;
use crate::refusal::Refusal;
use crate::region::backing::Site;
use crate::region::{self, Region};
use engine::{Iova, PageSpan, PhysAddr, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

/// Leaves that are read in one piece: meanwhile the device can't be closed, nor VFIO unmap.
const PIECE: usize = 1024;
/// How often a page is looked for that moves away meanwhile.
const LOOKS: usize = 4;

/// An entry of the device's table.
struct Leaf {
    iova: Iova,
    page: PhysAddr,
    bytes: u64,
}

/// Tells what is mapped. Unlike most calls it writes its structure back whatever happens, for the
/// runs before a refusal.
#[inline(never)]
pub(super) fn call(argument: usize) -> Result {
    may_move()?;
    let (mut args, size) = args::read::<abi::Maps>(argument)?;
    args.reason = abi::REASON_NONE;
    args.filled = 0;
    args.next = args.iova;
    let done = run(&mut args);
    args::write(argument, &args, size)?;
    done
}

fn run(args: &mut abi::Maps) -> Result {
    no_flags(args.flags)?;
    if args.capacity == 0 || args.iova % PAGE_SIZE != 0 {
        return Err(EINVAL);
    }
    check_entries(u64::from(args.capacity))?;
    let mut runs = Runs {
        entries: UserArray::new(args.entries)?,
        capacity: args.capacity,
        filled: 0,
        last: None,
    };
    let device = list::open_at(args.segment, args.bus, args.devfn).map_err(Refusal::error)?;
    let done = collect(args, &device, &mut runs);
    // What was found counts, whatever came then.
    let kept = runs.finish();
    args.filled = runs.filled;
    done.and(kept)
}

/// Goes through the tables from `args.iova` on; leaves in `args.next` how far it came.
fn collect(args: &mut abi::Maps, device: &Device, runs: &mut Runs) -> Result {
    let mut refused = |refusal: Refusal| {
        args.reason = refusal.reason();
        refusal.error()
    };
    let mut leaves = KVVec::with_capacity(PIECE, GFP_KERNEL)?;
    let mut owner = None;
    let mut from = Some(Iova(args.iova));
    while let Some(at) = from {
        if task::has_signal() {
            return Err(refused(Refusal::Signal));
        }
        from = read(device, at, &mut leaves).map_err(&mut refused)?;
        for leaf in leaves.iter() {
            if !runs.add(describe(device, leaf, &mut owner))? {
                args.next = leaf.iova.0;
                return Ok(());
            }
        }
        args.next = from.map_or(0, |iova| iova.0);
    }
    Ok(())
}

/// Reads the next leaves from `at` on. Returns where the one after them begins, if there is one.
fn read(device: &Device, at: Iova, leaves: &mut KVVec<Leaf>) -> Result<Option<Iova>, Refusal> {
    let domain = device.open_domain().ok_or(Refusal::NotOpen)?;
    // Of a format that nobody here can read nothing would be found.
    domain
        .ok_or(Refusal::NoDomain)?
        .format
        .ok_or(Refusal::Iommu)?;
    let page = PageSpan::new(at, PAGE_SIZE).ok_or(Refusal::NotMapped)?;
    leaves.clear();
    let mut next = None;
    let mut is_open = false;
    device.with_open_domain(|domain| {
        is_open = true;
        leaves::for_each_while(
            domain,
            page.including(Iova(u64::MAX)),
            |iova, page, bytes| {
                let leaf = Leaf { iova, page, bytes };
                let has_room = leaves.push_within_capacity(leaf).is_ok();
                if !has_room {
                    next = Some(iova);
                }
                has_room
            },
        );
    });
    if !is_open {
        return Err(Refusal::NotOpen);
    }
    Ok(next)
}

/// Describes what a leaf maps. Nothing holds it, so a page that was moved since is looked for
/// again. `owner`: the region that the page before was of.
fn describe(device: &Device, leaf: &Leaf, owner: &mut Option<Arc<Region>>) -> abi::Mapping {
    let mut page = leaf.page;
    for _ in 0..LOOKS {
        let site = Site::of(page);
        if let Some(index) = index_in_region(&site, page, owner) {
            return abi::Mapping {
                iova: leaf.iova.0,
                length: leaf.bytes,
                memory: abi::MEMORY_REGION,
                region: owner.as_ref().map_or(0, |region| region.id),
                offset: index << PAGE_SHIFT,
                place: site.place(),
                leaf: leaf.bytes,
            };
        }
        match device.glance(leaf.iova) {
            Some(now) if now != page => page = now,
            _ => break,
        }
    }
    abi::Mapping {
        iova: leaf.iova.0,
        length: leaf.bytes,
        memory: memory_of(page),
        region: 0,
        offset: 0,
        place: Site::Memory(page).place(),
        leaf: leaf.bytes,
    }
}

/// Returns whose memory a page is that is in no region.
fn memory_of(page: PhysAddr) -> u32 {
    if !page::is_memory(page) {
        abi::MEMORY_DEVICE
    } else if page::is_anonymous(page) {
        abi::MEMORY_ANONYMOUS
    } else {
        abi::MEMORY_OTHER
    }
}

/// Returns where in `owner` a page is, which becomes the region that the page says.
fn index_in_region(site: &Site, page: PhysAddr, owner: &mut Option<Arc<Region>>) -> Option<u64> {
    let tag = site.tag()?;
    if owner.as_ref().map(|region| region.id) != Some(tag.region) {
        *owner = region::list::by_id(tag.region);
    }
    let region = owner.as_ref()?;
    region.is_at(tag.index, page).then_some(tag.index)
}

/// The caller's array.
struct Runs {
    entries: UserArray,
    capacity: u32,
    filled: u32,
    /// What goes there next, once it is known where it ends. There is room for it.
    last: Option<abi::Mapping>,
}

impl Runs {
    /// Adds what follows. Says whether there was room for it.
    fn add(&mut self, next: abi::Mapping) -> Result<bool> {
        if let Some(last) = &mut self.last {
            if continues(last, &next) {
                last.length = last.length.saturating_add(next.length);
                return Ok(true);
            }
        }
        self.finish()?;
        if self.filled >= self.capacity {
            return Ok(false);
        }
        self.last = Some(next);
        Ok(true)
    }

    /// Writes the last run.
    fn finish(&mut self) -> Result {
        if let Some(last) = self.last.take() {
            self.entries.write(u64::from(self.filled), &[last])?;
            self.filled = self.filled.saturating_add(1);
        }
        Ok(())
    }
}

/// Returns whether a run goes on with this one.
fn continues(run: &abi::Mapping, next: &abi::Mapping) -> bool {
    let offset = match run.memory {
        abi::MEMORY_REGION => run.offset.checked_add(run.length),
        _ => Some(next.offset),
    };
    run.iova.checked_add(run.length) == Some(next.iova)
        && (run.memory, run.region, run.leaf) == (next.memory, next.region, next.leaf)
        && (run.place.kind, run.place.number) == (next.place.kind, next.place.number)
        && offset == Some(next.offset)
}
