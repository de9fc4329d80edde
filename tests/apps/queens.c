// SPDX-License-Identifier: GPL-2.0
/* How many ways there are to place queens, by recursion. */

#include "app.h"

static u32 row[16];

static u32 place(u32 size, u32 at, u32 columns, u32 left, u32 right)
{
	u32 found = 0;

	if (at == size) {
		u64 digest = 0;

		for (u32 i = 0; i < size; i++)
			digest = mix(digest, row[i]);
		note(digest);
		return 1;
	}
	for (u32 free = ~(columns | left | right) & ((1u << size) - 1); free;
	     free &= free - 1) {
		u32 bit = free & -free;

		row[at] = bit;
		found += place(size, at + 1, columns | bit, (left | bit) << 1,
			       (right | bit) >> 1);
	}
	return found;
}

PROGRAM(size)
{
	return place(size, 0, 0, 0, 0);
}
