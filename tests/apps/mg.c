// SPDX-License-Identifier: GPL-2.0
/* Multigrid: V-cycles for Poisson's equation in three dimensions, as in the NAS benchmark MG. */

#include "app.h"

#define LEVELS 3
#define MOST 10

static double solution[LEVELS][MOST][MOST][MOST];
static double right[LEVELS][MOST][MOST][MOST];
static double residual[LEVELS][MOST][MOST][MOST];

static void smooth(u32 level, u32 n)
{
	for (u32 i = 1; i <= n; i++)
		for (u32 j = 1; j <= n; j++)
			for (u32 k = 1; k <= n; k++) {
				double(*u)[MOST][MOST] = solution[level];
				double sum = u[i - 1][j][k] + u[i + 1][j][k] +
					     u[i][j - 1][k] + u[i][j + 1][k] +
					     u[i][j][k - 1] + u[i][j][k + 1];

				u[i][j][k] = (sum + right[level][i][j][k]) *
					     (1.0 / 6.0);
			}
}

static void find_residual(u32 level, u32 n)
{
	for (u32 i = 1; i <= n; i++)
		for (u32 j = 1; j <= n; j++)
			for (u32 k = 1; k <= n; k++) {
				double(*u)[MOST][MOST] = solution[level];
				double sum = u[i - 1][j][k] + u[i + 1][j][k] +
					     u[i][j - 1][k] + u[i][j + 1][k] +
					     u[i][j][k - 1] + u[i][j][k + 1];

				residual[level][i][j][k] =
					right[level][i][j][k] -
					(6.0 * u[i][j][k] - sum);
			}
}

static void cycle(u32 level, u32 n)
{
	u32 half = n / 2;

	smooth(level, n);
	if (level + 1 == LEVELS || half < 2)
		return;
	find_residual(level, n);
	for (u32 i = 1; i <= half; i++)
		for (u32 j = 1; j <= half; j++)
			for (u32 k = 1; k <= half; k++) {
				double sum = 0;

				for (u32 c = 0; c < 8; c++)
					sum += residual[level][2 * i - (c & 1)]
						       [2 * j - (c >> 1 & 1)]
						       [2 * k - (c >> 2)];
				right[level + 1][i][j][k] = sum * 0.5;
				solution[level + 1][i][j][k] = 0;
			}
	cycle(level + 1, half);
	for (u32 i = 1; i <= n; i++)
		for (u32 j = 1; j <= n; j++)
			for (u32 k = 1; k <= n; k++)
				solution[level][i][j][k] +=
					solution[level + 1][(i + 1) / 2]
						[(j + 1) / 2][(k + 1) / 2];
	smooth(level, n);
}

PROGRAM(size)
{
	u64 seed = 7, digest = size;

	for (u32 i = 0; i < 20; i++) {
		u32 place = random_next(&seed);

		right[0][1 + place % 8][1 + place / 8 % 8][1 + place / 64 % 8] +=
			i & 1 ? -1.0 : 1.0;
	}
	for (u32 turn = 0; turn < size; turn++) {
		double norm = 0;

		cycle(0, 8);
		find_residual(0, 8);
		for (u32 i = 1; i <= 8; i++)
			for (u32 j = 1; j <= 8; j++)
				for (u32 k = 1; k <= 8; k++)
					norm += residual[0][i][j][k] *
						residual[0][i][j][k];
		union {
			double value;
			u64 bits;
		} as = { norm };
		note(as.bits);
		digest = mix(digest, as.bits);
	}
	return digest;
}
