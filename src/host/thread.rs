// SPDX-License-Identifier: GPL-2.0
//! A kernel thread on one CPU.

use crate::host::ffi;
use core::ptr::NonNull;
use kernel::ffi::{c_int, c_void};
use kernel::prelude::*;
use kernel::str::CStr;
use kernel::sync::Arc;

/// What a thread does until it is told to stop.
pub(crate) trait Work: Send + Sync + 'static {
    /// Name of the thread; `%u` becomes the number of its CPU.
    const NAME: &'static CStr;

    /// Works; returns some time after [`Self::stop`].
    fn run(&self);

    /// Tells [`Self::run`], wherever it waits, to return.
    fn stop(&self);
}

/// A thread that runs. It is stopped, and waited for, when this is dropped.
pub(crate) struct Thread<W: Work> {
    task: NonNull<ffi::task_struct>,
    /// The thread's reference.
    work: *const W,
}

// SAFETY: the pointers are only used to stop the thread, which any thread may do.
unsafe impl<W: Work> Send for Thread<W> {}
// SAFETY: as above.
unsafe impl<W: Work> Sync for Thread<W> {}

/// Does the work of a thread.
///
/// # Safety
///
/// `data` is a `W` of which the thread has a reference of its own.
unsafe extern "C" fn main<W: Work>(data: *mut c_void) -> c_int {
    // SAFETY: the reference that `start` took lives until the thread has ended.
    let work = unsafe { &*data.cast_const().cast::<W>() };
    work.run();
    0
}

impl<W: Work> Thread<W> {
    /// Starts one on `cpu`.
    pub(crate) fn start(work: Arc<W>, cpu: u32) -> Result<Self> {
        let work = Arc::into_raw(work);
        // SAFETY: `main` takes `work` for what it is. The module stays while the
        // thread is there: whoever owns this waits for it.
        let task = unsafe {
            let data = work.cast_mut().cast();
            ffi::pagemove_thread_start(main::<W>, data, cpu, W::NAME.as_char_ptr())
        };
        match NonNull::new(task) {
            Some(task) => Ok(Self { task, work }),
            None => {
                // SAFETY: there is no thread that could use it.
                drop(unsafe { Arc::from_raw(work) });
                Err(ENOMEM)
            }
        }
    }
}

impl<W: Work> Drop for Thread<W> {
    fn drop(&mut self) {
        // SAFETY: the reference that `start` took; afterwards the thread has ended, and
        // nobody uses it. The task's structure stays until `stop` puts it.
        unsafe {
            (*self.work).stop();
            ffi::pagemove_thread_stop(self.task.as_ptr());
            drop(Arc::from_raw(self.work));
        }
    }
}
