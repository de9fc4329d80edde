// SPDX-License-Identifier: GPL-2.0
/* SHA-256 of a text that is made up, and of the digest again and again. */

#include "app.h"

/* The fractions of the cube roots of the first 64 primes. */
static const u32 constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* And those of the square roots of the first 8. */
static const u32 begin[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

static u32 turn(u32 x, u32 by)
{
	return x >> by | x << (32 - by);
}

static void block(u32 *state, const u8 *bytes)
{
	u32 w[64], v[8];

	for (u32 i = 0; i < 16; i++)
		w[i] = (u32)bytes[4 * i] << 24 | bytes[4 * i + 1] << 16 |
		       bytes[4 * i + 2] << 8 | bytes[4 * i + 3];
	for (u32 i = 16; i < 64; i++) {
		u32 a = w[i - 15], b = w[i - 2];

		w[i] = w[i - 16] + w[i - 7] +
		       (turn(a, 7) ^ turn(a, 18) ^ a >> 3) +
		       (turn(b, 17) ^ turn(b, 19) ^ b >> 10);
	}
	memcpy(v, state, sizeof(v));
	for (u32 i = 0; i < 64; i++) {
		u32 s1 = turn(v[4], 6) ^ turn(v[4], 11) ^ turn(v[4], 25);
		u32 t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) +
			 constants[i] + w[i];
		u32 s0 = turn(v[0], 2) ^ turn(v[0], 13) ^ turn(v[0], 22);
		u32 t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));

		for (u32 j = 7; j > 0; j--)
			v[j] = v[j - 1];
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (u32 i = 0; i < 8; i++)
		state[i] += v[i];
}

static u8 text[256];

PROGRAM(size)
{
	u32 state[8];
	u64 digest = 0;

	for (u32 i = 0; i < sizeof(text); i++)
		text[i] = (u8)(i * 31 + 7);
	memcpy(state, begin, sizeof(state));
	for (u32 round = 0; round < size; round++) {
		for (u32 at = 0; at < sizeof(text); at += 64)
			block(state, text + at);
		memcpy(text + round % 7, state, sizeof(state));
		note(state[0]);
	}
	for (u32 i = 0; i < 8; i++)
		digest = mix(digest, state[i]);
	return digest;
}
