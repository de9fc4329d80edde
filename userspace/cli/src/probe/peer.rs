// SPDX-License-Identifier: GPL-2.0
//! Peer-to-peer DMA: can a request of this function reach another one below the
//! IOMMU? Where switches and ports do not redirect it upwards, no IOMMU sees it.
//!
//! Looked at as Linux does before it makes groups: every port on the way up, and
//! the function itself if it is one of several; K drivers/iommu/iommu.c. A group
//! of one says that Linux found all of that in order, by what it knows of ports
//! that redirect without saying so, too. Larger groups say nothing: Linux 7.2 puts
//! two devices below a switch without ACS into groups of their own, each with its
//! port.

use serde::{Deserialize, Serialize};

use super::fact::{Fact, Known};
use super::pci_config::{Acs, Config, PortType};
use super::tree::Tree;

#[derive(Debug, Serialize, Deserialize)]
pub struct PeerToPeer {
    /// Whether every request goes up to the IOMMU.
    pub redirected: Fact<bool>,
    pub why: String,
    /// From the function up to the root.
    pub path: Vec<Hop>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Hop {
    pub address: String,
    /// What it is, in PCI Express; conventional PCI has no type.
    pub kind: Fact<String>,
    /// Null without the capability.
    pub acs: Fact<Option<Acs>>,
    pub redirects: Fact<bool>,
}

/// `ports` are the bridges above the function, the nearest first; `alone` says
/// that its group holds nothing else, ports included, and `overridden` that this
/// says nothing because the command line made it so.
pub fn read(
    tree: &Tree,
    address: &str,
    config: &Fact<Config>,
    ports: &[String],
    alone: bool,
    overridden: bool,
) -> PeerToPeer {
    let mut path = Vec::new();
    let several = config.as_ref().and_then(Config::multifunction);
    if several.is(&true) {
        path.push(hop(address, config));
    }
    for port in ports {
        let directory = format!("sys/bus/pci/devices/{port}");
        path.push(hop(port, &Config::read(tree, &directory)));
    }
    let seen = all(path.iter().map(|hop| &hop.redirects));
    let (redirected, why) = if alone && !overridden {
        let why = "Linux has put it, without any port, into an IOMMU group of its own";
        (Known(true), why.to_string())
    } else {
        match &seen {
            Known(true) => (seen, "ACS redirects requests on the whole path".to_string()),
            Known(false) => {
                let weak = path.iter().find(|hop| hop.redirects.is(&false));
                let weak = weak.map_or("the path", |hop| hop.address.as_str());
                (seen, format!("{weak} does not redirect requests (ACS)"))
            }
            Fact::Unknown(unknown) => {
                let why = unknown.unknown.clone();
                (seen, why)
            }
        }
    };
    PeerToPeer {
        redirected,
        why,
        path,
    }
}

/// Returns whether all facts are true: false if one is not, whatever the others may be.
fn all<'a>(facts: impl Iterator<Item = &'a Fact<bool>> + Clone) -> Fact<bool> {
    if facts.clone().any(|fact| fact.is(&false)) {
        return Known(false);
    }
    let mut unknown = facts.filter(|fact| fact.known().is_none());
    unknown.next().cloned().unwrap_or(Known(true))
}

const ENDPOINT: u8 = 0;
const LEGACY_ENDPOINT: u8 = 1;
const ROOT_PORT: u8 = 4;
const UPSTREAM_PORT: u8 = 5;
const DOWNSTREAM_PORT: u8 = 6;
const INTEGRATED_ENDPOINT: u8 = 9;

fn hop(address: &str, config: &Fact<Config>) -> Hop {
    let port = config.as_ref().and_then(Config::port_type);
    let acs = config.as_ref().and_then(Config::acs);
    let several = config.as_ref().and_then(Config::multifunction);
    Hop {
        address: address.to_string(),
        kind: port.as_ref().map(|port| kind(*port)),
        redirects: port.and_then(|port| redirects(port, several, &acs)),
        acs,
    }
}

fn redirects(port: PortType, several: Fact<bool>, acs: &Fact<Option<Acs>>) -> Fact<bool> {
    let by_acs = || {
        acs.as_ref()
            .map(|acs| acs.as_ref().is_some_and(Acs::redirects))
    };
    match port {
        Some(ROOT_PORT | DOWNSTREAM_PORT) => by_acs(),
        // A single function has nobody beside it to send to.
        Some(ENDPOINT | LEGACY_ENDPOINT | UPSTREAM_PORT | INTEGRATED_ENDPOINT) => {
            several.and_then(|several| if several { by_acs() } else { Known(true) })
        }
        // Conventional PCI and bridges to it: a shared bus.
        _ => Known(false),
    }
}

fn kind(port: PortType) -> String {
    let name = match port {
        None => "conventional PCI",
        Some(ENDPOINT) => "endpoint",
        Some(LEGACY_ENDPOINT) => "legacy endpoint",
        Some(ROOT_PORT) => "root port",
        Some(UPSTREAM_PORT) => "upstream port",
        Some(DOWNSTREAM_PORT) => "downstream port",
        Some(7 | 8) => "bridge to PCI",
        Some(INTEGRATED_ENDPOINT) => "root complex integrated endpoint",
        Some(10) => "root complex event collector",
        Some(other) => return format!("type {other}"),
    };
    name.to_string()
}
