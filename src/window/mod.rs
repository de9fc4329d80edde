// SPDX-License-Identifier: GPL-2.0
//! Windows of this host: what a peer sees of its memory, and no more than that.
//!
//! A window shows an *arena* (`page/arena.rs`): memory that holds nothing but pages which were
//! offered to the peer. Nothing is shown until user space says so.
//!
//! # Lock order
//!
//! A region's, below which a page is taken, kept and offered again; [`Window::setting`], under
//! which the link's driver is asked to program the window (that may take seconds);
//! [`Window::state`], and what an arena has.

pub(crate) mod link;

use crate::abi;
use crate::host::ffi;
use crate::page::arena::Arena;
use crate::page::owned::OwnedPage;
use crate::page::Tag;
use engine::{PhysAddr, PAGE_SIZE};
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::{Arc, Mutex};

/// A memory window of a link, while its driver is bound.
#[pin_data]
pub(crate) struct Window {
    id: u32,
    /// segment << 16 | bus << 8 | devfn.
    address: u32,
    number: u32,
    largest: u64,
    align: u64,
    grain: u64,
    show: unsafe extern "C" fn(*mut core::ffi::c_void, u64, u64, u64) -> core::ffi::c_int,
    is_up: ffi::IsUp,
    context: *mut core::ffi::c_void,
    #[pin]
    setting: Mutex<()>,
    #[pin]
    state: Mutex<State>,
}

// SAFETY: the link's context may be used by any thread (`shim/link.h`), and is used only under
// a lock while the window is not gone; the rest is constant or behind a lock.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

struct State {
    arena: Option<Arc<Arena>>,
    /// It is being set: no page is offered meanwhile.
    changing: bool,
    /// No page is offered any more.
    ending: bool,
    /// The link's driver is gone.
    gone: bool,
}

struct List {
    windows: KVec<Arc<Window>>,
    next_id: u32,
}

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before anything is registered.
    unsafe(uninit) static WINDOWS: Mutex<List> = List {
        windows: KVec::new(),
        next_id: 0,
    };
}

/// Makes the list usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { WINDOWS.init() };
}

/// Frees its room, at the end.
pub(crate) fn end() {
    drop(core::mem::take(&mut WINDOWS.lock().windows));
}

fn by_id(id: u32) -> Option<Arc<Window>> {
    let list = WINDOWS.lock();
    let found = list.windows.iter().find(|w| w.id == id).cloned();
    found
}

/// Returns the `n`-th window.
pub(crate) fn nth(n: usize) -> Option<Arc<Window>> {
    WINDOWS.lock().windows.get(n).cloned()
}

/// Lets a window show a new arena of this many bytes, or with 0 nothing.
pub(crate) fn set(id: u32, length: u64, node: i32) -> Result {
    by_id(id).ok_or(EINVAL)?.set(length, node)
}

/// Takes a zeroed page that the peer sees in this window, and its offset there. It is the peer's to
/// write until it is dropped or kept. EINVAL: the window shows nothing. EBUSY: it
/// is being set. ENOMEM: all of it is taken.
pub(crate) fn take(id: u32, tag: Tag) -> Result<(OwnedPage, u64)> {
    let window = by_id(id).ok_or(EINVAL)?;
    let state = window.state.lock();
    if state.changing {
        return Err(EBUSY);
    }
    let arena = state.arena.as_ref().filter(|_| !state.ending);
    OwnedPage::of_arena(arena.ok_or(EINVAL)?, tag)
}

/// Lets the peer write a page that is in use, if this window shows it. Returns its offset there.
/// Until it is kept the window stays as it is.
pub(crate) fn offer_again(id: u32, phys: PhysAddr) -> Option<u64> {
    let window = by_id(id)?;
    let state = window.state.lock();
    let arena = state
        .arena
        .as_ref()
        .filter(|_| !state.changing && !state.ending)?;
    arena.offer_again(phys)
}

impl Window {
    fn show(&self, first: u64, length: u64, identity: u64) -> Result {
        // SAFETY: called with `setting` locked, for a window that is not gone.
        to_result(unsafe { (self.show)(self.context, first, length, identity) })
    }

    /// Returns whether it can show so much: an arena that is a power of two is aligned to its
    /// length.
    fn can_show(&self, length: u64) -> bool {
        length.is_power_of_two()
            && length >= self.align.max(self.grain).max(PAGE_SIZE)
            && length % self.grain.max(1) == 0
            && length <= self.largest
    }

    fn set(&self, length: u64, node: i32) -> Result {
        if length != 0 && !self.can_show(length) {
            return Err(EINVAL);
        }
        let _setting = self.setting.lock();
        let mut state = self.state.lock();
        if state.ending {
            return Err(EINVAL);
        }
        if state.has_offers() {
            return Err(EBUSY);
        }
        state.changing = true;
        drop(state);
        let changed = self.change(length, node);
        self.state.lock().changing = false;
        changed
    }

    fn change(&self, length: u64, node: i32) -> Result {
        let arena = match length {
            0 => None,
            _ => Some(Arena::new(length, node)?),
        };
        self.hide()?;
        let Some(arena) = arena else {
            return Ok(());
        };
        arena.list()?;
        let shown = self.show(arena.first.0, length, arena.identity);
        match shown {
            Ok(()) => self.state.lock().arena = Some(arena),
            Err(_) => arena.hide(),
        }
        shown
    }

    /// Shows nothing. EBUSY, or whatever else the link's driver says: it shows what it has shown before.
    fn hide(&self) -> Result {
        self.show(0, 0, 0)?;
        let arena = self.state.lock().arena.take();
        if let Some(arena) = arena {
            arena.hide();
        }
        Ok(())
    }

    /// Describes it for WINDOW_LIST.
    pub(crate) fn describe(&self) -> abi::Window {
        let state = self.state.lock();
        // SAFETY: called under the lock of a window that is not gone.
        let is_up = !state.gone && unsafe { (self.is_up)(self.context) };
        let mut entry = abi::Window {
            id: self.id,
            flags: if is_up { abi::WINDOW_UP } else { 0 },
            segment: (self.address >> 16) as u16,
            bus: (self.address >> 8) as u8,
            devfn: self.address as u8,
            number: self.number,
            largest: self.largest,
            node: -1,
            ..abi::Window::default()
        };
        if let Some(arena) = &state.arena {
            entry.length = arena.length();
            entry.node = arena.node;
            (entry.offered, entry.kept) = arena.counts();
        }
        entry
    }

    /// Returns whether it is gone now: not while pages are offered there, or the peer has some there.
    fn try_end(&self) -> bool {
        let _setting = self.setting.lock();
        let mut state = self.state.lock();
        state.ending = true;
        let has_offers = state.has_offers();
        drop(state);
        if has_offers || self.hide().is_err() {
            return false;
        }
        self.state.lock().gone = true;
        true
    }
}

impl State {
    fn has_offers(&self) -> bool {
        self.arena
            .as_ref()
            .is_some_and(|arena| arena.counts().0 != 0)
    }
}
