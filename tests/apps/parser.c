// SPDX-License-Identifier: GPL-2.0
/* Writes sums as text, and reads and computes them by recursive descent. */

#include "app.h"

static char text[2048];
static u32 length, at;

static void write(u64 *seed, u32 depth)
{
	u32 kind = random_next(seed);

	if (!depth || kind % 8 == 0) {
		for (u32 digits = 1 + kind % 3; digits; digits--)
			text[length++] = (char)('1' + random_next(seed) % 9);
		return;
	}
	if (kind % 8 == 1)
		text[length++] = '-';
	text[length++] = '(';
	write(seed, depth - 1);
	text[length++] = "+-*%"[random_next(seed) % 4];
	write(seed, depth - 1);
	text[length++] = ')';
}

static i64 sum(void);

static i64 atom(void)
{
	i64 value = 0;

	if (text[at] == '-') {
		at++;
		return -atom();
	}
	if (text[at] == '(') {
		at++;
		value = sum();
		at++;
		return value;
	}
	while (text[at] >= '0' && text[at] <= '9')
		value = value * 10 + (text[at++] - '0');
	return value;
}

static i64 product(void)
{
	i64 value = atom();

	while (text[at] == '*' || text[at] == '%') {
		char op = text[at++];
		i64 other = atom();

		value = op == '*' ? (i64)((u64)value * (u64)other) :
			other	  ? value % (other < 0 ? -other + 1 : other) :
				    0;
	}
	return value;
}

static i64 sum(void)
{
	i64 value = product();

	while (text[at] == '+' || text[at] == '-')
		value = text[at++] == '+' ? (i64)((u64)value + (u64)product()) :
					    (i64)((u64)value - (u64)product());
	return value;
}

PROGRAM(size)
{
	u64 seed = 17, digest = 0;

	for (u32 i = 0; i < size; i++) {
		length = at = 0;
		write(&seed, 5);
		text[length] = 0;
		i64 value = sum();

		note((u64)value);
		digest = mix(mix(digest, (u64)value), at == length);
	}
	return digest;
}
