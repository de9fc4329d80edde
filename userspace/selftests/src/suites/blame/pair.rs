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
    Control, Device as Listed, PciAddress, Verdict, DEVICE_ATS, ENGINE_ADBIT, FORMAT_X86_64,
    MOVE_EVEN_IF_THERE, REASON_NONE, REASON_UNQUALIFIED, VERDICT_ATS,
};

use crate::bench::{self, Nodes, IOVA};
use crate::region::Region;

const PAGES: usize = 8;

pub const REFUSED: (i32, u32) = (libc::EOPNOTSUPP, REASON_UNQUALIFIED);
pub const DONE: (i32, u32) = (0, REASON_NONE);

/// Fields are dropped in this order.
pub struct Pair {
    _second: Device,
    _group: Group,
    _first: Assigned,
    region: Region,
    pub control: Control,
    nodes: Nodes,
    pub devices: [PciAddress; 2],
}

/// A case, of which the ones before it have set verdicts.
pub type Check = fn(&mut Pair) -> Outcome;

/// Runs the cases in their order, with these devices. The argument is the value of `inject`.
pub fn main(
    arguments: &[String],
    devices: impl FnOnce() -> Result<[PciAddress; 2]>,
    checks: &[(&'static str, Check)],
) -> ExitCode {
    let [inject] = arguments else {
        return tap::fail_all(&anyhow!("wanted: the value of inject"));
    };
    let opened = reload(inject).and_then(|()| Pair::open(devices()?));
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
    module::load_pagemove_with(&format!("allow_incoherent=1 inject={inject}"))
}

impl Pair {
    pub fn open(devices: [PciAddress; 2]) -> Result<Self> {
        let nodes = Nodes::find()?.context("the VM has one NUMA node only")?;
        for device in devices {
            pci::bind(device, pci::PAGEMOVE)?;
        }
        let region = Region::on_node(PAGES, nodes.here)?;
        region.map.fill(0);
        let first = Assigned::open(devices[0])?;
        let group = Group::open(devices[1])?;
        group.join(&first.container)?;
        let second = group.device(devices[1])?;
        bench::map(&first, IOVA, &region)?;
        Ok(Self {
            _second: second,
            _group: group,
            _first: first,
            region,
            control: Control::open()?,
            nodes,
            devices,
        })
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

    /// Moves a page by each of the devices.
    pub fn expect(&self, flags: u32, expected: (i32, u32)) -> Outcome {
        for device in self.devices {
            let mut request = bench::request(device, IOVA, 1, self.nodes.there);
            request.engine = ENGINE_ADBIT;
            request.flags = flags | MOVE_EVEN_IF_THERE;
            let report = self.control.move_pages(&request, None);
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
