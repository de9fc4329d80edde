// SPDX-License-Identifier: GPL-2.0
//! What a caller has to be allowed to do.

use crate::host::ffi;
use kernel::prelude::*;

/// Refuses callers that may not move pages at all.
pub(super) fn may_move() -> Result {
    // SAFETY: asks about the current task.
    if !unsafe { ffi::pagemove_capable() } {
        return Err(EPERM);
    }
    // SAFETY: as above.
    kernel::error::to_result(unsafe { ffi::pagemove_locked_down() })
}
