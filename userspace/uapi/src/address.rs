// SPDX-License-Identifier: GPL-2.0
//! The address of a PCI function, as people write it: `0000:00:03.0`.

use crate::abi::{Aperture, Device, Event, Window};
use std::fmt;
use std::str::FromStr;

/// Segment, bus, device and function of a PCI function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PciAddress {
    pub segment: u16,
    pub bus: u8,
    /// device << 3 | function, as in the ABI.
    pub devfn: u8,
}

/// What the kernel lists has its address in three members.
macro_rules! of_listed {
    ($($listed:ty),*) => { $(
        impl From<&$listed> for PciAddress {
            fn from(listed: &$listed) -> Self {
                Self {
                    segment: listed.segment,
                    bus: listed.bus,
                    devfn: listed.devfn,
                }
            }
        }
    )* };
}

of_listed!(Device, Aperture, Window, Event);

impl PciAddress {
    pub fn new(segment: u16, bus: u8, device: u8, function: u8) -> Self {
        Self {
            segment,
            bus,
            devfn: (device & 0x1f) << 3 | (function & 7),
        }
    }

    pub fn device(self) -> u8 {
        self.devfn >> 3
    }

    pub fn function(self) -> u8 {
        self.devfn & 7
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04x}:{:02x}:{:02x}.{}",
            self.segment,
            self.bus,
            self.device(),
            self.function()
        )
    }
}

/// A text that is no PCI address; it keeps the text for the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAddress(String);

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not a PCI address: write segment:bus:device.function in hexadecimal, such as 0000:00:03.0",
            self.0
        )
    }
}

impl std::error::Error for BadAddress {}

impl FromStr for PciAddress {
    type Err = BadAddress;

    /// Accepts `segment:bus:device.function` and, for segment 0,
    /// `bus:device.function`.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        parse(text).ok_or_else(|| BadAddress(text.to_string()))
    }
}

fn parse(text: &str) -> Option<PciAddress> {
    let (left, function) = text.split_once('.')?;
    let parts: Vec<&str> = left.split(':').collect();
    let (segment, bus, device) = match parts[..] {
        [segment, bus, device] => (segment, bus, device),
        [bus, device] => ("0", bus, device),
        _ => return None,
    };
    Some(PciAddress::new(
        hex(segment, 0xffff)?,
        hex(bus, 0xff)? as u8,
        hex(device, 0x1f)? as u8,
        hex(function, 7)? as u8,
    ))
}

/// Reads hexadecimal digits only: `from_str_radix` alone would take a sign, too.
fn hex(text: &str, max: u16) -> Option<u16> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(text, 16)
        .ok()
        .filter(|value| *value <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["0000:00:03.0", "ffff:ff:1f.7", "0001:81:00.1"] {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn segment_may_be_left_out() {
        let address: PciAddress = "3a:1f.7".parse().unwrap();
        assert_eq!(address, PciAddress::new(0, 0x3a, 0x1f, 7));
        assert_eq!(address.devfn, 0xff);
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in [
            "",
            "3",
            "00:03",
            "00:03.8",
            "00:20.0",
            "100:00.0",
            "0:0:0:0.0",
            "10000:00:00.0",
            "00:+3.0",
            "00:03.",
            ".0",
            "00:0g.0",
            " 00:03.0",
        ] {
            assert!(text.parse::<PciAddress>().is_err(), "{text:?} was accepted");
        }
    }
}
