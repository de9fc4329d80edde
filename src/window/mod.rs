// SPDX-License-Identifier: GPL-2.0
//! Windows of this host: what a peer sees of its memory, and no more than that.
//!
//! A window shows an *arena*: memory that holds nothing but pages which were offered to the
//! peer. Nothing is shown until user space says so.
//!
//! # Life of an arena
//!
//! *shown* -> *hidden* (the window shows another, or nothing) -> freed when its last page has
//! come back. Only an arena without offered pages is hidden, and only when the peer has none
//! there.
//!
//! # Life of a page in it
//!
//! *free* -> *offered* ([`take`]) -> *kept* ([`keep`]: the peer has moved a page to it and is
//! done; it is a page of a region like any other) -> *free* (the [`OwnedPage`] was dropped).
//!
//! # Lock order
//!
//! A region's, below which a page is taken, kept and offered again; [`Window::setting`], under
//! which the link's driver is asked to program the window (that may take seconds);
//! [`Window::state`], [`ARENAS`], [`Arena::pages`].

use crate::abi;
use crate::host::pci::Function;
use crate::host::{ffi, task};
use crate::page::{OwnedPage, Tag};
use core::sync::atomic::{AtomicUsize, Ordering};
use engine::{PhysAddr, PAGE_SHIFT, PAGE_SIZE};
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc, Mutex};

/// Between two looks whether a window can go, in ns.
const POLL_NS: u64 = 10_000_000;
/// How often that is said, in looks.
const SAY_EVERY: u32 = 1000;

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
    show: unsafe extern "C" fn(*mut core::ffi::c_void, u64, u64) -> core::ffi::c_int,
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

/// Memory in one piece.
#[pin_data(PinnedDrop)]
struct Arena {
    memory: *mut ffi::page,
    first: PhysAddr,
    node: i32,
    #[pin]
    pages: Mutex<Pages>,
}

// SAFETY: the memory is the arena's, whichever thread frees it.
unsafe impl Send for Arena {}
// SAFETY: as above; the rest is constant or behind the lock.
unsafe impl Sync for Arena {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Free,
    Offered,
    Kept,
}

struct Pages {
    uses: KVVec<Use>,
    /// Where to look for a free one first.
    next: usize,
    offered: u64,
    kept: u64,
    hidden: bool,
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

kernel::sync::global_lock! {
    // SAFETY: as above.
    unsafe(uninit) static ARENAS: Mutex<KVec<Arc<Arena>>> = KVec::new();
}

/// How many arenas there are: where there is none, pages are freed without a look at the list.
static ARENA_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Makes the lists usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe {
        WINDOWS.init();
        ARENAS.init();
    }
}

/// Frees its room, at the end.
pub(crate) fn end() {
    drop(core::mem::take(&mut WINDOWS.lock().windows));
    drop(core::mem::take(&mut *ARENAS.lock()));
}

fn by_id(id: u32) -> Option<Arc<Window>> {
    let list = WINDOWS.lock();
    let found = list.windows.iter().find(|w| w.id == id).cloned();
    found
}

/// The `n`-th window.
pub(crate) fn nth(n: usize) -> Option<Arc<Window>> {
    WINDOWS.lock().windows.get(n).cloned()
}

/// Lets a window show a new arena of this many bytes, or with 0 nothing.
pub(crate) fn set(id: u32, length: u64, node: i32) -> Result {
    by_id(id).ok_or(EINVAL)?.set(length, node)
}

/// A zeroed page that the peer sees in this window, and its offset there. It is the peer's to
/// write until it is dropped or [`keep`] is called. EINVAL: the window shows nothing. EBUSY: it
/// is being set. ENOMEM: all of it is taken.
pub(crate) fn take(id: u32, tag: Tag) -> Result<(OwnedPage, u64)> {
    let window = by_id(id).ok_or(EINVAL)?;
    let state = window.state.lock();
    if state.changing {
        return Err(EBUSY);
    }
    let arena = state.arena.as_ref().filter(|_| !state.ending);
    arena.ok_or(EINVAL)?.take(tag)
}

/// The peer may write a page that is in use, if this window shows it: its offset there. Until
/// [`keep`] the window stays as it is.
pub(crate) fn offer_again(id: u32, phys: PhysAddr) -> Option<u64> {
    let window = by_id(id)?;
    let state = window.state.lock();
    let arena = state
        .arena
        .as_ref()
        .filter(|_| !state.changing && !state.ending)?;
    let offset = phys.0.checked_sub(arena.first.0)?;
    if offset >= arena.length() {
        return None;
    }
    arena.change((offset >> PAGE_SHIFT) as usize, Use::Offered);
    Some(offset)
}

/// The peer has moved a page to the one at `phys`, and is done with it. Nothing, if that is
/// no page of an arena.
pub(crate) fn keep(phys: PhysAddr) {
    if let Some((arena, at)) = find(phys) {
        arena.change(at, Use::Kept);
    }
}

/// Takes a page of an arena back that nothing reaches any more but the peer. False: it is
/// none.
pub(crate) fn give_back(phys: PhysAddr) -> bool {
    let Some((arena, at)) = find(phys) else {
        return false;
    };
    // SAFETY: a page of the arena, which its owner gives back. The peer may still see it, so
    // that what was in it goes.
    unsafe { ffi::pagemove_arena_disown(ffi::pagemove_phys_page(phys.0)) };
    arena.change(at, Use::Free);
    true
}

/// The arena that `phys` is in, and the number of its page.
fn find(phys: PhysAddr) -> Option<(Arc<Arena>, usize)> {
    if ARENA_COUNT.load(Ordering::Acquire) == 0 {
        return None;
    }
    let arenas = ARENAS.lock();
    let found = arenas.iter().find_map(|arena| {
        let at = (phys.0.checked_sub(arena.first.0)? >> PAGE_SHIFT) as usize;
        (at < arena.pages.lock().uses.len()).then(|| (arena.clone(), at))
    });
    found
}

impl Arena {
    fn new(length: u64, node: i32) -> Result<Arc<Self>> {
        let count = (length >> PAGE_SHIFT) as usize;
        let uses = KVVec::from_elem(Use::Free, count, GFP_KERNEL)?;
        // SAFETY: the caller checked that the node has memory.
        let memory = unsafe { ffi::pagemove_arena_alloc(count as _, node) };
        if memory.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: the memory is ours.
        let first = PhysAddr(unsafe { ffi::pagemove_page_phys(memory) });
        let arena = Arc::pin_init(
            pin_init!(Self {
                memory,
                first,
                node,
                pages <- new_mutex!(Pages {
                    uses,
                    next: 0,
                    offered: 0,
                    kept: 0,
                    hidden: false,
                }),
            }),
            GFP_KERNEL,
        );
        if arena.is_err() {
            // SAFETY: it was just allocated, and nobody took it over.
            unsafe { ffi::pagemove_arena_free(memory, count as _) };
        }
        Ok(arena?)
    }

    fn length(&self) -> u64 {
        (self.pages.lock().uses.len() as u64) << PAGE_SHIFT
    }

    fn take(&self, tag: Tag) -> Result<(OwnedPage, u64)> {
        let mut pages = self.pages.lock();
        let at = pages.find_free().ok_or(ENOMEM)?;
        let offset = (at as u64) << PAGE_SHIFT;
        let phys = PhysAddr(self.first.0.wrapping_add(offset));
        // SAFETY: a page of ours that nobody else has. The peer may have written to it.
        unsafe { ffi::pagemove_arena_disown(ffi::pagemove_phys_page(phys.0)) };
        // SAFETY: as above.
        let page = unsafe { OwnedPage::of_arena(phys, tag) }?;
        pages.set(at, Use::Offered);
        Ok((page, offset))
    }

    fn change(self: &Arc<Self>, at: usize, to: Use) {
        let mut pages = self.pages.lock();
        pages.set(at, to);
        let over = pages.is_over();
        drop(pages);
        if over {
            self.unlist();
        }
    }

    /// No window shows it any more.
    fn hide(self: &Arc<Self>) {
        let mut pages = self.pages.lock();
        pages.hidden = true;
        let over = pages.is_over();
        drop(pages);
        if over {
            self.unlist();
        }
    }

    /// Its memory is freed with the last reference.
    fn unlist(&self) {
        let mut arenas = ARENAS.lock();
        arenas.retain(|other| other.first != self.first);
        ARENA_COUNT.store(arenas.len(), Ordering::Release);
    }
}

impl Pages {
    /// A free page, far from the one before: pages that VFIO maps one after another would else
    /// become one large leaf, in which none can be moved. The steps are odd and so come by every
    /// page of an arena, whose number is a power of two.
    fn find_free(&mut self) -> Option<usize> {
        let count = self.uses.len();
        let step = (count / 2).wrapping_add(count / 8) | 1;
        let mut at = self.next;
        for _ in 0..count {
            let here = at % count.max(1);
            at = here.wrapping_add(step);
            if self.uses.get(here) == Some(&Use::Free) {
                self.next = at;
                return Some(here);
            }
        }
        None
    }

    fn set(&mut self, at: usize, to: Use) {
        let Some(page) = self.uses.get_mut(at) else {
            return;
        };
        match core::mem::replace(page, to) {
            Use::Free => {}
            Use::Offered => self.offered = self.offered.saturating_sub(1),
            Use::Kept => self.kept = self.kept.saturating_sub(1),
        }
        match to {
            Use::Free => {}
            Use::Offered => self.offered = self.offered.saturating_add(1),
            Use::Kept => self.kept = self.kept.saturating_add(1),
        }
    }

    /// Nobody has a page of it, and nobody can get one.
    fn is_over(&self) -> bool {
        self.hidden && self.offered == 0 && self.kept == 0
    }
}

#[pinned_drop]
impl PinnedDrop for Arena {
    fn drop(self: Pin<&mut Self>) {
        let count = self.pages.lock().uses.len();
        // SAFETY: it came from `pagemove_arena_alloc`. It is in no list and no window any
        // more, so that all of its pages are back.
        unsafe { ffi::pagemove_arena_free(self.memory, count as _) };
    }
}

impl Window {
    fn show(&self, first: u64, length: u64) -> Result {
        // SAFETY: called with `setting` locked, for a window that is not gone.
        to_result(unsafe { (self.show)(self.context, first, length) })
    }

    /// An arena that is a power of two is aligned to its length.
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
        let mut arenas = ARENAS.lock();
        arenas.push(arena.clone(), GFP_KERNEL)?;
        ARENA_COUNT.store(arenas.len(), Ordering::Release);
        drop(arenas);
        let shown = self.show(arena.first.0, length);
        match shown {
            Ok(()) => self.state.lock().arena = Some(arena),
            Err(_) => arena.hide(),
        }
        shown
    }

    /// EBUSY, or whatever else the link's driver says: it shows what it has shown before.
    fn hide(&self) -> Result {
        self.show(0, 0)?;
        let arena = self.state.lock().arena.take();
        if let Some(arena) = arena {
            arena.hide();
        }
        Ok(())
    }

    /// For WINDOW_LIST.
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
            let pages = arena.pages.lock();
            (entry.offered, entry.kept) = (pages.offered, pages.kept);
        }
        entry
    }

    /// Whether it is gone now: not while pages are offered there, or the peer has some there.
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
            .is_some_and(|arena| arena.pages.lock().offered != 0)
    }
}

/// For `shim/link.c`.
///
/// # Safety
///
/// `setup` is as `shim/link.h` says.
#[no_mangle]
unsafe extern "C" fn pagemove_window_probed(
    setup: *const ffi::WindowSetup,
) -> *mut core::ffi::c_void {
    // SAFETY: the caller's contract.
    match add(unsafe { &*setup }) {
        Ok(window) => Arc::into_raw(window).cast_mut().cast(),
        Err(_) => core::ptr::null_mut(),
    }
}

fn add(setup: &ffi::WindowSetup) -> Result<Arc<Window>> {
    let mut list = WINDOWS.lock();
    list.windows.reserve(1, GFP_KERNEL)?;
    let id = list.next_id;
    let next_id = id.checked_add(1).ok_or(ENOSPC)?;
    let window = Arc::pin_init(
        pin_init!(Window {
            id,
            // SAFETY: the function is being bound to its driver.
            address: unsafe { Function::new(setup.pdev) }.address(),
            number: setup.number,
            largest: setup.largest,
            align: setup.align,
            grain: setup.grain,
            show: setup.show,
            is_up: setup.is_up,
            context: setup.context,
            setting <- new_mutex!(()),
            state <- new_mutex!(State {
                arena: None,
                changing: false,
                ending: false,
                gone: false,
            }),
        }),
        GFP_KERNEL,
    )?;
    list.next_id = next_id;
    list.windows.push_within_capacity(window.clone())?;
    Ok(window)
}

/// Returns when the window shows nothing any more: it waits while pages are offered there.
///
/// # Safety
///
/// `owner` came from [`pagemove_window_probed`]; it is not used afterwards.
#[no_mangle]
unsafe extern "C" fn pagemove_window_removed(owner: *mut core::ffi::c_void) {
    // SAFETY: takes back what `probed` gave away.
    let window = unsafe { Arc::<Window>::from_raw(owner.cast_const().cast()) };
    let mut looks: u32 = 0;
    while !window.try_end() {
        if looks % SAY_EVERY == 0 {
            pr_warn!(
                "window {}: it can go when no page is offered or in use there\n",
                window.id
            );
        }
        looks = looks.wrapping_add(1);
        task::sleep(POLL_NS);
    }
    let mut list = WINDOWS.lock();
    list.windows.retain(|other| other.id != window.id);
}
