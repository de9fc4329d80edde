// SPDX-License-Identifier: GPL-2.0
//! A domain behind two IOMMUs: an engine that one of them is not qualified for moves nothing. A build for tests (`inject=38`)
//! says of devices with an odd number that they are behind another IOMMU than the others. The argument is the value of
//! `inject`: the module is loaded without the parameter that the other suites have, allow_unqualified.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::tap::{self, Case, Outcome, Pass};
use pagemove_testkit::vfio::{Assigned, Device, Group};
use pagemove_testkit::{module, pci};
use pagemove_uapi::cpu::Cpu;
use pagemove_uapi::{
    Control, PciAddress, Verdict, ENGINE_ADBIT, FINDING_AD_CAS, FINDING_AD_SET,
    FINDING_VALID_CHANGE, FORMAT_X86_64, MOVE_EVEN_IF_THERE, MOVE_NO_VERIFY, REASON_NONE,
    REASON_UNQUALIFIED,
};

use crate::bench::{self, Nodes, IOVA};
use crate::region::Region;

const PAGES: usize = 8;
const OTHER: &[u8] = b"dmar9";
const ALL: u32 = FINDING_AD_SET | FINDING_VALID_CHANGE | FINDING_AD_CAS;

/// Two devices in one container. Fields are dropped in this order.
struct Scene {
    _second: Device,
    _group: Group,
    _first: Assigned,
    region: Region,
    control: Control,
    nodes: Nodes,
    /// One behind each IOMMU.
    devices: [PciAddress; 2],
}

type Check = fn(&mut Scene) -> Outcome;

const CHECKS: &[(&str, Check)] = &[
    ("no IOMMU has a verdict: unqualified", none),
    ("one has: unqualified, by whichever device", one),
    ("both have: moves, by either device", both),
    ("one of them needs verification: not without", verified),
    ("neither does: without verification, too", unverified),
];

pub fn main(arguments: &[String]) -> ExitCode {
    let [inject] = arguments else {
        return tap::fail_all(&anyhow::anyhow!("iommus wants the value of inject"));
    };
    let mut scene = match reload(inject).and_then(|()| Scene::open()) {
        Ok(scene) => scene,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |(name, check): &(&'static str, Check)| Case::new(*name, *check);
    tap::run(&mut scene, CHECKS.iter().map(case).collect())
}

fn reload(inject: &str) -> Result<()> {
    module::unload_pagemove(Duration::from_secs(20))?;
    module::load_pagemove_with(&format!("allow_incoherent=1 inject={inject}"))
}

impl Scene {
    fn open() -> Result<Self> {
        let nodes = Nodes::find()?.context("the VM has one NUMA node only")?;
        let all = bench::devices()?;
        let is_odd = |device: &&PciAddress| device.devfn >> 3 & 1 == 1;
        let even = all.iter().find(|device| !is_odd(device));
        let even = *even.context("no device has an even number")?;
        let odd = *all.iter().find(is_odd).context("none has an odd one")?;
        for device in [even, odd] {
            pci::bind(device, pci::PAGEMOVE)?;
        }
        let region = Region::on_node(PAGES, nodes.here)?;
        region.map.fill(0);
        let first = Assigned::open(even)?;
        let group = Group::open(odd)?;
        group.join(&first.container)?;
        let second = group.device(odd)?;
        bench::map(&first, IOVA, &region)?;
        Ok(Self {
            _second: second,
            _group: group,
            _first: first,
            region,
            control: Control::open()?,
            nodes,
            devices: [even, odd],
        })
    }

    /// Sets a verdict on the IOMMU of one of the devices.
    fn allow(&self, which: usize, findings: u32) -> Result<()> {
        let cpu = Cpu::here().context("/proc/cpuinfo")?;
        let all = self.control.device_list()?;
        let device = self.devices[which];
        let at = (device.segment, device.bus, device.devfn);
        let found = all.iter().find(|d| (d.segment, d.bus, d.devfn) == at);
        let iommu = found.context("the device is not listed")?.iommu;
        let is_other = iommu.starts_with(OTHER);
        ensure!(is_other == (which == 1), "it is behind {iommu:?}");
        self.control.verdict_set(&Verdict {
            iommu,
            format: FORMAT_X86_64,
            cpu: cpu.signature,
            microcode: cpu.microcode,
            engines: 1 << ENGINE_ADBIT,
            findings,
            ..Verdict::default()
        })?;
        Ok(())
    }

    /// Moves a page by each of the devices.
    fn expect(&self, flags: u32, expected: (i32, u32)) -> Outcome {
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

const REFUSED: (i32, u32) = (libc::EOPNOTSUPP, REASON_UNQUALIFIED);
const DONE: (i32, u32) = (0, REASON_NONE);

fn none(scene: &mut Scene) -> Outcome {
    scene.expect(0, REFUSED)
}

fn one(scene: &mut Scene) -> Outcome {
    scene.allow(0, ALL)?;
    scene.expect(0, REFUSED)
}

fn both(scene: &mut Scene) -> Outcome {
    scene.allow(1, ALL & !FINDING_AD_CAS)?;
    scene.expect(0, DONE)
}

fn verified(scene: &mut Scene) -> Outcome {
    scene.expect(MOVE_NO_VERIFY, REFUSED)
}

fn unverified(scene: &mut Scene) -> Outcome {
    scene.allow(1, ALL)?;
    scene.expect(MOVE_NO_VERIFY, DONE)
}
