// SPDX-License-Identifier: GPL-2.0
/* A code by how often each byte comes, written bit by bit and read again. */

#include "app.h"

#define MOST 1024

static u8 text[MOST], coded[MOST], again[MOST];
static u32 weight[128], left[128], right[128], code[64], bits[64], nodes;

static void walk(u32 node, u32 value, u32 depth)
{
	if (node < 64) {
		code[node] = value;
		bits[node] = depth;
		return;
	}
	walk(left[node], value << 1, depth + 1);
	walk(right[node], value << 1 | 1, depth + 1);
}

static u32 least(void)
{
	u32 best = 0;

	for (u32 i = 0; i < nodes; i++)
		if (weight[i] && (!weight[best] || weight[i] < weight[best]))
			best = i;
	return best;
}

PROGRAM(size)
{
	u64 seed = 31, digest = 0;
	u32 out = 0, root = 0;

	for (u32 i = 0; i < size; i++) {
		u32 r = random_next(&seed);

		text[i] = (u8)((r & 63) & (r >> 6) & 63);
		weight[text[i]]++;
	}
	for (nodes = 64;; nodes++) {
		u32 a = least(), wa = weight[a];

		weight[a] = 0;
		u32 b = least(), wb = weight[b];

		root = a;
		if (!wb)
			break;
		weight[b] = 0;
		left[nodes] = a;
		right[nodes] = b;
		weight[nodes] = wa + wb;
	}
	walk(root, 0, 0);
	for (u32 i = 0; i < size; i++)
		for (u32 bit = bits[text[i]]; bit-- > 0; out++)
			if (code[text[i]] >> bit & 1)
				coded[out / 8] |= (u8)(1 << out % 8);
	note(out);
	for (u32 i = 0, in = 0; i < size; i++) {
		u32 node = root;

		while (node >= 64)
			node = coded[in / 8] >> in % 8 & 1 ?
				       (in++, right[node]) :
				       (in++, left[node]);
		again[i] = (u8)node;
	}
	if (memcmp(text, again, size))
		return 0;
	digest = mix_bytes(digest, coded, (out + 7) / 8);
	return digest;
}
