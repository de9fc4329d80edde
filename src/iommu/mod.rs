// SPDX-License-Identifier: GPL-2.0
//! What an IOMMU maps and may be trusted with: no device, no move.

pub(crate) mod domain;
pub(crate) mod leaves;
pub(crate) mod name;
pub(crate) mod quarantine;
pub(crate) mod sharing;
pub(crate) mod table;
pub(crate) mod verdict;
