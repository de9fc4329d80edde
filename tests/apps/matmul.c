// SPDX-License-Identifier: GPL-2.0
/* Products of matrices of float and double, and a system of equations solved with them. */

#include "app.h"

#define MOST 16

static float a[MOST][MOST], b[MOST][MOST], c[MOST][MOST];
static double m[MOST][MOST + 1];

PROGRAM(size)
{
	u64 seed = 5, digest = 0;

	for (u32 i = 0; i < size; i++)
		for (u32 j = 0; j < size; j++) {
			a[i][j] = (float)(random_next(&seed) % 100) * 0.01f;
			b[i][j] = (float)(random_next(&seed) % 100) * 0.01f;
		}
	for (u32 i = 0; i < size; i++)
		for (u32 j = 0; j < size; j++) {
			float sum = 0;

			for (u32 k = 0; k < size; k++)
				sum += a[i][k] * b[k][j];
			c[i][j] = sum;
		}
	for (u32 i = 0; i < size; i++) {
		for (u32 j = 0; j < size; j++)
			m[i][j] = c[i][j] + (i == j ? 10.0 : 0.0);
		m[i][size] = a[i][0];
	}
	for (u32 i = 0; i < size; i++)
		for (u32 j = i + 1; j < size; j++) {
			double by = m[j][i] / m[i][i];

			for (u32 k = i; k <= size; k++)
				m[j][k] -= by * m[i][k];
		}
	for (u32 i = size; i-- > 0;) {
		for (u32 j = i + 1; j < size; j++)
			m[i][size] -= m[i][j] * m[j][size];
		m[i][size] /= m[i][i];
		union {
			double value;
			u64 bits;
		} as = { m[i][size] };
		note(as.bits);
		digest = mix(digest, as.bits);
	}
	return digest;
}
