// SPDX-License-Identifier: GPL-2.0
/* Packs a text by what it repeats (a hash of three bytes, chains), and unpacks it. */

#include "app.h"

#define MOST 4096
#define HASHES 256

static u8 text[MOST], packed[2 * MOST], again[MOST];
static u16 head[HASHES], chain[MOST];

static u32 hash(const u8 *at)
{
	return (at[0] * 33u ^ at[1] * 7u ^ at[2]) % HASHES;
}

static u32 pack(u32 count)
{
	u32 out = 0, at = 0;

	while (at < count) {
		u32 best = 0, where = 0;

		if (at + 3 <= count) {
			u32 tries = 8;

			for (u32 from = head[hash(text + at)]; from && tries--;
			     from = chain[from - 1]) {
				u32 length = 0;

				while (at + length < count && length < 66 &&
				       text[from - 1 + length] ==
					       text[at + length])
					length++;
				if (length > best) {
					best = length;
					where = from - 1;
				}
			}
		}
		u32 step = best >= 4 ? best : 1;

		if (best >= 4) {
			packed[out++] = (u8)(128 + best - 3);
			packed[out++] = (u8)((at - where) >> 8);
			packed[out++] = (u8)(at - where);
		} else {
			packed[out++] = text[at] & 127;
		}
		for (; step; step--, at++)
			if (at + 3 <= count) {
				u32 place = hash(text + at);

				chain[at] = head[place];
				head[place] = (u16)(at + 1);
			}
	}
	return out;
}

static u32 unpack(u32 count)
{
	u32 out = 0;

	for (u32 at = 0; at < count;) {
		u8 first = packed[at++];

		if (first < 128) {
			again[out++] = first;
			continue;
		}
		u32 back = packed[at] << 8 | packed[at + 1];

		at += 2;
		for (u32 length = first - 128 + 3; length; length--, out++)
			again[out] = again[out - back];
	}
	return out;
}

PROGRAM(size)
{
	static const char words[8][8] = { "page ",   "moves ",	"while ",
					  "device ", "writes ", "and ",
					  "reads ",  "it. " };
	u64 seed = 11;
	u32 count = 0;

	while (count < size)
		for (const char *c = words[random_next(&seed) % 8];
		     *c && count < size; c++)
			text[count++] = *c;
	u32 length = pack(count);

	note(length);
	if (unpack(length) != count || memcmp(text, again, count))
		return 0;
	return mix_bytes(length, packed, length);
}
