// SPDX-License-Identifier: GPL-2.0
/* Products modulo 64 bits by 128-bit arithmetic: primes by Miller and Rabin, factors by Pollard. */

#include "app.h"

static u64 times(u64 a, u64 b, u64 n)
{
	u64 sum = 0;

	for (; b; b >>= 1) {
		if (b & 1)
			sum = (sum + a) % n;
		a = (a + a) % n;
	}
	return sum;
}

static u64 power(u64 a, u64 e, u64 n)
{
	u64 product = 1;

	for (; e; e >>= 1) {
		if (e & 1)
			product = times(product, a, n);
		a = times(a, a, n);
	}
	return product;
}

static int prime(u64 n)
{
	u64 odd = n - 1;
	u32 twos = 0;

	if (n < 4 || n % 2 == 0)
		return n == 2 || n == 3;
	for (; odd % 2 == 0; odd /= 2)
		twos++;
	for (u64 base = 2; base < 5 && base < n - 1; base++) {
		u64 x = power(base, odd, n);
		u32 left = twos;

		if (x == 1 || x == n - 1)
			continue;
		while (--left && x != n - 1)
			x = times(x, x, n);
		if (x != n - 1)
			return 0;
	}
	return 1;
}

static u64 common(u64 a, u64 b)
{
	return b ? common(b, a % b) : a;
}

static u64 factor(u64 n)
{
	if (n < 2 || prime(n))
		return n;
	if (n % 2 == 0)
		return 2 ^ factor(n / 2) << 1;
	for (u64 c = 1;; c++) {
		u64 x = 2, y = 2, d = 1;

		while (d == 1) {
			x = (times(x, x, n) + c) % n;
			y = (times(y, y, n) + c) % n;
			y = (times(y, y, n) + c) % n;
			d = common(x > y ? x - y : y - x, n);
		}
		if (d != n)
			return factor(d) ^ factor(n / d) << 1;
	}
}

PROGRAM(size)
{
	u64 seed = 37, digest = 0;

	for (u32 i = 0; i < size; i++) {
		u64 f = factor(random_next(&seed) % 5000 + 2);

		note(f);
		digest = mix(digest, f);
	}
	return digest;
}
