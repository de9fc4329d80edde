// SPDX-License-Identifier: GPL-2.0
//! What a caller has to be allowed to do.

use crate::host::task;
use kernel::prelude::*;

/// Refuses callers that may not move pages at all.
pub(super) fn may_move() -> Result {
    if !task::is_privileged() {
        return Err(EPERM);
    }
    task::check_lockdown()
}

/// Refuses callers that may not see what others do.
pub(super) fn may_watch() -> Result {
    match task::is_privileged() {
        true => Ok(()),
        false => Err(EPERM),
    }
}
