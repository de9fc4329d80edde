// SPDX-License-Identifier: GPL-2.0
//! `/dev/pagemove`: an open file is the handle for ioctls and, once it is mapped
//! or set up, one region.

mod calls;
mod events;
mod experiment;
mod lists;
mod maps;
mod moves;
mod offers;
mod rights;
mod used;

use crate::event;
use crate::host::ffi;
use crate::region::{list, vma, Region};
use kernel::bindings;
use kernel::error::from_result;
use kernel::ffi::{c_int, c_long, c_uint, c_ulong};
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::types::Opaque;

/// Makes `file_operations` something that any thread may read.
struct Operations(bindings::file_operations);

// SAFETY: it is never written after it was made, and holds function pointers and
// the module's address only.
unsafe impl Sync for Operations {}
// SAFETY: as above.
unsafe impl Send for Operations {}

static OPERATIONS: spin::Once<Operations> = spin::Once::new();

fn operations() -> &'static bindings::file_operations {
    let made = OPERATIONS.call_once(|| {
        Operations(bindings::file_operations {
            owner: crate::compat::this_module(),
            open: Some(open),
            release: Some(release),
            mmap: Some(mmap),
            llseek: Some(llseek),
            poll: Some(poll),
            unlocked_ioctl: Some(unlocked_ioctl),
            compat_ioctl: bindings::compat_ptr_ioctl,
            ..pin_init::zeroed()
        })
    });
    &made.0
}

/// The device node, which exists while this lives.
#[pin_data(PinnedDrop)]
pub(crate) struct DeviceFile {
    #[pin]
    misc: Opaque<bindings::miscdevice>,
}

// SAFETY: the misc core has its own lock; we only register and deregister.
unsafe impl Send for DeviceFile {}
// SAFETY: as above.
unsafe impl Sync for DeviceFile {}

impl DeviceFile {
    pub(crate) fn register() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            misc <- Opaque::try_ffi_init(|slot: *mut bindings::miscdevice| {
                let misc = bindings::miscdevice {
                    minor: bindings::MISC_DYNAMIC_MINOR as i32,
                    name: c"pagemove".as_char_ptr(),
                    fops: operations(),
                    mode: 0o600,
                    ..pin_init::zeroed()
                };
                // SAFETY: `slot` is ours to write, and pinned from here on.
                unsafe {
                    slot.write(misc);
                    kernel::error::to_result(bindings::misc_register(slot))
                }
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for DeviceFile {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: it was registered by `register`.
        unsafe { bindings::misc_deregister(self.misc.get()) };
    }
}

/// Borrows the region of an open file.
///
/// # Safety
///
/// `file` was opened by [`open`] and not released yet.
unsafe fn region_of<'a>(file: *mut ffi::file) -> &'a Region {
    // SAFETY: `open` stored an `Arc<Region>` there, which `release` takes back.
    unsafe { &*ffi::pagemove_private(file).cast::<Region>() }
}

/// Returns a reference of its own to the region of an open file.
///
/// # Safety
///
/// As for [`region_of`].
unsafe fn region(file: *mut ffi::file) -> Arc<Region> {
    // SAFETY: the pointer came from `Arc::into_raw`; its own count is kept.
    unsafe {
        let borrowed = core::mem::ManuallyDrop::new(Arc::<Region>::from_raw(
            ffi::pagemove_private(file).cast_const().cast(),
        ));
        Arc::clone(&borrowed)
    }
}

/// Gives a file that is being opened a region.
///
/// # Safety
///
/// The VFS calls it, so that nobody else knows the file yet.
unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut ffi::file) -> c_int {
    from_result(|| {
        let region = Region::new()?;
        // SAFETY: the file is being opened, so that it is ours. Its pages are found
        // by `unmap_mapping_range` in an address_space of their own: that of the
        // device node would mix the regions.
        unsafe {
            ffi::pagemove_set_mapping(file, region.mapping());
            ffi::pagemove_set_private(file, Arc::into_raw(region).cast_mut().cast());
        }
        Ok(0)
    })
}

/// Closes the region of a file.
///
/// # Safety
///
/// The VFS calls it once, when nobody uses the file any more.
unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut ffi::file) -> c_int {
    // SAFETY: the last use of what `open` stored; no mapping is left, since each
    // holds the file.
    let region =
        unsafe { Arc::<Region>::from_raw(ffi::pagemove_private(file).cast_const().cast()) };
    region.close();
    0
}

/// Maps the region of a file.
///
/// # Safety
///
/// The mm core calls it for an open file of ours and a mapping that is being made.
unsafe extern "C" fn mmap(file: *mut ffi::file, area: *mut ffi::vm_area_struct) -> c_int {
    from_result(|| {
        // SAFETY: `file` is open, and outlives the mapping that is being made.
        let region = unsafe { region(file) };
        // SAFETY: as above.
        list::enter(&region, || unsafe { vma::map(area, &region) })?;
        Ok(0)
    })
}

/// Moves the position of a file, whose end tells how long the region is.
///
/// # Safety
///
/// The VFS calls it for an open file of ours.
unsafe extern "C" fn llseek(
    file: *mut ffi::file,
    offset: bindings::loff_t,
    whence: c_int,
) -> bindings::loff_t {
    // SAFETY: `file` is open.
    unsafe {
        let size = region_of(file).file_bytes();
        bindings::fixed_size_llseek(file, offset, whence, size as bindings::loff_t)
    }
}

/// Tells whether there are events that this file has not read, and has the caller woken when there are.
///
/// # Safety
///
/// The VFS calls it for an open file of ours.
unsafe extern "C" fn poll(file: *mut ffi::file, table: *mut ffi::poll_table_struct) -> c_uint {
    // SAFETY: `file` is open.
    let heard = unsafe { region_of(file) }.heard();
    // Who may not read events is not woken for each of them: it would be at the cost of who tells
    // them. A file is handed on, by which events were read.
    if heard == 0 || rights::may_watch().is_err() {
        return events::FAILED;
    }
    // SAFETY: the caller's contract.
    unsafe { event::wait(file, table) };
    // Looked at after that: what comes from here on wakes the caller.
    events::mask(heard)
}

/// Does what a call asks for.
///
/// # Safety
///
/// The VFS calls it for an open file of ours.
unsafe extern "C" fn unlocked_ioctl(
    file: *mut ffi::file,
    command: c_uint,
    argument: c_ulong,
) -> c_long {
    let done = from_result(|| {
        // SAFETY: `file` is open.
        let region = unsafe { region(file) };
        calls::dispatch(&region, command, argument).map(|()| 0)
    });
    let done: c_int = done;
    done as c_long
}
