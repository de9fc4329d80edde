// SPDX-License-Identifier: GPL-2.0
/* All orders of some cards; each level of the recursion has cards of its own on the stack. */

#include "app.h"

#define MOST 8

static u64 deal(const u8 *above, u32 count, u32 chosen, u64 digest)
{
	u8 cards[MOST];

	if (!count) {
		note(digest);
		return digest;
	}
	for (u32 i = 0, j = 0; i <= count; i++)
		if (i != chosen)
			cards[j++] = above[i];
	for (u32 i = 0; i < count; i++)
		digest = deal(cards, count - 1, i, mix(digest, cards[i]));
	return mix_bytes(digest, cards, count);
}

PROGRAM(size)
{
	u8 cards[MOST + 1];

	for (u32 i = 0; i <= size; i++)
		cards[i] = (u8)(i * i + 1);
	return deal(cards, size, 0, size);
}
