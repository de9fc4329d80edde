/* SPDX-License-Identifier: GPL-2.0 */
/* What the programs of this directory share. They run without a C library, on any engine. */

#ifndef APP_H
#define APP_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;

#ifdef __wasm__
#define IMPORT(name) __attribute__((import_module("env"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))
#else
/* native.c is the host. */
#define IMPORT(name)
#define EXPORT(name)
#endif

/* Tells the host a number: what a program has done is the list of these. */
IMPORT("note") void note(u64 value);

/* The program: a size in, a digest out. */
#define PROGRAM(size) EXPORT("run") u64 run(u32 size)

static inline u64 mix(u64 digest, u64 value)
{
	digest ^= value;
	digest *= 0x9e3779b97f4a7c15ull;
	return digest ^ (digest >> 29);
}

static inline u32 random_next(u64 *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(*state >> 33);
}

static inline u64 mix_bytes(u64 digest, const u8 *bytes, u32 count)
{
	for (u32 i = 0; i < count; i++)
		digest = mix(digest, bytes[i]);
	return digest;
}

#ifdef __wasm__
typedef __SIZE_TYPE__ size_t;

/* The compiler may call these. */
void *memcpy(void *to, const void *from, size_t count)
{
	u8 *t = to;
	const u8 *f = from;

	while (count--)
		*t++ = *f++;
	return to;
}

void *memset(void *to, int value, size_t count)
{
	u8 *t = to;

	while (count--)
		*t++ = value;
	return to;
}

int memcmp(const void *a, const void *b, size_t count)
{
	const u8 *x = a, *y = b;

	for (; count; count--, x++, y++)
		if (*x != *y)
			return *x < *y ? -1 : 1;
	return 0;
}
#else
#include <string.h>
#endif

#endif
