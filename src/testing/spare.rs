// SPDX-License-Identifier: GPL-2.0
//! The memory of the last arena that has gone (builds for tests), so that the next one has it.

use crate::host::{ffi, memory};
use crate::testing::bug::{has_bug, injects, Bug};
use engine::PAGE_SIZE;
use kernel::prelude::*;

struct Spare {
    memory: *mut ffi::page,
    pages: usize,
}

// SAFETY: memory that nobody uses, whichever thread frees it.
unsafe impl Send for Spare {}

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before a window can be set.
    unsafe(uninit) static SPARE: Mutex<Option<Spare>> = None;
}

/// Makes it usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { SPARE.init() };
}

/// Frees it, at the end.
pub(crate) fn end() {
    free(SPARE.lock().take());
}

fn free(spare: Option<Spare>) {
    if let Some(spare) = spare {
        // SAFETY: the arena that it was of has gone, and left it here.
        unsafe { ffi::pagemove_arena_free(spare.memory, spare.pages) };
    }
}

/// Keeps the memory of an arena, if asked to, instead of what is here.
pub(super) fn keep(memory: *mut ffi::page, pages: usize) -> bool {
    if !injects(100) && !has_bug(Bug::AnyMemory) && !has_bug(Bug::KeepLeaf) {
        return false;
    }
    free(SPARE.lock().replace(Spare { memory, pages }));
    true
}

/// Takes it, if it is as large, zeroed.
pub(super) fn take(pages: usize) -> Option<*mut ffi::page> {
    let spare = SPARE.lock().take_if(|spare| spare.pages == pages)?;
    // SAFETY: the memory is ours.
    let first = unsafe { ffi::pagemove_page_phys(spare.memory) };
    for n in 0..pages as u64 {
        memory::zero_page(first.wrapping_add(n.wrapping_mul(PAGE_SIZE)));
    }
    Some(spare.memory)
}
