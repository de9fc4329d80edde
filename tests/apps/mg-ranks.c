// SPDX-License-Identifier: GPL-2.0
/*
 * Multigrid over ranks: V-cycles for Poisson's equation in three dimensions, as in the NAS benchmark MG. Each
 * rank has as many planes as the others; before a sweep neighbours send each other the planes at their common
 * side. Sweeps are Jacobi's and sums are made plane by plane, so the numbers do not depend on how many ranks
 * there are. Told are, by each rank, nanoseconds in calls that send and receive, messages and bytes; the first
 * returns a digest of the norms.
 */

#include "ranks.h"

#define MOST 64
#define LEVELS 4
#define TAG_UP 1
#define TAG_DOWN 2
#define TAG_NORM 3
/* Of all levels together: 8/7 of the finest and its sides, which are more of the coarse ones. */
#define CELLS ((MOST + 2) * (MOST + 2) * (MOST + 2) * 3 / 2)

__attribute__((import_module("wasi_snapshot_preview1"),
	       import_name("clock_time_get"))) i32
clock_time_get(i32 clock, i64 precision, u64 *at);

struct level {
	u32 planes, n;
	double *solution, *right, *residual;
};

static double cells[3][CELLS];
static struct level levels[LEVELS];
static u32 level_count;
static i32 rank, count;
static u64 spent, messages, bytes;

static u64 now(void)
{
	u64 time = 0;

	clock_time_get(1, 0, &time);
	return time;
}

static u32 at(const struct level *l, u32 i, u32 j, u32 k)
{
	return (i * (l->n + 2) + j) * (l->n + 2) + k;
}

static void exchange(const struct level *l)
{
	u32 length = (l->n + 2) * (l->n + 2) * sizeof(double);
	double *u = l->solution;
	u64 begun = now();

	if (rank > 0) {
		rank_send(rank - 1, TAG_DOWN, u + at(l, 1, 0, 0), length);
		messages++;
		bytes += length;
	}
	if (rank < count - 1) {
		rank_send(rank + 1, TAG_UP, u + at(l, l->planes, 0, 0), length);
		messages++;
		bytes += length;
		rank_recv(rank + 1, TAG_DOWN, u + at(l, l->planes + 1, 0, 0),
			  length);
	}
	if (rank > 0)
		rank_recv(rank - 1, TAG_UP, u + at(l, 0, 0, 0), length);
	spent += now() - begun;
}

static void find_residual(const struct level *l)
{
	u32 row = l->n + 2, plane = row * row;

	exchange(l);
	for (u32 i = 1; i <= l->planes; i++)
		for (u32 j = 1; j <= l->n; j++)
			for (u32 k = 1; k <= l->n; k++) {
				u32 c = at(l, i, j, k);
				const double *u = l->solution + c;
				double sum = u[plane] + *(u - plane) + u[row] +
					     *(u - row) + u[1] + *(u - 1);

				l->residual[c] =
					l->right[c] - (6.0 * u[0] - sum);
			}
}

static void smooth(const struct level *l)
{
	find_residual(l);
	for (u32 i = 1; i <= l->planes; i++)
		for (u32 j = 1; j <= l->n; j++)
			for (u32 k = 1; k <= l->n; k++) {
				u32 c = at(l, i, j, k);

				l->solution[c] += l->residual[c] * (0.8 / 6.0);
			}
}

static void cycle(u32 number)
{
	const struct level *l = levels + number, *coarse = l + 1;

	smooth(l);
	if (number + 1 == level_count)
		return;
	find_residual(l);
	memset(coarse->solution, 0,
	       at(coarse, coarse->planes + 2, 0, 0) * sizeof(double));
	for (u32 i = 1; i <= coarse->planes; i++)
		for (u32 j = 1; j <= coarse->n; j++)
			for (u32 k = 1; k <= coarse->n; k++) {
				double sum = 0;

				for (u32 c = 0; c < 8; c++)
					sum += l->residual[at(
						l, 2 * i - (c & 1),
						2 * j - (c >> 1 & 1),
						2 * k - (c >> 2))];
				coarse->right[at(coarse, i, j, k)] = sum * 0.5;
			}
	cycle(number + 1);
	for (u32 i = 1; i <= l->planes; i++)
		for (u32 j = 1; j <= l->n; j++)
			for (u32 k = 1; k <= l->n; k++)
				l->solution[at(l, i, j, k)] +=
					coarse->solution[at(coarse, (i + 1) / 2,
							    (j + 1) / 2,
							    (k + 1) / 2)];
	smooth(l);
}

static double norms[MOST];

/* The squares of all cells, plane by plane, at the first rank. */
static double find_norm(void)
{
	const struct level *l = levels;
	u32 length = l->planes * sizeof(double);
	double norm = 0;
	u64 begun;

	find_residual(l);
	for (u32 i = 0; i < l->planes; i++) {
		norms[i] = 0;
		for (u32 j = 1; j <= l->n; j++)
			for (u32 k = 1; k <= l->n; k++) {
				double value = l->residual[at(l, i + 1, j, k)];

				norms[i] += value * value;
			}
	}
	begun = now();
	if (rank) {
		rank_send(0, TAG_NORM, norms, length);
		messages++;
		bytes += length;
	}
	for (i32 other = 1; !rank && other < count; other++)
		rank_recv(other, TAG_NORM, norms + (u32)other * l->planes,
			  length);
	spent += now() - begun;
	for (u32 i = 0; !rank && i < l->n; i++)
		norm += norms[i];
	return norm;
}

static void divide(u32 n)
{
	u32 used = 0;

	for (level_count = 0; level_count < LEVELS && n >= (u32)count && n >= 4;
	     n /= 2) {
		struct level *l = levels + level_count++;

		l->n = n;
		l->planes = n / (u32)count;
		l->solution = cells[0] + used;
		l->right = cells[1] + used;
		l->residual = cells[2] + used;
		used += at(l, l->planes + 2, 0, 0);
	}
	if (!level_count || used > CELLS)
		__builtin_trap();
}

EXPORT("run") u64 run(u32 n, u32 cycles)
{
	u64 seed = 7, digest = n;

	rank = rank_number();
	count = rank_count();
	divide(n);
	for (u32 i = 0; i < 20; i++) {
		u32 x = 1 + random_next(&seed) % n,
		    y = 1 + random_next(&seed) % n, z = random_next(&seed) % n;
		u32 first = (u32)rank * levels->planes;

		if (z >= first && z < first + levels->planes)
			levels->right[at(levels, 1 + z - first, y, x)] +=
				i & 1 ? -1.0 : 1.0;
	}
	for (u32 turn = 0; turn < cycles; turn++) {
		union {
			double value;
			u64 bits;
		} as;

		cycle(0);
		as.value = find_norm();
		digest = mix(digest, as.bits);
	}
	note(spent);
	note(messages);
	note(bytes);
	return rank ? 0 : digest;
}
