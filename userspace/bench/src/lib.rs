// SPDX-License-Identifier: GPL-2.0
//! `make bench`: benches/costs.rs.
