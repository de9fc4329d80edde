// SPDX-License-Identifier: GPL-2.0
//! Profiles: the machines that tests run on, declared in tests/profiles.toml.

mod parts;

use anyhow::{ensure, Context, Result};
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

/// A network back end that is connected to the other VM of a pair.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// A device names it as its `netdev`.
    pub id: String,
    /// The guest's address there, with the length of its prefix.
    pub address: String,
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
    /// The RAM is a file that memory back ends can show, from address 0: those of
    /// `mirrors`, and those of `peer_ram` of the other VM of a pair.
    #[serde(default)]
    pub shared_ram: bool,
    /// Back ends that are this VM's own RAM; a device names one as its `memdev`. What a
    /// guest stores through such a device into code that it runs, TCG does not notice.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Back ends that are the RAM of the other VM of a pair.
    #[serde(default)]
    pub peer_ram: Vec<String>,
    /// The network that joins a pair.
    pub link: Option<Link>,
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
    /// Makes a machine with nothing in it.
    pub fn bare(about: &str) -> Self {
        Self {
            about: about.to_string(),
            machine: "q35".to_string(),
            cpus: 1,
            nodes: vec![512],
            devices: Vec::new(),
            disks: Vec::new(),
            windows: Vec::new(),
            shared_ram: false,
            mirrors: Vec::new(),
            peer_ram: Vec::new(),
            link: None,
            loops: Vec::new(),
            globals: Vec::new(),
            kernel: Vec::new(),
            modules: Vec::new(),
            available: Vec::new(),
            options: BTreeMap::new(),
            params: Vec::new(),
        }
    }

    fn from_table(table: toml::Table) -> Result<Self> {
        let profile: Self = table.try_into()?;
        profile.check()?;
        Ok(profile)
    }

    /// Returns all of the memory, in MiB.
    pub fn mib(&self) -> u64 {
        self.nodes.iter().sum()
    }

    /// Returns whether it can not run but beside another VM.
    pub fn needs_peer(&self) -> bool {
        self.link.is_some() || !self.peer_ram.is_empty()
    }

    /// Checks RAM that is shown. It has to be what shows it: one file, whose offsets are physical
    /// addresses (q35 has no hole below 2 GiB), of a size that a BAR can have.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.shared_ram || self.mirrors.is_empty(),
            "mirrors without shared_ram"
        );
        if self.shared_ram {
            ensure!(
                self.nodes.len() == 1,
                "shared RAM has to be one node, not {}",
                self.nodes.len()
            );
            let mib = self.mib();
            ensure!(
                mib.is_power_of_two() && mib <= 2048,
                "shared RAM of {mib} MiB: a power of two up to 2048 it has to be"
            );
        }
        Ok(())
    }
}

/// Every profile, by name.
pub struct Profiles(BTreeMap<String, Profile>);

impl Profiles {
    pub fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", file.display()))
    }

    pub fn parse(text: &str) -> Result<Self> {
        let mut profiles = BTreeMap::new();
        for (name, table) in parts::profiles(text)? {
            let profile = Profile::from_table(table).with_context(|| format!("profile {name}"))?;
            profiles.insert(name, profile);
        }
        Ok(Self(profiles))
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

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
