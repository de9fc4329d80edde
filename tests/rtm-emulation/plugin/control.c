// SPDX-License-Identifier: GPL-2.0
#include "vcpu.h"
#include "counters.h"
#include "run_control.h"

uint64_t run_control(const uint64_t gpr[16])
{
	uint64_t a = gpr[RCX], b = gpr[RDX], c = gpr[RSI], d = gpr[RDI];

	switch (gpr[RAX]) {
	case RTM_CONTROL_PRESENT:
		return RTM_CONTROL_MAGIC;
	case RTM_CONTROL_COUNTER:
		return a < RTM_COUNTERS ? counted(a) : RTM_CONTROL_ERROR;
	case RTM_CONTROL_RESET:
		counters_reset();
		return 0;
	case RTM_CONTROL_FILTER:
		inject_filter(a, b, c, d & 1);
		return 0;
	case RTM_CONTROL_SPURIOUS:
		inject_spurious(a, b, c, d);
		return 0;
	case RTM_CONTROL_ABORT_AT:
		inject_abort(a, b, c);
		return 0;
	case RTM_CONTROL_DELAY_AT:
		inject_delay(a, b, c);
		return 0;
	case RTM_CONTROL_LAST:
		return inject_last();
	case RTM_CONTROL_CLEAR:
		return inject_clear();
	default:
		return RTM_CONTROL_ERROR;
	}
}
