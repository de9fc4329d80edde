// SPDX-License-Identifier: GPL-2.0
//! Safe words for what the kernel offers: it knows nothing of pages that move.

pub(crate) mod cpu;
pub(crate) mod ffi;
pub(crate) mod memcg;
pub(crate) mod memory;
pub(crate) mod mm;
pub(crate) mod pci;
pub(crate) mod preempt;
pub(crate) mod queue;
pub(crate) mod spin;
pub(crate) mod task;
pub(crate) mod thread;
