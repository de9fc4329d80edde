// SPDX-License-Identifier: GPL-2.0
//! Where a device of the domain has a TLB of its own, whose answer may take as long as it likes.

use anyhow::{ensure, Result};
use pagemove_uapi as uapi;

use super::{case, Desk, Memfd};
use crate::bench::{describe, errno_of};
use pagemove_testkit::tap::Case;

pub fn cases() -> Vec<Case<Desk>> {
    vec![case(
        "a device with ATS: reason ats, and nothing has moved",
        refused,
    )]
}

fn refused(desk: &Desk) -> Result<()> {
    let memfd = Memfd::new(4, desk.nodes.here)?;
    desk.with(&memfd.map, || {
        let (report, _) = desk.move_pages(0, 4, desk.nodes.there);
        let reason = report.error.map_or(0, |error| error.reason);
        ensure!(
            (errno_of(&report), reason) == (libc::EOPNOTSUPP, uapi::REASON_ATS),
            "{}",
            describe(&report)
        );
        ensure!(memfd.is_at(desk.nodes.here)?, "pages have moved");
        memfd.map.check(0)
    })
}
