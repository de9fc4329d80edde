// SPDX-License-Identifier: GPL-2.0
//! What `make model` explores. The last number is that of the distinct states.

mod adbit;
mod broken;
mod chunk;
mod cleared;
mod rtm;

use super::*;

/// Lists the configurations of `make model`.
pub fn standard() -> Vec<Case> {
    let mut all = rtm::all();
    all.extend(cleared::all());
    all.extend(adbit::all());
    all.extend(chunk::all());
    all.extend(broken::all());
    all.extend(wider::wider());
    all
}
