// SPDX-License-Identifier: GPL-2.0
/* Quicksort with recursion, heapsort with loops, and merging with a comparison by pointer. */

#include "app.h"

#define MOST 512

static u32 one[MOST], two[MOST], three[MOST], spare[MOST];

static void quick(u32 *a, i32 from, i32 to)
{
	while (from < to) {
		u32 pivot = a[(from + to) / 2];
		i32 i = from, j = to;

		while (i <= j) {
			while (a[i] < pivot)
				i++;
			while (a[j] > pivot)
				j--;
			if (i <= j) {
				u32 t = a[i];

				a[i++] = a[j];
				a[j--] = t;
			}
		}
		quick(a, from, j);
		from = i;
	}
}

static void sink(u32 *a, u32 at, u32 count)
{
	for (;;) {
		u32 child = 2 * at + 1;

		if (child >= count)
			return;
		if (child + 1 < count && a[child + 1] > a[child])
			child++;
		if (a[at] >= a[child])
			return;
		u32 t = a[at];

		a[at] = a[child];
		a[child] = t;
		at = child;
	}
}

static int up(u32 a, u32 b)
{
	return a < b;
}

static int by_bits(u32 a, u32 b)
{
	int x = 0, y = 0;

	for (u32 v = a; v; v &= v - 1)
		x++;
	for (u32 v = b; v; v &= v - 1)
		y++;
	return x != y ? x < y : a < b;
}

static int (*volatile orders[2])(u32, u32) = { up, by_bits };

static void merge(u32 *a, u32 count, int (*before)(u32, u32))
{
	u32 half = count / 2, i = 0, j = half, k = 0;

	if (count < 2)
		return;
	merge(a, half, before);
	merge(a + half, count - half, before);
	while (i < half && j < count)
		spare[k++] = before(a[j], a[i]) ? a[j++] : a[i++];
	while (i < half)
		spare[k++] = a[i++];
	while (j < count)
		spare[k++] = a[j++];
	memcpy(a, spare, count * sizeof(*a));
}

PROGRAM(size)
{
	u64 seed = 3, digest = 0;

	for (u32 i = 0; i < size; i++)
		one[i] = two[i] = three[i] = random_next(&seed) % 10000;
	quick(one, 0, (i32)size - 1);
	note(one[0]);
	for (u32 i = size / 2; i-- > 0;)
		sink(two, i, size);
	for (u32 i = size; i-- > 1;) {
		u32 t = two[0];

		two[0] = two[i];
		two[i] = t;
		sink(two, 0, i);
	}
	note(two[size - 1]);
	for (u32 i = 0; i < size; i++)
		if (one[i] != two[i])
			return 0;
	for (u32 order = 0; order < 2; order++) {
		merge(three, size, orders[order]);
		for (u32 i = 0; i < size; i++)
			digest = mix(digest, three[i]);
		note(digest);
	}
	return digest;
}
