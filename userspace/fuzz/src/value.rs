// SPDX-License-Identifier: GPL-2.0
//! Arguments of calls: what kinds there are, how one is chosen, and how it is written.
//!
//! | text | value |
//! | --- | --- |
//! | `0x1000`, `7` | the number itself |
//! | `$2` | what this program made: the region of file 2, the device of container 2 |
//! | `@2` | what there is: the region, device, aperture or window number 2 of those listed |
//! | `hole` | one of the names of its kind |

use std::fmt;

use pagemove_testkit::random::Random;
use pagemove_uapi::PAGE_SIZE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    Own(u8),
    Live(u8),
    Name(u8),
}

/// Slots of a program.
pub const FILES: usize = 6;
/// The first files are opened by the campaign and shared by all its processes.
pub const SHARED_FILES: usize = 2;
pub const MAPS: usize = 4;
pub const BOXES: usize = 2;

pub const PAGE: u64 = PAGE_SIZE as u64;
/// Where programs map memory for devices, and how many pages they mostly use.
pub const IOVA: u64 = 0x10_0000;
pub const PAGES: u64 = 16;
/// Where the witness is mapped (see `witness.rs`): moved like the rest, written by nobody.
pub const WITNESS_IOVA: u64 = 0x100_0000;

/// The size of a structure: how long it says it is, and what comes after what the kernel knows.
pub const SIZES: &[&str] = &[
    "full", "v0", "short", "zero", "longer", "unknown", "page", "huge",
];
/// Where a structure or an array is.
pub const PLACES: &[&str] = &[
    "good", "null", "hole", "exact", "across", "readonly", "region", "kernel", "odd", "wrap",
];

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any file; one that this program opened.
    File,
    OwnFile,
    Map,
    Box,
    Names(&'static [&'static str]),
    /// Any of these bits.
    Mask(u64),
    /// Mostly one of the first, which are right; now and then one of the others.
    Pick(&'static [u64], &'static [u64]),
    /// Bytes of whole pages.
    Bytes,
    Offset,
    Iova,
    Device,
    /// The id of a region plus this.
    Region(u32),
    Node,
    Aperture,
    /// The id of a window plus this.
    Window(u32),
    /// An array of elements of so many bytes, as many as another argument says.
    Array(usize, &'static str),
    /// Offsets in an aperture; the number is the seed of them, 0: no array.
    Targets,
    Iommu,
}

const WRONG_BYTES: &[u64] = &[
    0,
    1,
    4095,
    4097,
    0x1800,
    1 << 20,
    1 << 24,
    1 << 30,
    (1 << 30) + PAGE,
    1 << 34,
    64 << 30,
    (64 << 30) + PAGE,
    1 << 63,
    u64::MAX,
    u64::MAX - 4095,
];
const WRONG_IOVA: &[u64] = &[
    0,
    1,
    PAGE,
    IOVA + 1,
    IOVA - PAGE,
    0xfee0_0000,
    1 << 32,
    1 << 39,
    1 << 47,
    1 << 48,
    1 << 57,
    1 << 63,
    u64::MAX - 4095,
    u64::MAX,
];
const WRONG_NUMBERS: &[u64] = &[
    0,
    1,
    2,
    63,
    64,
    255,
    256,
    4095,
    4096,
    65535,
    262144,
    262145,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
];
pub const IOMMUS: &[&str] = &["dmar0", "dmar1", "amd0", "none", "full-sixteen-by"];

fn any(random: &mut Random, of: &[u64]) -> u64 {
    of.get(random.below(of.len().max(1))).copied().unwrap_or(0)
}

/// Small numbers more often than large ones.
fn small(random: &mut Random, limit: usize) -> u64 {
    let limit = random.below(limit) + 1;
    random.below(limit) as u64
}

impl Kind {
    /// A value; `wrong`: one that is rather not right.
    pub fn choose(self, random: &mut Random, wrong: bool) -> Value {
        use Value::{Live, Name, Number, Own};
        let slot = |random: &mut Random, n: usize| Number(random.below(n) as u64);
        match self {
            // The shared ones are always there, and the first of its own mostly.
            Self::File => {
                Number([0, 1, 0, 2, 2, 2, 2, 1, 3, random.below(FILES) as u64][random.below(10)])
            }
            Self::OwnFile => Number((SHARED_FILES + random.below(FILES - SHARED_FILES)) as u64),
            Self::Map => slot(random, MAPS),
            // The first is the one that has a device most of the time.
            Self::Box => Number(u64::from(random.below(5) == 0)),
            Self::Names(_) if !wrong => Name(0),
            Self::Names(names) => Name(random.below(names.len()) as u8),
            Self::Array(..) if !wrong => Name(if random.below(4) == 0 { 3 } else { 0 }),
            Self::Array(..) => Name(random.below(PLACES.len()) as u8),
            Self::Mask(_) if wrong => Number(1 << random.below(32)),
            Self::Mask(bits) => Number(random.draw() & random.draw() & random.draw() & bits),
            Self::Pick(_, others) if wrong && !others.is_empty() => Number(any(random, others)),
            Self::Pick(..) if wrong => Number(any(random, WRONG_NUMBERS)),
            Self::Pick(right, _) => Number(any(random, right)),
            Self::Bytes if wrong => Number(any(random, WRONG_BYTES)),
            Self::Bytes => Number(PAGE * (1 + small(random, PAGES as usize))),
            Self::Offset if wrong => Number(any(random, WRONG_BYTES)),
            Self::Offset => Number(PAGE * small(random, PAGES as usize)),
            Self::Iova if wrong => Number(any(random, WRONG_IOVA)),
            Self::Iova if random.below(8) == 0 => Number(WITNESS_IOVA + PAGE * small(random, 8)),
            Self::Iova => Number(IOVA + PAGE * small(random, PAGES as usize)),
            Self::Device if wrong => Number(random.draw() & 0xffff_ffff),
            Self::Device if random.below(4) == 0 => Live(random.below(6) as u8),
            Self::Device => Own(u8::from(random.below(6) == 0)),
            Self::Region(_) if wrong => Number(any(random, WRONG_NUMBERS)),
            Self::Region(_) if random.below(4) == 0 => Live(random.below(16) as u8),
            Self::Region(1) if random.below(3) != 0 => Number(0),
            Self::Region(_) => Own([0, 2, 2, 2, 2, 3, random.below(FILES) as u8][random.below(7)]),
            Self::Node if wrong => Number(any(random, WRONG_NUMBERS)),
            Self::Node => slot(random, 2),
            Self::Aperture if wrong => Number(any(random, WRONG_NUMBERS)),
            Self::Aperture if random.below(5) == 0 => Live(random.below(3) as u8),
            Self::Aperture => Number(0),
            Self::Window(_) if wrong => Number(any(random, WRONG_NUMBERS)),
            Self::Window(1) if random.below(3) != 0 => Number(0),
            Self::Window(_) => Live(random.below(4) as u8),
            // As the aperture has it: see `Op::settle`.
            Self::Targets => Number(0),
            Self::Iommu => Name(random.below(IOMMUS.len()) as u8),
        }
    }

    /// The names that values of this kind can have.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Names(names) => names,
            Self::Array(..) => PLACES,
            Self::Iommu => IOMMUS,
            _ => &[],
        }
    }

    pub fn text(self, value: Value) -> Text {
        Text(self, value)
    }

    pub fn parse(self, text: &str) -> Option<Value> {
        if let Some(number) = text.strip_prefix('$') {
            return number.parse().ok().map(Value::Own);
        }
        if let Some(number) = text.strip_prefix('@') {
            return number.parse().ok().map(Value::Live);
        }
        if let Some(at) = self.names().iter().position(|name| *name == text) {
            return Some(Value::Name(at as u8));
        }
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.ok().map(Value::Number)
    }
}

/// A value of a kind, to be printed.
pub struct Text(Kind, Value);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Value::Number(number) if number < 1000 => write!(f, "{number}"),
            Value::Number(number) => write!(f, "{number:#x}"),
            Value::Own(slot) => write!(f, "${slot}"),
            Value::Live(at) => write!(f, "@{at}"),
            Value::Name(at) => f.write_str(self.0.names().get(usize::from(at)).unwrap_or(&"0")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read_as_it_was_written() {
        let kinds = [
            Kind::File,
            Kind::Bytes,
            Kind::Iova,
            Kind::Device,
            Kind::Region(1),
            Kind::Window(0),
            Kind::Iommu,
            Kind::Names(SIZES),
            Kind::Array(8, "capacity"),
            Kind::Mask(0x1f),
            Kind::Node,
        ];
        let mut random = Random::new(1);
        for kind in kinds {
            for wrong in [false, true] {
                for _ in 0..200 {
                    let value = kind.choose(&mut random, wrong);
                    assert_eq!(
                        kind.parse(&kind.text(value).to_string()),
                        Some(value),
                        "{kind:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn nonsense_is_no_value() {
        for text in ["", "$", "@x", "0xg", "good ", "-1"] {
            assert_eq!(Kind::Names(PLACES).parse(text), None, "{text:?}");
        }
    }
}
