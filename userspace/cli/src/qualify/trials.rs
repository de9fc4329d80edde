// SPDX-License-Identifier: GPL-2.0
//! Every question in turn.

use std::time::Duration;

use anyhow::{Context, Result};
use pagemove_uapi::{ENGINE_ADBIT, ENGINE_RTM};

use super::decide::{notices_walks, Demand};
use super::evidence::{Evidence, Trial};
use super::promises::Promises;
use super::subject::Subject;
use super::{moves, sizes, tables, transactions};
use crate::running::Running;

pub fn run(
    subject: &mut Subject,
    time: Duration,
    demand: Demand,
    running: &Running,
) -> Result<Evidence> {
    let promises = Promises::of(&subject.iommu()).context("drains")?;
    running.goes_on("ad-set");
    let marks = tables::marks(subject, time).context("ad-set")?;
    running.goes_on("ad-first");
    let landings = tables::landings(subject, time).context("ad-first")?;
    running.goes_on("clean-walks");
    let clean = tables::clean(subject, time).context("clean-walks")?;
    running.goes_on("ad-cas");
    let race = tables::race(subject, time).context("ad-cas")?;
    running.goes_on("watch-seen");
    let watch = transactions::watch(subject, time).context("watch-seen")?;
    running.goes_on("walk-seen");
    let walks = transactions::windows(subject, false, time, demand).context("walk-seen")?;
    running.goes_on("a-seen");
    let marked_walks = transactions::windows(subject, true, time, demand).context("a-seen")?;
    running.goes_on("valid-change");
    let moves_adbit =
        moves::moves(subject, ENGINE_ADBIT, false, time).context("valid-change by adbit")?;
    let clear = !notices_walks(&walks, demand);
    let moves_rtm = match &walks {
        Trial::Refused(reason) => Trial::Refused(*reason),
        _ if clear && !notices_walks(&marked_walks, demand) => Trial::Pointless(
            "neither walk-seen nor a-seen is yes, so that moves by rtm would lose writes",
        ),
        _ => moves::moves(subject, ENGINE_RTM, clear, time).context("valid-change by rtm")?,
    };
    running.goes_on("split-live");
    let sizes = sizes::sizes(subject, time, demand).context("split-live and merge-live")?;
    Ok(Evidence {
        promises,
        marks,
        landings,
        clean,
        race,
        watch,
        walks,
        marked_walks,
        moves_adbit,
        moves_rtm,
        sizes,
    })
}
