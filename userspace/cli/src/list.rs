// SPDX-License-Identifier: GPL-2.0
//! `pagemove list`: devices bound to pagemove_vfio, and regions.

use pagemove_uapi::{
    text, Aperture, Control, Device, Error, PciAddress, Region, APERTURE_UP, DEVICE_ATS,
    DEVICE_ATS_DOMAIN, DEVICE_DIRTY_SCOPE, DEVICE_INCOHERENT, DEVICE_OPEN, DRIVER, PAGE_SIZE,
    REASON_NONE, REGION_CLOSED,
};
use serde::Serialize;

use crate::exit::Exit;
use crate::{output, quantity, report};

#[derive(Serialize)]
struct ListReport {
    devices: Vec<DeviceReport>,
    apertures: Vec<ApertureReport>,
    regions: Vec<RegionReport>,
}

#[derive(Serialize)]
struct DeviceReport {
    address: String,
    open: bool,
    incoherent: bool,
    /// It has a TLB of its own, and ATS is enabled.
    ats: bool,
    /// A device in its domain has.
    ats_in_domain: bool,
    /// VFIO's dirty bitmap has no page by its group that was not pinned.
    dirty_scope: bool,
    /// Null unless open.
    format: Option<String>,
    engines: Vec<String>,
    /// Why engines is empty.
    reason: Option<String>,
    message: Option<String>,
    node: Option<i32>,
    iommu: String,
}

#[derive(Serialize)]
struct ApertureReport {
    id: u32,
    address: String,
    bar: u32,
    length: u64,
    /// Pages that are there.
    pages: u64,
    /// Its link is.
    up: bool,
}

impl From<&Aperture> for ApertureReport {
    fn from(aperture: &Aperture) -> Self {
        Self {
            id: aperture.id,
            address: PciAddress::from(aperture).to_string(),
            bar: aperture.bar,
            length: aperture.length,
            pages: aperture.pages,
            up: aperture.flags & APERTURE_UP != 0,
        }
    }
}

#[derive(Serialize)]
struct RegionReport {
    id: u32,
    length: u64,
    pages: u64,
    node: Option<i32>,
    pid: Option<i32>,
    command: Option<String>,
    closed: bool,
}

impl From<&Device> for DeviceReport {
    fn from(device: &Device) -> Self {
        let open = device.flags & DEVICE_OPEN != 0;
        let refused = device.engines == 0 && device.reason != REASON_NONE;
        let name = device
            .iommu
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        Self {
            address: PciAddress::from(device).to_string(),
            open,
            incoherent: device.flags & DEVICE_INCOHERENT != 0,
            ats: device.flags & DEVICE_ATS != 0,
            ats_in_domain: device.flags & DEVICE_ATS_DOMAIN != 0,
            dirty_scope: device.flags & DEVICE_DIRTY_SCOPE != 0,
            format: open.then(|| text::name_or_number(text::FORMATS, device.format)),
            engines: text::names_of_mask(text::ENGINES, device.engines),
            reason: refused.then(|| text::name_or_number(text::REASONS, device.reason)),
            message: text::reason(device.reason)
                .filter(|_| refused)
                .map(|text| text.help.to_string()),
            node: (device.node >= 0).then_some(device.node),
            iommu: String::from_utf8_lossy(name).into_owned(),
        }
    }
}

impl From<&Region> for RegionReport {
    fn from(region: &Region) -> Self {
        Self {
            id: region.id,
            length: region.length,
            pages: region.pages,
            node: (region.node >= 0).then_some(region.node),
            pid: (region.pid > 0).then_some(region.pid),
            command: command_of(region.pid),
            closed: region.flags & REGION_CLOSED != 0,
        }
    }
}

/// Returns the name of a process, if it still runs.
pub fn command_of(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .ok()
        .filter(|_| pid > 0)?;
    Some(name.trim_end().to_string())
}

pub fn run(control: &Control, as_json: bool) -> Result<Exit, Error> {
    let list = ListReport {
        devices: control
            .device_list()?
            .iter()
            .map(DeviceReport::from)
            .collect(),
        apertures: control
            .aperture_list()?
            .iter()
            .map(ApertureReport::from)
            .collect(),
        regions: control
            .region_list()?
            .iter()
            .map(RegionReport::from)
            .collect(),
    };
    if as_json {
        report::json(&list);
    } else {
        output::result(&format!(
            "{}\n{}{}",
            human_devices(&list.devices),
            human_apertures(&list.apertures),
            human_regions(&list.regions)
        ));
    }
    Ok(Exit::Done)
}

fn human_devices(devices: &[DeviceReport]) -> String {
    if devices.is_empty() {
        return format!("No device is bound to {DRIVER}.\n");
    }
    let mut rows = vec![[
        "DEVICE", "OPEN", "IOMMU", "FORMAT", "ENGINES", "ATS", "NODE",
    ]
    .map(String::from)
    .to_vec()];
    let mut notes = String::new();
    for device in devices {
        rows.push(vec![
            device.address.clone(),
            if device.open { "yes" } else { "no" }.to_string(),
            or_dash(Some(device.iommu.clone()).filter(|name| !name.is_empty())),
            or_dash(device.format.clone()),
            or_dash(Some(device.engines.join(",")).filter(|names| !names.is_empty())),
            ats(device).to_string(),
            or_dash(device.node),
        ]);
        if let Some(message) = &device.message {
            notes.push_str(&format!(
                "{} can not move pages: {message}.\n",
                device.address
            ));
        }
        if device.dirty_scope {
            notes.push_str(&format!(
                "{}: pages were pinned to move them, so VFIO's own dirty bitmap lacks what else it writes.\n",
                device.address
            ));
        }
    }
    report::table(&rows) + &notes
}

/// Returns whose TLBs an invalidation has to reach, beside the IOMMU's.
fn ats(device: &DeviceReport) -> &'static str {
    match (device.ats, device.ats_in_domain) {
        (true, _) => "yes",
        (false, true) => "in domain",
        (false, false) => "no",
    }
}

/// Returns the table of apertures, and nothing where there is none: few hosts have one.
fn human_apertures(apertures: &[ApertureReport]) -> String {
    if apertures.is_empty() {
        return String::new();
    }
    let mut rows = vec![["APERTURE", "FUNCTION", "BAR", "LENGTH", "PAGES", "LINK"]
        .map(String::from)
        .to_vec()];
    for aperture in apertures {
        rows.push(vec![
            aperture.id.to_string(),
            aperture.address.clone(),
            aperture.bar.to_string(),
            quantity::bytes(aperture.length),
            aperture.pages.to_string(),
            if aperture.up { "up" } else { "down" }.to_string(),
        ]);
    }
    report::table(&rows) + "\n"
}

fn human_regions(regions: &[RegionReport]) -> String {
    if regions.is_empty() {
        return "There is no region.\n".to_string();
    }
    let mut rows = vec![["REGION", "LENGTH", "ALLOCATED", "NODE", "PROCESS"]
        .map(String::from)
        .to_vec()];
    for region in regions {
        let mut process = or_dash(region.pid);
        if let Some(command) = &region.command {
            process.push_str(&format!(" ({command})"));
        }
        if region.closed {
            process.push_str(" closed, waits for VFIO");
        }
        rows.push(vec![
            region.id.to_string(),
            quantity::bytes(region.length),
            quantity::bytes(region.pages * PAGE_SIZE as u64),
            or_dash(region.node),
            process,
        ]);
    }
    report::table(&rows)
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_string(), |value| value.to_string())
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
