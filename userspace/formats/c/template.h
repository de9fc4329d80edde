/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Stands in for the kernel's iommu_template.h: the format and what builds on its
 * bits, without what maps and unmaps.
 */
#include <linux/generic_pt/common.h>
#include FORMAT_DEFINITIONS
#include "../pt_defs.h"
#include FORMAT_HEADER
#include "../pt_common.h"
