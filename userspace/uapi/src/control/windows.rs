// SPDX-License-Identifier: GPL-2.0
//! Windows: what a peer sees of this host's memory.

use super::Control;
use crate::abi::*;
use crate::{Call, Error};

impl Control {
    /// Returns every window there is.
    pub fn window_list(&self) -> Result<Vec<Window>, Error> {
        self.list(|entries: &mut [Window]| {
            let mut list = WindowList {
                size: size_of::<WindowList>() as u32,
                entries: entries.as_mut_ptr() as u64,
                capacity: entries.len() as u32,
                ..Default::default()
            };
            // SAFETY: entries has room for capacity elements and outlives the call.
            unsafe { self.call(Call::WindowList, IOC_WINDOW_LIST, &mut list) }?;
            Ok(list.count as usize)
        })
    }

    /// Lets a window show a new arena of this many bytes from a node, or with 0 nothing.
    pub fn window_set(&self, id: u32, length: u64, node: i32) -> Result<(), Error> {
        let mut set = WindowSet {
            size: size_of::<WindowSet>() as u32,
            id,
            node,
            length,
            ..Default::default()
        };
        // SAFETY: WindowSet has no pointers.
        unsafe { self.call(Call::WindowSet, IOC_WINDOW_SET, &mut set) }
    }
}
