// SPDX-License-Identifier: GPL-2.0
//! What the IOMMU says of itself that no trial can show: whether an invalidation waits for DMA that is under way,
//! and whether DMA can go around the caches of the CPUs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::evidence::Trial;
use crate::probe::registers::{DRD, DWD, SC};

/// Capability registers of VT-d.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Promises {
    pub cap: u64,
    pub ecap: u64,
}

impl Promises {
    /// Reads the registers of an IOMMU, as the kernel shows them.
    pub fn of(iommu: &str) -> Result<Trial<Self>> {
        read(Path::new("/sys/class/iommu"), iommu)
    }

    /// Tells whether an invalidation waits for writes and reads that are under way.
    pub fn drains(self) -> bool {
        DWD.is_set(self.cap) && DRD.is_set(self.cap)
    }

    /// Tells whether the kernel can have all DMA look into the caches, whatever a device asks for: VFIO does so
    /// where it can.
    pub fn snoops(self) -> bool {
        SC.is_set(self.ecap)
    }
}

fn read(root: &Path, iommu: &str) -> Result<Trial<Promises>> {
    if !iommu.starts_with("dmar") {
        return Ok(Trial::Pointless("this IOMMU has no register that says so"));
    }
    let register = |name: &str| {
        let path = root.join(iommu).join("intel-iommu").join(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        u64::from_str_radix(text.trim(), 16)
            .with_context(|| format!("{} is no number: {text:?}", path.display()))
    };
    Ok(Trial::Seen(Promises {
        cap: register("cap")?,
        ecap: register("ecap")?,
    }))
}

#[cfg(test)]
#[path = "promises_tests.rs"]
mod tests;
