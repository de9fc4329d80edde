// SPDX-License-Identifier: GPL-2.0
//! Which addresses of which device lead to the pages of a migration.

use pagemove_migrate::kernel::Piece;
use pagemove_migrate::message::Mode;
use pagemove_migrate::span::{Run, PAGE};
use pagemove_uapi::{Control, PciAddress};

use super::args::MigrateArgs;
use crate::quantity;
use crate::scope::select::{self, Range};
use crate::scope::{self, Trouble};

/// The pages of a migration, and where its device has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub device: PciAddress,
    /// Of the region, from the first page to the last.
    pub span: Run,
    /// Pages of it that the device does not map.
    pub holes: Vec<Run>,
    /// By ascending page, without those in holes.
    pub pieces: Vec<Piece>,
}

impl Route {
    /// Returns the route that the arguments name, or that of all that is mapped of the region.
    pub fn find(control: &Control, args: &MigrateArgs) -> Result<Self, Trouble> {
        let Some((iova, length)) = args.span() else {
            return mapped(control, args);
        };
        let span = Run::new(pages(args.offset), pages(length));
        let device = match (args.device, args.mode()) {
            (Some(device), _) => device,
            // Nothing of it is asked for.
            (None, Mode::Release) => PciAddress::default(),
            (None, _) => return Err(Trouble::Host("an IOVA is of a device: name it".to_string())),
        };
        Ok(Self {
            device,
            span,
            holes: Vec::new(),
            pieces: vec![Piece { pages: span, iova }],
        })
    }

    /// Counts the pages, those in holes left out.
    pub fn pages(&self) -> u32 {
        self.pieces.iter().map(|piece| piece.pages.count).sum()
    }

    /// Returns the address of a page.
    pub fn iova(&self, page: u32) -> Option<u64> {
        self.pieces.iter().find_map(|piece| piece.iova_of(page))
    }
}

fn pages(bytes: u64) -> u32 {
    u32::try_from(bytes / PAGE).unwrap_or(u32::MAX)
}

fn mapped(control: &Control, args: &MigrateArgs) -> Result<Route, Trouble> {
    if args.mode() == Mode::Release {
        return Err(Trouble::Host(
            "what is released may be closed here, so that it has to be named: give --length, and \
             --offset if it does not begin with the region"
                .to_string(),
        ));
    }
    let maps = scope::maps(control, args.device, None)?;
    let ranges = select::select(&maps, Some(args.region)).ranges;
    along(&ranges, args.region).map_err(Trouble::Host)
}

/// Returns the route along these ranges, which are of one region.
fn along(ranges: &[Range], region: u32) -> Result<Route, String> {
    let Some(first) = ranges.first() else {
        return Err(format!(
            "no device that is open maps anything of region {region}: `pagemove maps` shows what they \
             map"
        ));
    };
    let device = first.device;
    let mut pieces: Vec<Piece> = ranges
        .iter()
        .filter(|range| range.device == device)
        .map(|range| Piece {
            pages: Run::new(pages(range.offset), pages(range.length)),
            iova: range.iova,
        })
        .collect();
    pieces.sort_by_key(|piece| piece.pages.first);
    let mut holes = Vec::new();
    for pair in pieces.windows(2) {
        let (end, next) = (pair[0].pages.end(), pair[1].pages.first);
        if next < end {
            return Err(format!(
                "{device} maps {} of region {region} at {} at two addresses: such pages can not be moved",
                quantity::pages(u64::from(end - next)),
                quantity::bytes(u64::from(next) * PAGE)
            ));
        }
        if next > end {
            holes.push(Run::new(end, next - end));
        }
    }
    let begin = pieces.first().map_or(0, |piece| piece.pages.first);
    let end = pieces.last().map_or(0, |piece| piece.pages.end());
    Ok(Route {
        device,
        span: Run::new(begin, end - begin),
        holes,
        pieces,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pagemove_uapi::MEMORY_REGION;

    fn range(device: u8, iova: u64, offset: u64, pages: u64) -> Range {
        Range {
            device: PciAddress::new(0, 0, device, 0),
            iova: iova * PAGE,
            length: pages * PAGE,
            memory: MEMORY_REGION,
            region: 5,
            offset: offset * PAGE,
        }
    }

    #[test]
    fn a_guest_below_and_above_4_gib_is_one_span() {
        let route = along(&[range(3, 0, 0, 100), range(3, 1000, 100, 50)], 5).unwrap();
        assert_eq!((route.span, route.holes.len()), (Run::new(0, 150), 0));
        assert_eq!(route.iova(99), Some(99 * PAGE));
        assert_eq!(route.iova(100), Some(1000 * PAGE));
        assert_eq!(
            (route.iova(149), route.iova(150)),
            (Some(1049 * PAGE), None)
        );
    }

    #[test]
    fn what_is_not_mapped_is_a_hole() {
        let route = along(&[range(3, 192, 192, 64), range(3, 2, 2, 158)], 5).unwrap();
        assert_eq!(route.span, Run::new(2, 254));
        assert_eq!(route.holes, [Run::new(160, 32)]);
        assert_eq!(route.pieces[0].pages, Run::new(2, 158));
        assert_eq!((route.iova(159), route.iova(160)), (Some(159 * PAGE), None));
    }

    #[test]
    fn one_device_is_enough_and_twice_is_too_much() {
        let route = along(&[range(3, 0, 0, 10), range(4, 0, 10, 10)], 5).unwrap();
        assert_eq!(
            (route.device, route.span),
            (PciAddress::new(0, 0, 3, 0), Run::new(0, 10))
        );
        let twice = along(&[range(3, 0, 0, 10), range(3, 100, 8, 10)], 5).unwrap_err();
        assert!(twice.contains("2 pages of region 5 at 32K"), "{twice}");
        assert!(along(&[], 5).unwrap_err().contains("anything of region 5"));
    }
}
