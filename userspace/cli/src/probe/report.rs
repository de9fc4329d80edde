// SPDX-License-Identifier: GPL-2.0
//! All that `pagemove probe` found out. Its JSON is described in
//! Documentation/probe.md.

use std::fmt;
use std::path::Path;

use pagemove_uapi::PciAddress;
use serde::{Deserialize, Serialize};

use super::aperture::{self, Apertures};
use super::cores::{self, Socket};
use super::cpu::{self, Cpu, Measured};
use super::device::{self, Device};
use super::fact::{Fact, Known};
use super::finding::Verdict;
use super::iommu::{self, Iommu};
use super::kernel::{self, CommandLine, Kernel};
use super::module::{self, Module};
use super::numa::{self, Node};
use super::tree::Tree;
use super::tsc::{self, Tsc};
use super::verdict::{self, Engine};
use super::vfio::{self, Vfio};

#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// The best of the engines'.
    pub verdict: Verdict,
    pub engines: Vec<Engine>,
    pub kernel: Kernel,
    pub cpu: Cpu,
    pub tsc: Tsc,
    pub sockets: Fact<Vec<Socket>>,
    pub iommus: Fact<Vec<Iommu>>,
    pub devices: Vec<Device>,
    pub vfio: Vfio,
    pub module: Module,
    pub apertures: Apertures,
    pub nodes: Fact<Vec<Node>>,
    pub notes: Vec<String>,
}

/// Why there is no report.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    NoDevice(PciAddress),
    /// Sysfs or procfs is not there.
    NoTree(String),
}

impl Trouble {
    /// Returns what kind of error it is in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Trouble::NoDevice(_) => "usage",
            Trouble::NoTree(_) => "host",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::NoDevice(address) => {
                write!(
                    f,
                    "there is no PCI function {address}: `lspci -D` lists them"
                )
            }
            Trouble::NoTree(path) => write!(f, "{path} is missing: mount it"),
        }
    }
}

impl Report {
    /// Gathers what is known of every device that a guest could have, or of the one that is named.
    pub fn gather(
        tree: &Tree,
        measured: Measured,
        control: &Path,
        selected: Option<PciAddress>,
    ) -> Result<Self, Trouble> {
        for directory in ["sys", "proc"] {
            if !tree.exists(directory) {
                return Err(Trouble::NoTree(tree.path(directory).display().to_string()));
            }
        }
        let functions = device::all(tree);
        let functions = functions.known().map_or(&[][..], Vec::as_slice);
        let wanted = wanted(tree, functions, selected)?;
        let command_line = CommandLine::read(tree);
        let kernel = kernel::read(tree, &command_line);
        let cpu = cpu::read(tree, &command_line, measured);
        let (module, listed) = module::read(tree, control);
        let acs_override = command_line
            .known()
            .is_some_and(|line| line.last("pcie_acs_override").is_some());
        let device = |address: &String| device::read(tree, address, &listed, acs_override);
        let mut report = Self {
            verdict: Verdict::NotPossible,
            engines: Vec::new(),
            tsc: tsc::read(tree, &command_line, &cpu.flags),
            iommus: iommu::read(tree, &command_line, &cpu.hypervisor),
            cpu,
            sockets: cores::read(tree),
            devices: wanted.iter().map(device).collect(),
            vfio: vfio::read(tree, &kernel.release),
            kernel,
            module,
            apertures: aperture::read(tree, functions),
            nodes: numa::read(tree),
            notes: Vec::new(),
        };
        verdict::judge(&mut report);
        report.notes = report.gather_notes();
        Ok(report)
    }

    fn gather_notes(&self) -> Vec<String> {
        let mut notes = verdict::surprises(self);
        notes.extend(cpu::notes(&self.cpu));
        notes.extend(cores::notes(&self.sockets));
        notes.extend(vfio::notes(&self.vfio));
        notes.extend(numa::notes(&self.nodes));
        if let Known(Some(info)) = &self.module.info {
            if info
                .parameters
                .as_ref()
                .is_some_and(|told| told.allow_unqualified)
            {
                notes.push(
                    "the module was loaded with allow_unqualified=1: engines may run that no \
                     verdict allows on this machine"
                        .to_string(),
                );
            }
            if info.test_build {
                notes.push("the loaded module is a test build: never use it for data".to_string());
            }
        }
        notes
    }
}

fn wanted(
    tree: &Tree,
    functions: &[String],
    selected: Option<PciAddress>,
) -> Result<Vec<String>, Trouble> {
    match selected {
        None => {
            let candidate = |address: &&String| device::is_candidate(tree, address);
            Ok(functions.iter().filter(candidate).cloned().collect())
        }
        Some(address) => {
            let name = address.to_string();
            if !functions.contains(&name) {
                return Err(Trouble::NoDevice(address));
            }
            Ok(vec![name])
        }
    }
}
