// SPDX-License-Identifier: GPL-2.0
//! Profiles: the machines that tests run on, declared in tests/profiles.toml.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A block device that backs a device of the machine: a sparse file that is
/// made for each run and deleted after it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// QEMU's node name, which a device names as its `drive`.
    pub node: String,
    pub mib: u64,
}

/// Memory that devices of the machine show, as `ivshmem-plain` does: a file that is made
/// for each run and deleted after it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub mib: u64,
    /// Memory back ends that all are this file; a device names one as its `memdev`. `memN` is
    /// the memory of node N.
    pub ids: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What it stands for, in one line.
    pub about: String,
    pub machine: String,
    pub cpus: u32,
    /// Memory of each NUMA node in MiB; the CPUs are spread over the nodes.
    pub nodes: Vec<u64>,
    /// Arguments of `-device`, in the order in which QEMU makes them.
    pub devices: Vec<String>,
    #[serde(default)]
    pub disks: Vec<Disk>,
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Network back ends, by the name that a device gives as its `netdev`: each gives
    /// every frame that it is sent back to its sender.
    #[serde(default)]
    pub loops: Vec<String>,
    /// Arguments of `-global`.
    #[serde(default)]
    pub globals: Vec<String>,
    /// Added to the kernel's command line.
    #[serde(default)]
    pub kernel: Vec<String>,
    /// Stock modules loaded before pagemove, with what they depend on.
    #[serde(default)]
    pub modules: Vec<String>,
    /// Stock modules that are there for tests to load.
    #[serde(default)]
    pub available: Vec<String>,
    /// Parameters for stock modules, by module.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Parameters for pagemove.ko.
    #[serde(default)]
    pub params: Vec<String>,
}

impl Profile {
    /// A machine with nothing in it.
    pub fn bare(about: &str) -> Self {
        Self {
            about: about.to_string(),
            machine: "q35".to_string(),
            cpus: 1,
            nodes: vec![512],
            devices: Vec::new(),
            disks: Vec::new(),
            windows: Vec::new(),
            loops: Vec::new(),
            globals: Vec::new(),
            kernel: Vec::new(),
            modules: Vec::new(),
            available: Vec::new(),
            options: BTreeMap::new(),
            params: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    profile: BTreeMap<String, Profile>,
}

/// Every profile, by name.
pub struct Profiles(BTreeMap<String, Profile>);

impl Profiles {
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", file.display()))
    }

    pub fn parse(text: &str) -> Result<Self> {
        Ok(Self(toml::from_str::<ProfileFile>(text)?.profile))
    }

    pub fn get(&self, name: &str) -> Result<&Profile> {
        self.0.get(name).with_context(|| {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            format!("no profile {name}; there are: {}", known.join(", "))
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Profile)> {
        self.0.iter()
    }
}
