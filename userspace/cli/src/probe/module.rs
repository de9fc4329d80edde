// SPDX-License-Identifier: GPL-2.0
//! What the module says, where it is loaded.

use std::collections::BTreeMap;
use std::path::Path;

use pagemove_uapi::{
    text, Control, Device, Error, PciAddress, ABI_VERSION, DEVICE, DEVICE_OPEN, REASON_NONE,
};
use serde::{Deserialize, Serialize};

use crate::info::Parameters;

use super::fact::{Fact, Known};
use super::finding::{Finding, RUN_AS_ROOT};
use super::tree::Tree;

#[derive(Debug, Serialize, Deserialize)]
pub struct Module {
    pub loaded: bool,
    /// Those that sysfs or the module shows.
    pub parameters: BTreeMap<String, String>,
    /// Null if it is not loaded.
    pub info: Fact<Option<Info>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Info {
    pub abi_version: u32,
    pub engines: Vec<String>,
    pub formats: Vec<String>,
    pub test_build: bool,
    /// Null, as the two below, of a module that is too old to tell.
    pub version: Option<String>,
    pub parameters: Option<Parameters>,
    /// Why rtm is off on this machine; null, too, where it works.
    pub rtm_reason: Option<String>,
}

/// A device as the module lists it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed {
    #[serde(skip)]
    pub address: String,
    pub open: bool,
    /// Null unless open.
    pub format: Option<String>,
    pub engines: Vec<String>,
    /// Null unless open and no engine works.
    pub reason: Option<String>,
    pub message: Option<String>,
}

impl From<&Device> for Listed {
    fn from(device: &Device) -> Self {
        let open = device.flags & DEVICE_OPEN != 0;
        let refused = open && device.engines == 0;
        Self {
            address: PciAddress::from(device).to_string(),
            open,
            format: open.then(|| text::name_or_number(text::FORMATS, device.format)),
            engines: text::names_of_mask(text::ENGINES, device.engines),
            reason: refused.then(|| text::name_or_number(text::REASONS, device.reason)),
            message: text::reason(device.reason)
                .filter(|_| refused)
                .map(|text| text.help.to_string()),
        }
    }
}

const MODULE: &str = "sys/module/pagemove";

/// Reads the module, and the devices that it lists.
pub fn read(tree: &Tree, file: &Path) -> (Module, Vec<Listed>) {
    let loaded = tree.exists(MODULE);
    let mut module = Module {
        loaded,
        parameters: parameters(tree),
        info: Known(None),
    };
    if !loaded {
        return (module, Vec::new());
    }
    match ask(file) {
        Ok((info, devices)) => {
            if let Some(told) = &info.parameters {
                module.parameters.extend(told.named());
            }
            module.info = Known(Some(info));
            (module, devices)
        }
        Err(error) => {
            module.info = match error.errno {
                libc::EACCES | libc::EPERM => Fact::unknown(format!("needs root: {DEVICE}")),
                _ => Fact::unknown(format!("{DEVICE}: {error}")),
            };
            (module, Vec::new())
        }
    }
}

fn parameters(tree: &Tree) -> BTreeMap<String, String> {
    let directory = format!("{MODULE}/parameters");
    let names = tree.names(&directory);
    let names = names.known().cloned().flatten().unwrap_or_default();
    let value = |name: String| {
        let text = tree.must(&format!("{directory}/{name}"));
        text.known().cloned().map(|text| (name, text))
    };
    names.into_iter().filter_map(value).collect()
}

fn ask(file: &Path) -> Result<(Info, Vec<Listed>), Error> {
    let control = Control::open_at(file)?;
    let info = control.info()?;
    let info = Info {
        abi_version: info.abi_version,
        engines: text::names_of_mask(text::ENGINES, info.engines),
        formats: text::names_of_mask(text::FORMATS, info.formats),
        test_build: info.test_build != 0,
        version: text::padded(&info.version),
        parameters: Parameters::of(&info),
        rtm_reason: (info.rtm_reason != REASON_NONE)
            .then(|| text::name_or_number(text::REASONS, info.rtm_reason)),
    };
    let devices = control.device_list()?;
    Ok((info, devices.iter().map(Listed::from).collect()))
}

/// Returns what stands in the way of an engine, as far as program and module know it.
pub fn findings(module: &Module, engine: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let known = text::ENGINES.iter().any(|text| text.name == engine);
    if !known {
        findings.push(Finding::blocker(
            "engine-not-in-version",
            format!("this version of pagemove does not run the engine {engine} yet"),
            "a version that lists it in `pagemove move --help`",
        ));
    }
    match &module.info {
        Known(None) => findings.push(Finding::step(
            "module-not-loaded",
            "the module pagemove is not loaded",
            "insmod pagemove.ko",
        )),
        Known(Some(info)) => findings.extend(of_loaded(info, engine, known)),
        Fact::Unknown(unknown) => findings.push(Finding::unknown(
            "module-unknown",
            format!("what the module can do is unknown: {}", unknown.unknown),
            RUN_AS_ROOT,
        )),
    }
    findings
}

fn of_loaded(info: &Info, engine: &str, known: bool) -> Option<Finding> {
    if info.abi_version != ABI_VERSION {
        return Some(Finding::blocker(
            "abi-version",
            format!(
                "the module has ABI version {}, this program {ABI_VERSION}",
                info.abi_version
            ),
            "load the module that this program came with",
        ));
    }
    let built_in = info.engines.iter().any(|name| name == engine);
    (known && !built_in).then(|| {
        Finding::blocker(
            "engine-not-in-module",
            format!("the loaded module was built without the engine {engine}"),
            "load a module that `pagemove info` lists it for",
        )
    })
}
