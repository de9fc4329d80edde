// SPDX-License-Identifier: GPL-2.0
//! Two devices in one container, and verdicts that allow moving their pages or not. The module is
//! loaded without the parameter that the other suites have, allow_unqualified.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, ensure, Context, Result};
use pagemove_testkit::tap::{self, Case, Outcome, Pass};
use pagemove_testkit::vfio::{Assigned, Device, Group};
use pagemove_testkit::{module, pci};
use pagemove_uapi::cpu::Cpu;
use pagemove_uapi::{
    Control, Device as Listed, MoveRequest, PciAddress, Verdict, DEVICE_ATS, ENGINE_ADBIT,
    FORMAT_X86_64, MOVE_EVEN_IF_THERE, REASON_NONE, REASON_UNQUALIFIED, VERDICT_ATS,
};

use crate::bench::{self, Nodes, IOVA};
use crate::region::Region;

const PAGES: usize = 8;

pub const REFUSED: (i32, u32) = (libc::EOPNOTSUPP, REASON_UNQUALIFIED);
pub const DONE: (i32, u32) = (0, REASON_NONE);

/// Fields are dropped in this order.
struct Second {
    _device: Device,
    _group: Group,
}

/// Fields are dropped in this order.
pub struct Pair {
    second: Option<Second>,
    first: Assigned,
    region: Region,
    pub control: Control,
    nodes: Nodes,
    pub devices: [PciAddress; 2],
}

/// A case, of which the ones before it have set verdicts.
pub type Check = fn(&mut Pair) -> Outcome;

/// Runs the cases in their order. The argument is the value of `inject`.
pub fn main(
    arguments: &[String],
    open: impl FnOnce() -> Result<Pair>,
    checks: &[(&'static str, Check)],
) -> ExitCode {
    let [inject] = arguments else {
        return tap::fail_all(&anyhow!("wanted: the value of inject"));
    };
    let opened = reload(inject).and_then(|()| open());
    let mut pair = match opened {
        Ok(pair) => pair,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |(name, check): &(&'static str, Check)| Case::new(*name, *check);
    tap::run(&mut pair, checks.iter().map(case).collect())
}

/// Loads the module anew with this value of `inject`.
fn reload(inject: &str) -> Result<()> {
    module::unload_pagemove(Duration::from_secs(20))?;
    module::load_pagemove_with(&format!(
        "allow_incoherent=1 patience_ms=20000 inject={inject}"
    ))
}

impl Pair {
    pub fn open(devices: [PciAddress; 2]) -> Result<Self> {
        let mut pair = Self::open_first(devices)?;
        pair.join()?;
        Ok(pair)
    }

    /// Opens one of them only.
    pub fn open_first(devices: [PciAddress; 2]) -> Result<Self> {
        let nodes = Nodes::find()?.context("the VM has one NUMA node only")?;
        for device in devices {
            pci::bind(device, pci::PAGEMOVE)?;
        }
        let region = Region::on_node(PAGES, nodes.here)?;
        region.map.fill(0);
        let first = Assigned::open(devices[0])?;
        bench::map(&first, IOVA, &region)?;
        Ok(Self {
            second: None,
            first,
            region,
            control: Control::open()?,
            nodes,
            devices,
        })
    }

    /// Opens the other one, in the container of the first.
    pub fn join(&mut self) -> Result<()> {
        let group = Group::open(self.devices[1])?;
        group.join(&self.first.container)?;
        self.second = Some(Second {
            _device: group.device(self.devices[1])?,
            _group: group,
        });
        Ok(())
    }

    /// Closes it again.
    pub fn part(&mut self) {
        self.second = None;
    }

    /// What the module lists of one of the devices.
    pub fn listed(&self, which: usize) -> Result<Listed> {
        let device = self.devices[which];
        let at = (device.segment, device.bus, device.devfn);
        let all = self.control.device_list()?;
        let found = all.into_iter().find(|d| (d.segment, d.bus, d.devfn) == at);
        found.context("the device is not listed")
    }

    /// Returns a verdict that allows moving the pages of one of the devices.
    pub fn verdict(&self, which: usize, findings: u32) -> Result<Verdict> {
        let cpu = Cpu::here().context("/proc/cpuinfo")?;
        let device = self.listed(which)?;
        let has_ats = device.flags & DEVICE_ATS != 0;
        Ok(Verdict {
            iommu: device.iommu,
            format: FORMAT_X86_64,
            cpu: cpu.signature,
            microcode: cpu.microcode,
            engines: 1 << ENGINE_ADBIT,
            findings,
            flags: if has_ats { VERDICT_ATS } else { 0 },
            registers: device.registers,
        })
    }

    /// What moves a page by one of the devices.
    pub fn request(&self, device: PciAddress, flags: u32) -> MoveRequest {
        let mut request = bench::request(device, IOVA, 1, self.nodes.there);
        request.engine = ENGINE_ADBIT;
        request.flags = flags | MOVE_EVEN_IF_THERE;
        request
    }

    /// Moves a page by each of the devices that are open.
    pub fn expect(&self, flags: u32, expected: (i32, u32)) -> Outcome {
        let open = 1 + usize::from(self.second.is_some());
        for device in self.devices.into_iter().take(open) {
            let report = self.control.move_pages(&self.request(device, flags), None);
            let found = bench::answer_of(&report);
            let moved = u64::from(expected.0 == 0);
            ensure!(
                found == expected && report.pages_moved == moved,
                "by {device}: {}",
                bench::describe(&report)
            );
        }
        self.region.map.check(0)?;
        Ok(Pass)
    }
}
