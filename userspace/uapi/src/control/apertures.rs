// SPDX-License-Identifier: GPL-2.0
//! Apertures: windows to other memory.

use super::Control;
use crate::abi::*;
use crate::{Call, Error};

impl Control {
    /// Returns every aperture there is.
    pub fn aperture_list(&self) -> Result<Vec<Aperture>, Error> {
        self.list(|entries: &mut [Aperture]| {
            let mut list = ApertureList {
                size: size_of::<ApertureList>() as u32,
                entries: entries.as_mut_ptr() as u64,
                capacity: entries.len() as u32,
                ..Default::default()
            };
            // SAFETY: entries has room for capacity elements and outlives the call.
            unsafe { self.call(Call::ApertureList, IOC_APERTURE_LIST, &mut list) }?;
            Ok(list.count as usize)
        })
    }
}
