// SPDX-License-Identifier: GPL-2.0
//! MOVE: the call that moves pages.

use crate::args::{self, UserArray};
use crate::device;
use crate::file::rights::may_move;
use crate::host::task;
use crate::mover::request::{Destination, Request};
use crate::mover::settle::NOT_TRIED;
use crate::mover::{self, Tally};
use crate::refusal::{eopnotsupp, Refusal};
use crate::region::Region;
use crate::{abi, aperture, event, numbers, page};
use core::sync::atomic::{AtomicU32, Ordering};
use engine::{Iova, PageSpan, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;

/// The flags that this module knows.
pub(super) const FLAGS: u32 = abi::MOVE_NO_VERIFY
    | abi::MOVE_EVEN_IF_THERE
    | abi::MOVE_SCRATCH
    | abi::MOVE_WATCH
    | abi::MOVE_CLEAR_ACCESSED
    | abi::MOVE_KEEP_LEAVES
    | abi::MOVE_PIECES;

/// Moves pages. Unlike most calls it writes its structure back whatever happens.
#[inline(never)]
pub(super) fn call(region: &Region, argument: usize) -> Result {
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
    let done = start(region, &mut args);
    args::write(argument, &args, size)?;
    done
}

fn start(region: &Region, args: &mut abi::Move) -> Result {
    let request = request(region, args)?;
    let results = Results::of(args)?;
    results.clear(request.span.pages())?;
    let mut tally = Tally::default();
    let since = task::now();
    let call = tell_begin(&request);
    let done = mover::run(&request, &mut tally, &|first, of_batch| {
        results.write(first, of_batch)
    });
    tell_end(call, since, &tally, done.err());
    args.engine_used = tally.engine;
    args.pages_moved = tally.moved;
    args.pages_done = tally.done;
    args.pages_there = tally.there;
    for (to, from) in args.aborts.iter_mut().zip(tally.aborts.iter()) {
        *to = from;
    }
    done.map_err(|refusal| {
        args.reason = refusal.reason();
        refusal.error()
    })
}

/// Tells who watches that a call begins. Returns the event, for its end.
#[inline(never)]
fn tell_begin(request: &Request) -> abi::Event {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let begun = abi::Event {
        id: CALLS.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
        pid: task::pid(),
        values: [request.span.pages(), request.span.first().0],
        ..event::of_function(abi::EVENT_MOVE_BEGUN, request.device.address)
    };
    event::tell(begun);
    begun
}

/// Tells that it has ended, and how; the log, too, where that is asked for.
#[inline(never)]
fn tell_end(begun: abi::Event, since: u64, tally: &Tally, refusal: Option<Refusal>) {
    let ended = abi::Event {
        kind: abi::EVENT_MOVE_ENDED,
        error: refusal.map_or(0, |refusal| refusal.error().to_errno().unsigned_abs()),
        reason: refusal.map_or(abi::REASON_NONE, Refusal::reason),
        values: [
            tally.moved,
            tally.aborts.iter().fold(0, u64::saturating_add),
        ],
        ..begun
    };
    event::tell(ended);
    let [pages, iova] = begun.values;
    event::log_move(&ended, iova, pages, task::now().saturating_sub(since));
}

/// Checks what the caller asks for.
fn request(region: &Region, args: &mut abi::Move) -> Result<Request> {
    if args.flags & !FLAGS != 0 {
        return Err(eopnotsupp());
    }
    let engine = match args.engine {
        abi::ENGINE_AUTO => None,
        number => Some(numbers::engine_of(number).ok_or_else(eopnotsupp)?),
    };
    let span = PageSpan::new(Iova(args.iova), args.length).ok_or(EINVAL)?;
    if span.pages() > u64::from(abi::MAX_MOVE_PAGES) || args.retries > abi::MAX_RETRIES {
        return Err(EINVAL);
    }
    let to = destination(args, span.pages())?;
    let of = pages_of(args)?;
    let device =
        device::list::open_at(args.segment, args.bus, args.devfn).map_err(Refusal::error)?;
    let has = |flag| args.flags & flag != 0;
    Ok(Request {
        engine,
        watch: has(abi::MOVE_WATCH),
        clear_accessed: has(abi::MOVE_CLEAR_ACCESSED),
        keep_leaves: has(abi::MOVE_KEEP_LEAVES),
        in_pieces: has(abi::MOVE_PIECES),
        experiment: has(abi::MOVE_SCRATCH).then_some(region.id),
        of,
        editor_cpu: args.editor_cpu.checked_sub(1),
        helper_cpu: args.helper_cpu.checked_sub(1),
        device,
        span,
        to,
        retries: args.retries,
        deadline: match args.deadline_ns {
            0 => None,
            ns => Some(task::now().saturating_add(ns)),
        },
        verify: !has(abi::MOVE_NO_VERIFY),
        even_if_there: has(abi::MOVE_EVEN_IF_THERE),
    })
}

/// Returns where to move the pages; sets the reason if that is nowhere.
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

/// Returns the region and the index of the first page there, if the call names them.
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

/// The caller's array of results, which may not be wanted.
struct Results {
    array: Option<UserArray>,
    /// Bytes from one to the next.
    size: usize,
}

impl Results {
    fn of(args: &abi::Move) -> Result<Self> {
        let size = match args.result_size as usize {
            0 | abi::PAGE_RESULT_SIZE_V0 => abi::PAGE_RESULT_SIZE_V0,
            size if size == size_of::<abi::PageResult>() => size,
            _ => return Err(EINVAL),
        };
        let array = match args.results {
            0 => None,
            address => Some(UserArray::new(address)?),
        };
        Ok(Self { array, size })
    }

    fn write(&self, first: u64, results: &[abi::PageResult]) -> Result {
        match self.array {
            Some(array) => array.write_as(first, results, self.size),
            None => Ok(()),
        }
    }

    /// Writes "not tried" for every page, which also shows that the array can be written
    /// before anything moves.
    fn clear(&self, pages: u64) -> Result {
        if self.array.is_none() {
            return Ok(());
        }
        let blank = [NOT_TRIED; 64];
        let mut at = 0;
        while at < pages {
            let n = pages.saturating_sub(at).min(blank.len() as u64);
            self.write(at, blank.get(..n as usize).ok_or(EFAULT)?)?;
            at = at.saturating_add(n);
        }
        Ok(())
    }
}
