// SPDX-License-Identifier: GPL-2.0
//! The module's own work queue: what waits for others for as long as they like is done by threads of the
//! kernel's, of which there are as many as have to wait.

use crate::host::ffi;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use kernel::prelude::*;
use kernel::workqueue::{Queue as WorkQueue, RawWorkItem};

static QUEUE: AtomicPtr<ffi::workqueue_struct> = AtomicPtr::new(ptr::null_mut());

/// The queue, as long as this is there. Its end waits for what is queued, and for the last line of it.
pub(crate) struct Queue(NonNull<ffi::workqueue_struct>);

// SAFETY: the pointer is only used to end the queue, which any thread may do.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// Begins it. Called once, before anything is queued.
    pub(crate) fn begin() -> Result<Self> {
        // SAFETY: allocates; no preconditions.
        let queue = NonNull::new(unsafe { ffi::pagemove_queue_begin() }).ok_or(ENOMEM)?;
        QUEUE.store(queue.as_ptr(), Ordering::Release);
        Ok(Self(queue))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        QUEUE.store(ptr::null_mut(), Ordering::Release);
        // SAFETY: it came from `begin`. Nothing is queued any more: no device is open (`main.rs` drops
        // the driver first).
        unsafe { ffi::pagemove_queue_end(self.0.as_ptr()) };
    }
}

/// Has it done. None: there is no queue, which is before the first and after the last device.
pub(crate) fn enqueue<W, const ID: u64>(work: W) -> Option<W::EnqueueOutput>
where
    W: RawWorkItem<ID> + Send + 'static,
{
    let queue = NonNull::new(QUEUE.load(Ordering::Acquire))?;
    // SAFETY: callers have a device that is open, and the queue ends after the driver.
    let queue = unsafe { WorkQueue::from_raw(queue.as_ptr().cast_const().cast()) };
    Some(queue.enqueue(work))
}
