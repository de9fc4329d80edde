// SPDX-License-Identifier: GPL-2.0
//! The ioctls, one function each. Checks come in the order structure, flags,
//! values, objects, so that a call with one mistake gets the errno of that one.

use crate::args::{self, UserArray};
use crate::file::offers;
use crate::file::{experiment, used};
use crate::host::ffi;
use crate::iommu::domain::Engines;
use crate::iommu::{domain, sharing, verdict};
use crate::mover::{self, Destination, Request, Results, Tally};
use crate::refusal::{eopnotsupp, Refusal};
use crate::region::{Ending, Region};
use crate::{abi, aperture, device, file, page, region, session, stats, window};
use engine::{Iova, PageSpan, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

const MOVE_FLAGS: u32 = abi::MOVE_NO_VERIFY
    | abi::MOVE_EVEN_IF_THERE
    | abi::MOVE_SCRATCH
    | abi::MOVE_WATCH
    | abi::MOVE_CLEAR_ACCESSED;

pub(crate) fn dispatch(region: &Arc<Region>, command: u32, argument: usize) -> Result {
    match command {
        abi::IOC_INFO => with_args(argument, info),
        abi::IOC_REGION_SETUP => {
            let tell = |args: &mut abi::RegionSetup| args.id = region.id;
            with_args_told(argument, tell, |args| region_setup(region, args))
        }
        abi::IOC_REGION_LIST => with_args(argument, region_list),
        abi::IOC_REGION_QUERY => with_args(argument, region_query),
        abi::IOC_DEVICE_LIST => with_args(argument, device_list),
        abi::IOC_MOVE => move_pages(region, argument),
        abi::IOC_STATS => with_args(argument, get_stats),
        abi::IOC_SESSION_LIST => with_args(argument, session_list),
        abi::IOC_EXPERIMENT => try_something(region, argument),
        abi::IOC_VERDICT_SET => verdict_set(argument),
        abi::IOC_VERDICT_LIST => with_args(argument, verdict_list),
        abi::IOC_APERTURE_LIST => with_args(argument, aperture_list),
        abi::IOC_OFFER => offers::offer(argument),
        abi::IOC_ARRIVE => offers::end(argument, Ending::Awaiting),
        abi::IOC_RETRACT => offers::end(argument, Ending::Offer),
        abi::IOC_WANTED => offers::wanted(argument),
        abi::IOC_USED => look_at(argument),
        abi::IOC_WINDOW_LIST => with_args(argument, window_list),
        abi::IOC_WINDOW_SET => window_set(argument),
        #[cfg(pagemove_test)]
        crate::testing::arenas::COMMAND => crate::testing::arenas::command(argument),
        _ => Err(ENOTTY),
    }
}

pub(super) fn with_args<T: abi::Argument>(
    argument: usize,
    f: impl FnOnce(&mut T) -> Result,
) -> Result {
    let (mut value, size) = args::read::<T>(argument)?;
    f(&mut value)?;
    args::write(argument, &value, size)
}

/// The same for a change of which nothing is told but what is known before: the structure is
/// written back first, so that EFAULT says that nothing was done.
pub(super) fn with_args_told<T: abi::Argument>(
    argument: usize,
    tell: impl FnOnce(&mut T),
    change: impl FnOnce(&T) -> Result,
) -> Result {
    let (mut value, size) = args::read::<T>(argument)?;
    let asked = value;
    tell(&mut value);
    args::write(argument, &value, size)?;
    change(&asked)
}

pub(super) fn no_flags(flags: u32) -> Result {
    if flags == 0 {
        Ok(())
    } else {
        Err(eopnotsupp())
    }
}

fn info(info: &mut abi::Info) -> Result {
    *info = abi::Info {
        size: info.size,
        abi_version: abi::ABI_VERSION,
        engines: 1 << abi::ENGINE_ADBIT | 1 << abi::ENGINE_RTM,
        formats: 1 << abi::FORMAT_X86_64 | 1 << abi::FORMAT_VTDSS | 1 << abi::FORMAT_AMDV1,
        move_flags: MOVE_FLAGS,
        test_build: u32::from(cfg!(pagemove_test)),
        max_region_bytes: abi::MAX_REGION_BYTES,
        max_move_pages: u64::from(abi::MAX_MOVE_PAGES),
        max_entries: u64::from(abi::MAX_ENTRIES),
        max_retries: abi::MAX_RETRIES,
        page_size: abi::PAGE_SIZE as u32,
    };
    Ok(())
}

fn region_setup(region: &Arc<Region>, args: &abi::RegionSetup) -> Result {
    no_flags(args.flags)?;
    let whole_pages = args.length != 0 && args.length % PAGE_SIZE == 0;
    if !whole_pages || args.length > abi::MAX_REGION_BYTES {
        return Err(EINVAL);
    }
    if args.node != -1 && !page::node_has_memory(args.node) {
        return Err(EINVAL);
    }
    let new = file::list(region)?;
    region.set_up(args.length, args.node).inspect_err(|_| {
        if new {
            file::unlist(region);
        }
    })
}

fn region_list(args: &mut abi::RegionList) -> Result {
    no_flags(args.flags)?;
    check_entries(u64::from(args.capacity))?;
    let entries = UserArray::new(args.entries)?;
    let mut count: u32 = 0;
    while let Some(region) = region::list::nth(count as usize) {
        if count < args.capacity {
            entries.write(u64::from(count), &[region.describe()])?;
        }
        count = count.saturating_add(1);
    }
    args.count = count;
    Ok(())
}

fn region_query(args: &mut abi::RegionQuery) -> Result {
    no_flags(args.flags)?;
    if args.reserved != 0 {
        return Err(EINVAL);
    }
    let span = PageSpan::new(Iova(args.offset), args.length).ok_or(EINVAL)?;
    check_entries(span.pages())?;
    let region = region::list::by_id(args.id).ok_or(ENOENT)?;
    let entries = UserArray::new(args.entries)?;
    let details = match args.details {
        0 => None,
        address => Some(UserArray::new(address)?),
    };
    let first = span.first().0 >> PAGE_SHIFT;
    let last = span.last().0 >> PAGE_SHIFT;
    if region.place(last).is_none() {
        return Err(EINVAL);
    }
    for n in 0..span.pages() {
        let (place, detail) = region.place(first.saturating_add(n)).ok_or(EINVAL)?;
        entries.write(n, &[place])?;
        if let Some(details) = details {
            details.write(n, &[detail])?;
        }
    }
    Ok(())
}

pub(super) fn check_entries(n: u64) -> Result {
    if n > u64::from(abi::MAX_ENTRIES) {
        return Err(EINVAL);
    }
    Ok(())
}

fn device_list(args: &mut abi::DeviceList) -> Result {
    no_flags(args.flags)?;
    check_entries(u64::from(args.capacity))?;
    let entries = UserArray::new(args.entries)?;
    let mut count: u32 = 0;
    while let Some(device) = device::list::nth(count as usize) {
        if count < args.capacity {
            entries.write(u64::from(count), &[describe(&device)])?;
        }
        count = count.saturating_add(1);
    }
    args.count = count;
    Ok(())
}

fn describe(device: &crate::device::Device) -> abi::Device {
    let address = device.address;
    let iommu = device.iommu;
    let mut entry = abi::Device {
        segment: (address >> 16) as u16,
        bus: (address >> 8) as u8,
        devfn: address as u8,
        node: device.node,
        iommu: iommu.0,
        ..abi::Device::default()
    };
    let Some(domain) = device.open_domain() else {
        return entry;
    };
    entry.flags |= abi::DEVICE_OPEN;
    if let Some(format) = domain.and_then(|d| d.format()) {
        entry.format = domain::number_of(format);
        if domain.is_some_and(|d| d.is_incoherent()) {
            entry.flags |= abi::DEVICE_INCOHERENT;
        }
    }
    if device.has_ats() {
        entry.flags |= abi::DEVICE_ATS;
    }
    if domain.is_some_and(sharing::has_ats) {
        entry.flags |= abi::DEVICE_ATS_DOMAIN;
    }
    let engines = Engines::of(domain, iommu.as_bytes(), false);
    entry.engines = engines.mask();
    if let (0, Err(refusal)) = (entry.engines, engines.adbit) {
        entry.reason = refusal.reason();
    }
    entry
}

fn get_stats(args: &mut abi::Stats) -> Result {
    no_flags(args.flags)?;
    let size = args.size;
    *args = stats::snapshot(&region::list::sums());
    args.size = size;
    Ok(())
}

fn session_list(args: &mut abi::SessionList) -> Result {
    no_flags(args.flags)?;
    check_entries(u64::from(args.capacity))?;
    let entries = UserArray::new(args.entries)?;
    let mut count: u32 = 0;
    while let Some(session) = session::nth(count as usize) {
        if count < args.capacity {
            entries.write(u64::from(count), &[session.describe()])?;
        }
        count = count.saturating_add(1);
    }
    args.count = count;
    Ok(())
}

fn verdict_list(args: &mut abi::VerdictList) -> Result {
    no_flags(args.flags)?;
    check_entries(u64::from(args.capacity))?;
    let entries = UserArray::new(args.entries)?;
    let mut count: u32 = 0;
    while let Some(verdict) = verdict::nth(count as usize) {
        if count < args.capacity {
            entries.write(u64::from(count), &[verdict])?;
        }
        count = count.saturating_add(1);
    }
    args.count = count;
    Ok(())
}

fn aperture_list(args: &mut abi::ApertureList) -> Result {
    no_flags(args.flags)?;
    check_entries(u64::from(args.capacity))?;
    let entries = UserArray::new(args.entries)?;
    let mut count: u32 = 0;
    while let Some(aperture) = aperture::nth(count as usize) {
        if count < args.capacity {
            entries.write(u64::from(count), &[aperture.describe()])?;
        }
        count = count.saturating_add(1);
    }
    args.count = count;
    Ok(())
}

fn window_list(args: &mut abi::WindowList) -> Result {
    no_flags(args.flags)?;
    check_entries(u64::from(args.capacity))?;
    let entries = UserArray::new(args.entries)?;
    let mut count: u32 = 0;
    while let Some(window) = window::nth(count as usize) {
        if count < args.capacity {
            entries.write(u64::from(count), &[window.describe()])?;
        }
        count = count.saturating_add(1);
    }
    args.count = count;
    Ok(())
}

fn window_set(argument: usize) -> Result {
    may_move()?;
    with_args_told(
        argument,
        |_| (),
        |args: &abi::WindowSet| {
            no_flags(args.flags)?;
            if args.length != 0 && !page::node_has_memory(args.node) {
                return Err(EINVAL);
            }
            window::set(args.id, args.length, args.node)
        },
    )
}

fn verdict_set(argument: usize) -> Result {
    may_move()?;
    with_args_told(
        argument,
        |_| (),
        |args: &abi::VerdictSet| {
            no_flags(args.flags)?;
            verdict::set(args.verdict)
        },
    )
}

/// Writes its structure back whatever happens, for the reason.
fn try_something(region: &Arc<Region>, argument: usize) -> Result {
    may_move()?;
    let (mut args, size) = args::read::<abi::Experiment>(argument)?;
    args.reason = abi::REASON_NONE;
    (args.found, args.lost, args.updates) = (0, 0, 0);
    let done = experiment::run(region, &mut args);
    args::write(argument, &args, size)?;
    done
}

/// Writes its structure back whatever happens, for the pages before a refusal.
fn look_at(argument: usize) -> Result {
    may_move()?;
    let (mut args, size) = args::read::<abi::Used>(argument)?;
    args.reason = abi::REASON_NONE;
    args.pages = 0;
    let done = used::run(&mut args);
    args::write(argument, &args, size)?;
    done
}

/// Whether the caller may move pages at all.
pub(super) fn may_move() -> Result {
    // SAFETY: asks about the current task.
    if !unsafe { ffi::pagemove_capable() } {
        return Err(EPERM);
    }
    // SAFETY: as above.
    kernel::error::to_result(unsafe { ffi::pagemove_locked_down() })
}

/// Unlike most this writes its structure back whatever happens.
fn move_pages(region: &Arc<Region>, argument: usize) -> Result {
    may_move()?;
    let (mut args, size) = args::read::<abi::Move>(argument)?;
    args.pages_moved = 0;
    args.pages_done = 0;
    args.pages_there = 0;
    args.reason = abi::REASON_NONE;
    args.engine_used = 0;
    args.aborts = [0; abi::ABORT_SLOTS];
    // Found now rather than after pages were moved.
    args::write(argument, &args, size)?;
    let done = start_move(region, &mut args);
    args::write(argument, &args, size)?;
    done
}

fn start_move(region: &Region, args: &mut abi::Move) -> Result {
    if args.flags & !MOVE_FLAGS != 0 {
        return Err(eopnotsupp());
    }
    if args.engine > abi::ENGINE_RTM {
        return Err(eopnotsupp());
    }
    let span = PageSpan::new(Iova(args.iova), args.length).ok_or(EINVAL)?;
    if span.pages() > u64::from(abi::MAX_MOVE_PAGES) || args.retries > abi::MAX_RETRIES {
        return Err(EINVAL);
    }
    let to = destination(args, span.pages())?;
    let of = pages_of(args)?;
    let device =
        device::list::open_at(args.segment, args.bus, args.devfn).map_err(Refusal::error)?;
    let size = result_size(args)?;
    let results = match args.results {
        0 => None,
        address => Some(Results {
            array: UserArray::new(address)?,
            size,
        }),
    };
    if let Some(results) = results {
        clear_results(results, span.pages())?;
    }
    let now = ffi::now();
    let open = device.open_domain().flatten();
    let request = Request {
        ats: open.is_some_and(sharing::has_ats),
        engine: args.engine,
        watch: args.flags & abi::MOVE_WATCH != 0,
        clear_accessed: args.flags & abi::MOVE_CLEAR_ACCESSED != 0,
        scratch: (args.flags & abi::MOVE_SCRATCH != 0).then_some(region.id),
        of,
        editor_cpu: args.editor_cpu.checked_sub(1),
        helper_cpu: args.helper_cpu.checked_sub(1),
        device,
        span,
        to,
        retries: args.retries,
        deadline: match args.deadline_ns {
            0 => None,
            ns => Some(now.saturating_add(ns)),
        },
        verify: args.flags & abi::MOVE_NO_VERIFY == 0,
        even_if_there: args.flags & abi::MOVE_EVEN_IF_THERE != 0,
        results,
    };
    let mut tally = Tally::default();
    let end = mover::run(&request, &mut tally);
    args.engine_used = tally.engine;
    args.pages_moved = tally.moved;
    args.pages_done = tally.done;
    args.pages_there = tally.there;
    for (to, from) in args.aborts.iter_mut().zip(tally.aborts.iter()) {
        *to = from;
    }
    end.map_err(|refusal| {
        args.reason = refusal.reason();
        refusal.error()
    })
}

/// Where to; the reason is set if that is nowhere.
fn destination(args: &mut abi::Move, pages: u64) -> Result<Destination> {
    let Some(id) = args.aperture.checked_sub(1) else {
        if args.targets != 0 {
            return Err(EINVAL);
        }
        if !page::node_has_memory(args.node) {
            args.reason = abi::REASON_NODE;
            return Err(EINVAL);
        }
        return Ok(Destination::Node(args.node));
    };
    let Some(aperture) = aperture::by_id(id) else {
        args.reason = abi::REASON_NO_APERTURE;
        return Err(EINVAL);
    };
    let offsets = UserArray::new(args.targets)?.read(pages as usize)?;
    Ok(Destination::Aperture(aperture, offsets))
}

/// The region and the index of the first page there, if the call names them.
fn pages_of(args: &abi::Move) -> Result<Option<(u32, u64)>> {
    if args.reserved != 0 || args.offset % PAGE_SIZE != 0 {
        return Err(EINVAL);
    }
    match args.region.checked_sub(1) {
        Some(id) => Ok(Some((id, args.offset >> PAGE_SHIFT))),
        None if args.offset != 0 => Err(EINVAL),
        None => Ok(None),
    }
}

fn result_size(args: &abi::Move) -> Result<usize> {
    match args.result_size as usize {
        0 | abi::PAGE_RESULT_SIZE_V0 => Ok(abi::PAGE_RESULT_SIZE_V0),
        size if size == size_of::<abi::PageResult>() => Ok(size),
        _ => Err(EINVAL),
    }
}

/// Says "not tried" for every page, which also shows that the array can be
/// written before anything moves.
fn clear_results(results: Results, pages: u64) -> Result {
    let blank = [mover::NOT_TRIED; 64];
    let mut at = 0;
    while at < pages {
        let n = pages.saturating_sub(at).min(blank.len() as u64);
        results.write(at, blank.get(..n as usize).ok_or(EFAULT)?)?;
        at = at.saturating_add(n);
    }
    Ok(())
}
