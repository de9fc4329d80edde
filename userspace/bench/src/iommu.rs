// SPDX-License-Identifier: GPL-2.0
//! What a kernel driver can do without pagemove: iommu_unmap(), a copy, iommu_map(), page by page. A small
//! module does it: tests/bench/pagemove_bench_iommu.c.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use pagemove_testkit::module;
use pagemove_uapi::{PciAddress, PAGE_SIZE};

use crate::load::Target;
use crate::watch::{Taken, Watch};

const MODULE: &str = "/pagemove_bench_iommu.ko";
const ORDER: &str = "/sys/kernel/debug/pagemove-bench-iommu";

/// The module is there.
pub struct Iommu {
    device: PciAddress,
}

impl Iommu {
    pub fn load(device: PciAddress) -> Result<Self> {
        module::load_file(Path::new(MODULE))?;
        Ok(Self { device })
    }

    /// Exchanges pages of a mapping that was made page by page, and gives them back. The module itself
    /// tells how long the exchange took: an order is read and pages are allocated before it.
    pub fn exchange(&self, target: Target, watch: &Watch) -> Result<Taken> {
        let (done, mut taken) = watch.time(|| self.order(target, target.pages));
        done?;
        let ns = fs::read_to_string(format!("{ORDER}-ns")).context("its time")?;
        taken.ns = ns.trim().parse().context("its time")?;
        self.order(target, 0)?;
        Ok(taken)
    }

    fn order(&self, target: Target, pages: usize) -> Result<()> {
        let iova = target.iova + (target.first * PAGE_SIZE) as u64;
        let order = format!("{} {iova:x} {pages}", self.device);
        fs::write(ORDER, &order).with_context(|| format!("{ORDER}: {order}"))
    }
}
