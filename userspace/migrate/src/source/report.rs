// SPDX-License-Identifier: GPL-2.0
//! What A's agent did, exact at any time.

use std::collections::BTreeMap;

use crate::message::Welcome;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub pages: u32,
    /// At the destination when it began.
    pub there: u32,
    pub moved: u32,
    /// Of these, pages that went before the guest left.
    pub early: u32,
    /// Pages that went, too, and came home before that: something touched them.
    pub came_home: u32,
    pub aborts: BTreeMap<String, u64>,
    /// What B said of itself, if it agreed.
    pub welcome: Option<Welcome>,
}
