// SPDX-License-Identifier: GPL-2.0
//! EVENTS: what happened since. poll() of the file tells when there is more.

use crate::abi;
use crate::args::{self, check_entries, no_flags, UserArray};
use crate::event;
use crate::file::rights::may_watch;
use crate::region::Region;
use kernel::prelude::*;

/// Events that are copied at once: interrupts are off meanwhile.
const AT_ONCE: usize = 8;

/// What poll() tells: something to read, as EPOLLIN | EPOLLRDNORM.
const READABLE: u32 = 0x41;
/// The caller can't wait by this file: EPOLLERR.
pub(super) const FAILED: u32 = 0x8;

pub(super) fn call(file: &Region, argument: usize) -> Result {
    may_watch()?;
    args::with(argument, |args: &mut abi::Events| {
        no_flags(args.flags)?;
        check_entries(u64::from(args.capacity))?;
        let entries = UserArray::new(args.entries)?;
        // No more than there are now, whoever adds some meanwhile.
        let end = event::end();
        args.next = args.next.max(1);
        if args.next > end {
            return Err(EINVAL);
        }
        args.filled = 0;
        args.lost = 0;
        while args.filled < args.capacity && args.next < end {
            copy(args, entries)?;
        }
        args.end = event::end();
        file.set_heard(args.next);
        Ok(())
    })
}

/// Copies the next few events to the caller's array.
fn copy(args: &mut abi::Events, entries: UserArray) -> Result {
    let mut room = [abi::Event::NONE; AT_ONCE];
    let left = args.capacity.saturating_sub(args.filled) as usize;
    let room = room.get_mut(..left.min(AT_ONCE)).ok_or(EINVAL)?;
    let found = event::read(args.next, room);
    let copied = room.get(..found.filled).ok_or(EINVAL)?;
    entries.write(u64::from(args.filled), copied)?;
    args.filled = args.filled.saturating_add(found.filled as u32);
    args.lost = args.lost.saturating_add(found.lost);
    args.next = found.next;
    Ok(())
}

/// Returns what poll() of a file tells that reads this event next.
pub(super) fn mask(next: u64) -> u32 {
    match next < event::end() {
        true => READABLE,
        false => 0,
    }
}
