// SPDX-License-Identifier: GPL-2.0
//! What the drivers of links tell us about their windows (`shim/link.c`).

use crate::host::pci::Function;
use crate::host::{ffi, task};
use crate::window::{State, Window, WINDOWS};
use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc};

/// Between two looks whether a window can go, in ns.
const POLL_NS: u64 = 10_000_000;
/// How often that is said, in looks.
const SAY_EVERY: u32 = 1000;

/// Adds a window of a link whose driver is being bound.
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
