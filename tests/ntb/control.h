/* SPDX-License-Identifier: GPL-2.0 */
/* What the two ports of the stand-in share: the first bytes of a small ivshmem. */
#ifndef PAGEMOVE_TEST_NTB_CONTROL_H
#define PAGEMOVE_TEST_NTB_CONTROL_H

#include <linux/types.h>

#define WINDOWS 2
/* As many as Intel's bridges have. */
#define SCRATCHPADS 16

/* One port. Who writes a member is said with it. */
struct side {
	u32 owned; /* the port: somebody has bound it */
	u32 enabled; /* the port: it wants the link */
	u32 dark; /* the port: the test has cut the cable here */
	u32 severed; /* the port: it has noticed */
	u32 doorbell; /* the peer sets bits, the port takes them */
	u32 pad[SCRATCHPADS]; /* both */
	/* The port: which of its memory the peer's windows show. */
	struct {
		u64 address; /* physical */
		u64 length; /* 0: nothing */
	} shown[WINDOWS];
};

struct control {
	struct side sides[2];
};

#endif
