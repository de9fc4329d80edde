// SPDX-License-Identifier: GPL-2.0
//! PCI functions that could be given to a guest.

use pagemove_uapi::{PciAddress, DRIVER};
use serde::{Deserialize, Serialize};

use super::fact::{Fact, Known};
use super::finding::{Finding, Verdict, RUN_AS_ROOT};
use super::module::Listed;
use super::pci_config::{Ats, Config, Pasid, Pri};
use super::peer::{self, PeerToPeer};
use super::tree::Tree;

#[derive(Debug, Serialize, Deserialize)]
pub struct Device {
    pub address: String,
    /// `0x010802`
    pub class: Fact<String>,
    /// `8086:0953`
    pub id: Fact<String>,
    pub driver: Option<String>,
    pub driver_override: Option<String>,
    /// Null if it is behind no IOMMU.
    pub group: Option<String>,
    /// What the group's domain is: identity, DMA, DMA-FQ; blocked under VFIO.
    pub group_type: Fact<Option<String>>,
    pub group_members: Fact<Vec<Member>>,
    /// Its IOMMU, as in the list of them.
    pub iommu: Option<String>,
    pub node: Fact<Option<u32>>,
    pub bus_master: Fact<bool>,
    pub ats: Fact<Option<Ats>>,
    pub pri: Fact<Option<Pri>>,
    pub pasid: Fact<Option<Pasid>>,
    pub peer_to_peer: PeerToPeer,
    /// What binds it to pagemove_vfio; empty if it is.
    pub bind: Vec<String>,
    /// What the module says of it; null if it is not bound or the module not loaded.
    pub module: Option<Listed>,
    pub engines: Vec<Possible>,
}

/// Another function in the same group.
#[derive(Debug, Serialize, Deserialize)]
pub struct Member {
    pub address: String,
    pub class: Fact<String>,
    pub driver: Option<String>,
}

/// Whether an engine can work with a device, and what is special to the device.
#[derive(Debug, Serialize, Deserialize)]
pub struct Possible {
    pub engine: String,
    pub verdict: Verdict,
    pub findings: Vec<Finding>,
}

const DEVICES: &str = "sys/bus/pci/devices";
const GROUPS: &str = "sys/kernel/iommu_groups";

/// Returns whether no guest is given functions of this PCI base class: bridges, and system
/// peripherals such as the IOMMU itself.
fn is_system(class: &Fact<String>) -> bool {
    let base = class.known().and_then(|class| class.get(..4));
    matches!(base, Some("0x06" | "0x08"))
}

fn class(tree: &Tree, address: &str) -> Fact<String> {
    tree.must(&format!("{DEVICES}/{address}/class"))
}

fn driver(tree: &Tree, address: &str) -> Option<String> {
    tree.link_name(&format!("{DEVICES}/{address}/driver"))
}

/// Returns every function, by its address.
pub fn all(tree: &Tree) -> Fact<Vec<String>> {
    let names = tree.names(DEVICES).map(Option::unwrap_or_default);
    // Addresses with longer segments (VMD) can not be named in the ABI.
    names.map(|mut names| {
        names.retain(|name| name.parse::<PciAddress>().is_ok());
        names
    })
}

/// Returns whether a guest may be given it: it is behind an IOMMU, and no bridge.
pub fn is_candidate(tree: &Tree, address: &str) -> bool {
    group(tree, address).is_some() && !is_system(&class(tree, address))
}

fn group(tree: &Tree, address: &str) -> Option<String> {
    tree.link_name(&format!("{DEVICES}/{address}/iommu_group"))
}

/// Returns the bridges above a function, the nearest first: parts of its path in sysfs.
fn ports(tree: &Tree, address: &str) -> Vec<String> {
    let path = tree.link(&format!("{DEVICES}/{address}"));
    let mut ports = path.unwrap_or_default();
    ports.retain(|part| part.parse::<PciAddress>().is_ok() && part != address);
    ports.reverse();
    ports
}

pub fn read(tree: &Tree, address: &str, listed: &[Listed], acs_override: bool) -> Device {
    let directory = format!("{DEVICES}/{address}");
    let text = |file: &str| tree.must(&format!("{directory}/{file}"));
    let config = Config::read(tree, &directory);
    let group = group(tree, address);
    let group_members = members(tree, address, group.as_deref());
    let alone = group.is_some() && group_members.known().is_some_and(Vec::is_empty);
    let ports = ports(tree, address);
    let driver = driver(tree, address);
    let chosen = text("driver_override");
    Device {
        class: class(tree, address),
        id: text("vendor").and_then(|vendor| text("device").map(|device| id(&vendor, &device))),
        driver_override: chosen
            .known()
            .filter(|name| !name.is_empty() && *name != "(null)")
            .cloned(),
        group_type: match &group {
            Some(group) => tree.text(&format!("{GROUPS}/{group}/type")),
            None => Known(None),
        },
        group_members,
        iommu: tree.link_name(&format!("{directory}/iommu")),
        node: node(&directory, &text("numa_node")),
        bus_master: config.as_ref().and_then(Config::bus_master),
        ats: config.as_ref().and_then(Config::ats),
        pri: config.as_ref().and_then(Config::pri),
        pasid: config.as_ref().and_then(Config::pasid),
        peer_to_peer: peer::read(tree, address, &config, &ports, alone, acs_override),
        bind: bind(address, driver.as_deref()),
        module: listed
            .iter()
            .find(|listed| listed.address == address)
            .cloned(),
        engines: Vec::new(),
        address: address.to_string(),
        driver,
        group,
    }
}

fn id(vendor: &str, device: &str) -> String {
    let digits = |text: &str| text.trim_start_matches("0x").to_string();
    format!("{}:{}", digits(vendor), digits(device))
}

fn node(directory: &str, text: &Fact<String>) -> Fact<Option<u32>> {
    text.as_ref()
        .and_then(|text| match (text.parse::<u32>(), text.as_str()) {
            (Ok(node), _) => Known(Some(node)),
            (_, "-1") => Known(None),
            _ => Fact::unknown(format!("/{directory}/numa_node holds no number")),
        })
}

fn members(tree: &Tree, address: &str, group: Option<&str>) -> Fact<Vec<Member>> {
    let Some(group) = group else {
        return Known(Vec::new());
    };
    let names = tree.names(&format!("{GROUPS}/{group}/devices"));
    names.and_then(|names| match names {
        Some(names) => Known(
            names
                .into_iter()
                .filter(|name| name != address)
                .map(|name| Member {
                    class: class(tree, &name),
                    driver: driver(tree, &name),
                    address: name,
                })
                .collect(),
        ),
        None => Fact::unknown(format!("there is no /{GROUPS}/{group}/devices")),
    })
}

/// Returns what binds a function to pagemove's driver.
fn bind(address: &str, driver: Option<&str>) -> Vec<String> {
    if driver == Some(DRIVER) {
        return Vec::new();
    }
    let mut lines = vec![format!(
        "echo {DRIVER} > /{DEVICES}/{address}/driver_override"
    )];
    if driver.is_some() {
        lines.push(format!(
            "echo {address} > /{DEVICES}/{address}/driver/unbind"
        ));
    }
    lines.push(format!("echo {address} > /sys/bus/pci/drivers_probe"));
    lines
}

/// Returns what is special to this device, for any engine.
pub fn findings(device: &Device) -> Vec<Finding> {
    let mut findings = Vec::new();
    if is_system(&device.class) {
        findings.push(Finding::blocker(
            "bridge",
            "it is a bridge or part of the system, which no guest can have",
            "choose another device",
        ));
    }
    if device.group.is_none() {
        findings.push(Finding::blocker(
            "no-group",
            "it is behind no IOMMU",
            "a device behind an IOMMU; firmware may leave a slot out",
        ));
    }
    findings.extend(shared(device));
    if !device.bind.is_empty() {
        let driver = device.driver.as_deref();
        let what = driver.map_or("it has no driver".to_string(), |name| {
            format!("it is bound to {name}; whoever uses it there loses it")
        });
        findings.push(Finding::step("not-bound", what, device.bind.join("; ")));
    }
    findings
}

/// Returns what the others in its group make difficult.
fn shared(device: &Device) -> Vec<Finding> {
    let members = match &device.group_members {
        Known(members) => members,
        Fact::Unknown(unknown) => {
            let what = format!("who is in its group is unknown: {}", unknown.unknown);
            return vec![Finding::unknown("group-unknown", what, RUN_AS_ROOT)];
        }
    };
    let others: Vec<&Member> = members
        .iter()
        .filter(|member| !is_system(&member.class))
        .collect();
    let mut findings = Vec::new();
    if !device.peer_to_peer.redirected.is(&true) && device.group.is_some() {
        let why = &device.peer_to_peer.why;
        findings.push(match device.peer_to_peer.redirected {
            Known(_) => Finding::blocker(
                "peer-to-peer",
                format!("DMA between peers can pass by the IOMMU: {why}"),
                "a slot below a port with ACS, or turn ACS on in firmware; not pcie_acs_override, \
                 which only says so",
            ),
            Fact::Unknown(_) => Finding::unknown(
                "peer-to-peer-unknown",
                format!("whether DMA between peers can pass by the IOMMU is unknown: {why}"),
                RUN_AS_ROOT,
            ),
        });
    }
    let bound = |member: &&&Member| member.driver.as_deref() != Some(DRIVER);
    let driven: Vec<String> = others
        .iter()
        .filter(|member| member.driver.is_some())
        .filter(bound)
        .map(|member| member.address.clone())
        .collect();
    if !driven.is_empty() {
        findings.push(Finding::step(
            "shared-group",
            format!(
                "its IOMMU group holds {}, too: one guest gets all of them",
                driven.join(", ")
            ),
            format!("bind all of them to {DRIVER}, or to no driver"),
        ));
    }
    findings
}
