// SPDX-License-Identifier: GPL-2.0
//! Pages in windows that are offered to nobody (builds for tests): so that arenas can be
//! tried without a peer that moves pages to them.

use crate::page::arena;
use crate::page::owned::OwnedPage;
use crate::page::Tag;
use crate::window;
use kernel::prelude::*;

/// An ioctl whose argument is a number: TAKE with the window's id above it, KEEP or DROP.
pub(super) const COMMAND: u32 = (crate::abi::IOC_TYPE << 8) | 0x3e;
const TAKE: usize = 1;
const KEEP: usize = 2;
const DROP: usize = 3;

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before the device file is there.
    unsafe(uninit) static OFFERS: Mutex<KVec<OwnedPage>> = KVec::new();
}

/// Makes the list usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { OFFERS.init() };
}

/// Frees its room, at the end.
pub(crate) fn end() {
    drop(core::mem::take(&mut *OFFERS.lock()));
}

/// Takes a page, keeps all that were taken, or gives all back.
#[inline(never)]
pub(super) fn command(argument: usize) -> Result {
    let mut offers = OFFERS.lock();
    match argument & 0xff {
        TAKE => {
            offers.reserve(1, GFP_KERNEL)?;
            // No region has this number.
            let tag = Tag {
                region: u32::MAX,
                index: 0,
            };
            let (page, _) = window::take((argument >> 8) as u32, tag)?;
            offers.push(page, GFP_KERNEL)?;
        }
        KEEP => offers.iter().for_each(|page| arena::keep(page.phys())),
        DROP => *offers = KVec::new(),
        _ => return Err(EINVAL),
    }
    Ok(())
}
