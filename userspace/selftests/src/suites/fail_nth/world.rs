// SPDX-License-Identifier: GPL-2.0
//! The machine that the ways lead into: a device with a region, a bridge, an aperture.

use std::time::Duration;

use anyhow::{Context, Result};
use pagemove_devices::memory::Source;
use pagemove_testkit::{module, pci};
use pagemove_uapi::{Control, PciAddress};

use super::sweep::Table;
use crate::bench;
use crate::region::{Mapping, Region};
use crate::rig::Rig;
use crate::suites::ntb::bridge::Bridge;

/// Pages of the rig that move.
pub const PAGES: usize = 4;

pub struct World {
    /// Asked for the state.
    control: Option<Control>,
    pub rig: Option<Rig>,
    pub bridge: Option<Bridge>,
    pub table: Table,
    /// What a way has made, until it is settled.
    pub made: Made,
}

#[derive(Default)]
pub struct Made {
    pub control: Option<Control>,
    pub map: Option<Mapping>,
    pub region: Option<Region>,
    pub outcome: Option<(pagemove_uapi::MoveReport, Vec<pagemove_uapi::PageResult>)>,
    pub seed: u64,
    /// Waits for a page of the region, which is there until it has ended.
    pub waits: Option<std::thread::JoinHandle<u8>>,
    /// The number of an aperture or a window.
    pub number: u32,
}

/// A device that nobody has opened.
pub fn spare() -> Result<PciAddress> {
    pci::find(pci::EDU)?
        .first()
        .copied()
        .context("the VM has no edu device")
}

impl World {
    pub fn open() -> Result<Self> {
        let bridge = match std::path::Path::new("/pagemove_ntb.ko").exists() {
            true => Some(Bridge::open()?),
            false => None,
        };
        Ok(Self {
            control: Some(Control::open()?),
            rig: None,
            bridge,
            table: Table::default(),
            made: Made::default(),
        })
    }

    pub fn open_rig(&mut self) -> Result<()> {
        self.rig = Some(Rig::open(PAGES)?);
        Ok(())
    }

    /// Opens the device with memory as any VMM has it.
    pub fn open_plain_rig(&mut self) -> Result<()> {
        self.rig = None;
        bench::wait_for_no_pages(Duration::from_secs(20))?;
        self.rig = Some(Rig::open_with(Source::Memfd, PAGES)?);
        Ok(())
    }

    pub fn control(&self) -> &Control {
        self.control.as_ref().expect("the world is open")
    }

    pub fn rig(&mut self) -> Result<&mut Rig> {
        self.rig.as_mut().context("the rig is closed")
    }

    /// Closes everything but the file that asks for the state.
    pub fn close(&mut self) -> Result<()> {
        self.made = Made::default();
        self.rig = None;
        bench::wait_for_no_pages(Duration::from_secs(20))?;
        if let Some(bridge) = self.bridge.take() {
            bridge.close()?;
        }
        Ok(())
    }

    pub fn end(&mut self) -> Result<()> {
        self.close()?;
        self.control = None;
        module::unload_pagemove(Duration::from_secs(20))?;
        module::load_pagemove()
    }
}
