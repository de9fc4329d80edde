// SPDX-License-Identifier: GPL-2.0
//! Mappings that a region refuses. Their errno is mmap's own affair.

use anyhow::{ensure, Result};
use pagemove_uapi::{Control, MAX_REGION_BYTES, PAGE_SIZE};

use super::State;
use crate::region::Mapping;
use pagemove_testkit::tap::{Case, Pass};

type Map = fn(&Control) -> Result<Mapping, i32>;

/// On a region of four pages.
const REFUSED: &[(&str, Map)] = &[
    ("past the end", |c| {
        Mapping::shared(c.file(), 4 * PAGE_SIZE as u64, PAGE_SIZE)
    }),
    ("over the end", |c| {
        Mapping::shared(c.file(), 3 * PAGE_SIZE as u64, 2 * PAGE_SIZE)
    }),
    ("longer than the region", |c| {
        Mapping::shared(c.file(), 0, 5 * PAGE_SIZE)
    }),
    ("from the middle of a page", |c| {
        Mapping::shared(c.file(), PAGE_SIZE as u64 / 2, PAGE_SIZE)
    }),
    ("without length", |c| Mapping::shared(c.file(), 0, 0)),
    ("at an offset that wraps", |c| {
        Mapping::shared(c.file(), (PAGE_SIZE as u64).wrapping_neg(), 2 * PAGE_SIZE)
    }),
    ("private", |c| Mapping::private(c.file(), 0, PAGE_SIZE)),
];

/// On a region that grows.
const REFUSED_GROWING: &[(&str, Map)] = &[
    ("longer than the largest region", |c| {
        Mapping::shared(c.file(), 0, MAX_REGION_BYTES as usize + PAGE_SIZE)
    }),
    ("a page behind the largest region", |c| {
        Mapping::shared(c.file(), MAX_REGION_BYTES, PAGE_SIZE)
    }),
    ("private, in a region that grows", |c| {
        Mapping::private(c.file(), 0, PAGE_SIZE)
    }),
];

pub fn cases() -> Vec<Case<State>> {
    let fixed = REFUSED
        .iter()
        .map(|(what, map)| refused(what, *map, Some(4 * PAGE_SIZE as u64)));
    let growing = REFUSED_GROWING
        .iter()
        .map(|(what, map)| refused(what, *map, None));
    let mut cases: Vec<Case<State>> = fixed.chain(growing).collect();
    cases.push(Case::new(
        "mremap: a mapping of a region can not be made longer",
        |_: &mut State| {
            let control = Control::open()?;
            let map = Mapping::shared(control.file(), 0, PAGE_SIZE)
                .map_err(std::io::Error::from_raw_os_error)?;
            // SAFETY: may move our mapping, which nobody uses meanwhile; if it did the
            // case fails and the mapping is lost.
            let longer = unsafe {
                libc::mremap(
                    map.address().cast(),
                    PAGE_SIZE,
                    8 * PAGE_SIZE,
                    libc::MREMAP_MAYMOVE,
                )
            };
            ensure!(longer == libc::MAP_FAILED, "it was made longer");
            Ok(Pass)
        },
    ));
    cases
}

fn refused(what: &str, map: Map, length: Option<u64>) -> Case<State> {
    Case::new(format!("mmap: {what}: refused"), move |_: &mut State| {
        let control = Control::open()?;
        if let Some(length) = length {
            control.region_setup(length, None)?;
        }
        match map(&control) {
            Err(libc::EINVAL | libc::ENXIO | libc::EOVERFLOW | libc::EACCES | libc::ENOMEM) => {}
            Err(errno) => {
                anyhow::bail!("refused with {}", std::io::Error::from_raw_os_error(errno))
            }
            Ok(_) => anyhow::bail!("it was mapped"),
        }
        let length_now = control
            .region_list()?
            .iter()
            .map(|region| region.length)
            .max()
            .unwrap_or(0);
        ensure!(
            length_now < MAX_REGION_BYTES,
            "a region grew to {length_now:#x} bytes"
        );
        Ok(Pass)
    })
}
