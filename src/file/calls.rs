// SPDX-License-Identifier: GPL-2.0
//! The ioctls: which function does which, and those that need few lines. Checks come in the
//! order structure, flags, values, objects, so that a call with one mistake gets the errno of
//! that one.

use crate::args::{self, check_entries, no_flags, UserArray};
use crate::file::rights::may_move;
use crate::file::{events, experiment, lists, maps, moves, offers, used};
use crate::iommu::{quarantine, verdict};
use crate::refusal::{eopnotsupp, Refusal};
use crate::region::offers::Ending;
use crate::region::Region;
use crate::session::cpus;
use crate::testing::sabotage;
use crate::{abi, compat, device, event, numbers, page, params, region, stats, window};
use engine::{Format, Iova, Method, PageSpan, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

/// Does what an ioctl asks for.
pub(super) fn dispatch(region: &Arc<Region>, command: u32, argument: usize) -> Result {
    match command {
        abi::IOC_INFO => args::with(argument, info),
        abi::IOC_REGION_SETUP => {
            let tell = |args: &mut abi::RegionSetup| args.id = region.id;
            args::with_told(argument, tell, |args| region_setup(region, args))
        }
        abi::IOC_REGION_LIST => lists::regions(argument),
        abi::IOC_REGION_QUERY => args::with(argument, region_query),
        abi::IOC_DEVICE_LIST => lists::devices(argument),
        abi::IOC_MOVE => moves::call(region, argument),
        abi::IOC_STATS => args::with(argument, get_stats),
        abi::IOC_SESSION_LIST => lists::sessions(argument),
        abi::IOC_EXPERIMENT => experiment::call(region, argument),
        abi::IOC_VERDICT_SET => verdict_set(argument),
        abi::IOC_VERDICT_LIST => lists::verdicts(argument),
        abi::IOC_APERTURE_LIST => lists::apertures(argument),
        abi::IOC_OFFER => offers::offer(argument),
        abi::IOC_ARRIVE => offers::end(argument, Ending::Awaiting),
        abi::IOC_RETRACT => offers::end(argument, Ending::Offer),
        abi::IOC_WANTED => offers::wanted(argument),
        abi::IOC_USED => used::call(argument),
        abi::IOC_MAPS => maps::call(argument),
        abi::IOC_WINDOW_LIST => lists::windows(argument),
        abi::IOC_WINDOW_SET => window_set(argument),
        abi::IOC_LIFT => lift(argument),
        abi::IOC_EVENTS => events::call(region, argument),
        _ => sabotage::other_call(command, argument),
    }
}

fn info(info: &mut abi::Info) -> Result {
    *info = abi::Info {
        size: info.size,
        abi_version: abi::ABI_VERSION,
        engines: abi::mask_of(Method::ALL.iter().copied().map(numbers::engine_number)),
        formats: abi::mask_of(Format::ALL.iter().copied().map(numbers::format_number)),
        move_flags: moves::FLAGS,
        test_build: u32::from(sabotage::IS_POSSIBLE),
        max_region_bytes: abi::MAX_REGION_BYTES,
        max_move_pages: u64::from(abi::MAX_MOVE_PAGES),
        max_entries: u64::from(abi::MAX_ENTRIES),
        max_retries: abi::MAX_RETRIES,
        page_size: abi::PAGE_SIZE as u32,
        tested_first: compat::TESTED.0,
        tested_last: compat::TESTED.1,
        parameters: params::mask(),
        longest_us: params::longest_us(),
        limit_mib: params::limit_mib(),
        patience_ms: params::patience_ms(),
        rtm_reason: cpus::check_rtm().map_or_else(Refusal::reason, |()| abi::REASON_NONE),
        version: version(),
    };
    Ok(())
}

/// Returns the module's version; what does not fit is cut.
fn version() -> [u8; 32] {
    let mut text = [0; 32];
    // The last byte stays 0.
    for (to, from) in text.iter_mut().take(31).zip(params::VERSION.bytes()) {
        *to = from;
    }
    text
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
    region::list::enter(region, || region.set_up(args.length, args.node))
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

fn get_stats(args: &mut abi::Stats) -> Result {
    no_flags(args.flags)?;
    let size = args.size;
    *args = stats::snapshot(&region::list::sums());
    args.size = size;
    Ok(())
}

fn window_set(argument: usize) -> Result {
    may_move()?;
    args::with_told(
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
    args::with_told(
        argument,
        |_| (),
        |args: &abi::VerdictSet| {
            no_flags(args.flags)?;
            verdict::set(args.verdict)
        },
    )
}

fn lift(argument: usize) -> Result {
    may_move()?;
    let (mut args, size) = args::read::<abi::Lift>(argument)?;
    if args.flags & !abi::LIFT_IOMMU != 0 {
        return Err(eopnotsupp());
    }
    let device = device::list::bound_at(args.segment, args.bus, args.devfn);
    let device = device.map_err(Refusal::error)?;
    args.lifted = 0;
    // Found now rather than after something was lifted.
    args::write(argument, &args, size)?;
    let function = (args.flags & abi::LIFT_IOMMU == 0).then_some(device.address);
    args.lifted = quarantine::lift(device.iommu.as_bytes(), function);
    if args.lifted != 0 {
        event::tell(abi::Event {
            values: [u64::from(args.lifted), 0],
            ..event::of_function(abi::EVENT_LIFTED, device.address)
        });
    }
    args::write(argument, &args, size)
}
