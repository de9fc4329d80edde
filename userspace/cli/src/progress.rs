// SPDX-License-Identifier: GPL-2.0
//! The bar of a long move, on a terminal only.

use std::io::{stderr, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Returns a bar over `pages`, or nothing where nobody looks: output that is not a
/// terminal, JSON, or a move that is one call.
pub fn bar(pages: u64, calls: u64, as_json: bool) -> ProgressBar {
    if as_json || calls < 2 || !stderr().is_terminal() {
        return ProgressBar::with_draw_target(Some(pages), ProgressDrawTarget::hidden());
    }
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} pages  {per_sec}  {eta} left  {msg}")
            .expect("the template is right");
    ProgressBar::new(pages).with_style(style)
}
