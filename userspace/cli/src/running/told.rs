// SPDX-License-Identifier: GPL-2.0
//! What a command tells of itself while it runs: the text of its file.

use pagemove_uapi::PciAddress;
use serde::{Deserialize, Serialize};

use super::process::Identity;

/// Grows when a member changes its meaning or goes. Who reads leaves out what it does not know.
pub const VERSION: u32 = 1;

/// What a command was told to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    pub verb: String,
    /// Null where there are several, or none.
    pub device: Option<String>,
    pub region: Option<u32>,
    /// Null where no span was named.
    pub iova: Option<String>,
    pub length: Option<u64>,
    /// Of a migration.
    pub name: Option<String>,
    /// The destination of a move, the other host of a migration, or where it listens.
    pub to: Option<String>,
}

impl Work {
    pub fn of(verb: &str) -> Self {
        Self {
            verb: verb.to_string(),
            ..Self::default()
        }
    }

    pub fn device(self, device: Option<PciAddress>) -> Self {
        let device = device.map(|device| device.to_string());
        Self { device, ..self }
    }

    pub fn region(self, region: Option<u32>) -> Self {
        Self { region, ..self }
    }

    pub fn span(self, span: Option<(u64, u64)>) -> Self {
        Self {
            iova: span.map(|(iova, _)| format!("{iova:#x}")),
            length: span.map(|(_, length)| length),
            ..self
        }
    }

    pub fn name(self, name: String) -> Self {
        let name = Some(name);
        Self { name, ..self }
    }

    pub fn to(self, to: String) -> Self {
        let to = Some(to);
        Self { to, ..self }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub version: u32,
    pub pid: u32,
    pub start: u64,
    #[serde(flatten)]
    pub work: Work,
    /// Seconds since 1970.
    pub began: u64,
    pub phase: String,
    /// Null where they are not known, or nothing moves.
    pub pages: Option<u64>,
    pub pages_done: Option<u64>,
}

impl Told {
    /// Reads what a process has told. None: this is not what this program writes, or another's.
    pub fn read(text: &[u8], who: Identity) -> Option<Self> {
        let told: Self = serde_json::from_slice(text).ok()?;
        let is_its = (told.pid, told.start) == (who.pid, who.start);
        (told.version == VERSION && is_its).then_some(told)
    }
}
