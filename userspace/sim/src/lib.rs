// SPDX-License-Identifier: GPL-2.0
//! Simulations of pagemove's engines.

#![forbid(unsafe_code)]

pub mod timing;
pub mod timing_draws;
pub mod timing_run;
pub mod timing_search;
