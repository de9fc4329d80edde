// SPDX-License-Identifier: GPL-2.0
//! Configuration space of a PCI function: what of it can be read, and the
//! capabilities in it (PCI Express Base Specification 7.5 to 7.9, 10.5).

use serde::{Deserialize, Serialize};

use super::fact::{Fact, Known};
use super::tree::Tree;

/// What everybody may read of it.
const PUBLIC: usize = 64;
/// Where extended capabilities begin; a function without them ends here.
const EXTENDED: usize = 0x100;

const COMMAND: usize = 0x04;
const BUS_MASTER: u16 = 1 << 2;
const STATUS: usize = 0x06;
const HAS_LIST: u16 = 1 << 4;
const HEADER_TYPE: usize = 0x0e;
const MULTIFUNCTION: u8 = 1 << 7;
const LIST: usize = 0x34;

const ID_EXPRESS: u8 = 0x10;
const ID_ACS: u16 = 0x0d;
const ID_ATS: u16 = 0x0f;
const ID_PRI: u16 = 0x13;
const ID_PASID: u16 = 0x1b;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ats {
    pub enabled: bool,
    /// Invalidations that it takes at a time.
    pub queue_depth: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pri {
    pub enabled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pasid {
    pub enabled: bool,
    /// Bits of a PASID.
    pub width: u32,
}

/// Access Control Services: the names of the bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acs {
    pub supported: Vec<String>,
    pub enabled: Vec<String>,
    #[serde(skip)]
    bits: (u16, u16),
}

const ACS_NAMES: [&str; 7] = ["SV", "TB", "RR", "CR", "UF", "EC", "DT"];
/// SV, RR, CR and UF: what Linux asks for before it puts functions into groups of
/// their own.
const ACS_WANTED: u16 = 0b1_1101;

impl Acs {
    fn new(supported: u16, enabled: u16) -> Self {
        let names = |bits: u16| {
            let set = ACS_NAMES.iter().enumerate();
            let set = set.filter(|(bit, _)| bits & 1 << bit != 0);
            set.map(|(_, name)| name.to_string()).collect()
        };
        Self {
            supported: names(supported),
            enabled: names(enabled),
            bits: (supported, enabled),
        }
    }

    /// Returns whether requests between peers are sent up to the IOMMU. As in Linux, a bit
    /// that the port does not have is not needed there.
    pub fn redirects(&self) -> bool {
        let (supported, enabled) = self.bits;
        ACS_WANTED & supported & !enabled == 0
    }
}

/// PCI Express device/port type; None for conventional PCI.
pub type PortType = Option<u8>;

#[derive(Debug)]
pub struct Config {
    name: String,
    bytes: Vec<u8>,
    /// How long the file says that it is: 256 or 4096.
    size: usize,
}

impl Config {
    /// Reads the configuration space of the function in this directory.
    pub fn read(tree: &Tree, directory: &str) -> Fact<Self> {
        let name = format!("{directory}/config");
        let size = tree.size(&name).unwrap_or(0) as usize;
        let bytes = tree.bytes(&name).and_then(|bytes| match bytes {
            Some(bytes) => Known(bytes),
            None => Fact::unknown(format!("there is no /{name}")),
        });
        bytes.and_then(|bytes| {
            if bytes.len() >= 4 && bytes[..4] == [0xff; 4] {
                return Fact::unknown(format!("/{name}: the device does not answer"));
            }
            Known(Self { name, bytes, size })
        })
    }

    fn get<const N: usize>(&self, at: usize) -> Fact<[u8; N]> {
        let bytes = self.bytes.get(at..at + N);
        match bytes.and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => Known(bytes),
            None if self.bytes.len() == PUBLIC => {
                let name = &self.name;
                Fact::unknown(format!("needs root: /{name} beyond byte {PUBLIC}"))
            }
            None => Fact::unknown(format!("/{} ends at byte {}", self.name, self.bytes.len())),
        }
    }

    fn u8(&self, at: usize) -> Fact<u8> {
        self.get(at).map(|[byte]: [u8; 1]| byte)
    }

    fn u16(&self, at: usize) -> Fact<u16> {
        self.get(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Fact<u32> {
        self.get(at).map(u32::from_le_bytes)
    }

    pub fn bus_master(&self) -> Fact<bool> {
        self.u16(COMMAND).map(|command| command & BUS_MASTER != 0)
    }

    pub fn multifunction(&self) -> Fact<bool> {
        self.u8(HEADER_TYPE).map(|kind| kind & MULTIFUNCTION != 0)
    }

    pub fn port_type(&self) -> Fact<PortType> {
        self.capability(ID_EXPRESS).and_then(|at| match at {
            Some(at) => self.u16(at + 2).map(|flags| Some((flags >> 4 & 0xf) as u8)),
            None => Known(None),
        })
    }

    pub fn ats(&self) -> Fact<Option<Ats>> {
        self.registers(ID_ATS, 4, 6, |capability, control| Ats {
            enabled: control & 1 << 15 != 0,
            queue_depth: match capability & 0x1f {
                0 => 32,
                depth => depth.into(),
            },
        })
    }

    pub fn pri(&self) -> Fact<Option<Pri>> {
        self.registers(ID_PRI, 4, 6, |control, _| Pri {
            enabled: control & 1 != 0,
        })
    }

    pub fn pasid(&self) -> Fact<Option<Pasid>> {
        self.registers(ID_PASID, 4, 6, |capability, control| Pasid {
            enabled: control & 1 != 0,
            width: (capability >> 8 & 0x1f).into(),
        })
    }

    pub fn acs(&self) -> Fact<Option<Acs>> {
        self.registers(ID_ACS, 4, 6, Acs::new)
    }

    /// Reads two registers of an extended capability, if the function has it.
    fn registers<T>(
        &self,
        id: u16,
        first: usize,
        second: usize,
        make: impl FnOnce(u16, u16) -> T,
    ) -> Fact<Option<T>> {
        self.extended(id).and_then(|at| match at {
            Some(at) => self
                .u16(at + first)
                .and_then(|one| self.u16(at + second).map(|two| Some(make(one, two)))),
            None => Known(None),
        })
    }

    /// Returns where a capability of the first list is.
    fn capability(&self, id: u8) -> Fact<Option<usize>> {
        match self.u16(STATUS) {
            Known(status) if status & HAS_LIST == 0 => return Known(None),
            Known(_) => {}
            Fact::Unknown(unknown) => return Fact::Unknown(unknown),
        }
        let mut link = self.u8(LIST);
        // As many as fit: more make a circle.
        for _ in 0..(EXTENDED - PUBLIC) / 4 {
            let at = match link {
                Known(at) => usize::from(at & !3),
                Fact::Unknown(unknown) => return Fact::Unknown(unknown),
            };
            if at == 0 {
                return Known(None);
            }
            if at < PUBLIC {
                break;
            }
            match self.u8(at) {
                Known(found) if found == id => return Known(Some(at)),
                Known(_) => link = self.u8(at + 1),
                Fact::Unknown(unknown) => return Fact::Unknown(unknown),
            }
        }
        self.broken()
    }

    /// Returns where an extended capability is.
    fn extended(&self, id: u16) -> Fact<Option<usize>> {
        if self.size == EXTENDED && self.bytes.len() == EXTENDED {
            return Known(None);
        }
        let mut at = EXTENDED;
        for _ in 0..(0x1000 - EXTENDED) / 4 {
            let header = match self.u32(at) {
                Known(header) => header,
                Fact::Unknown(unknown) => return Fact::Unknown(unknown),
            };
            // No capability at all, or a bridge that does not pass the request on.
            if header == 0 || header == u32::MAX {
                return Known(None);
            }
            if header as u16 == id {
                return Known(Some(at));
            }
            at = (header >> 20 & !3) as usize;
            if at == 0 {
                return Known(None);
            }
            if at < EXTENDED {
                break;
            }
        }
        self.broken()
    }

    fn broken<T>(&self) -> Fact<T> {
        Fact::unknown(format!(
            "/{}: the list of capabilities is broken",
            self.name
        ))
    }
}
