// SPDX-License-Identifier: GPL-2.0
/* Finds patterns with stars and classes in a text, by trying and going back. */

#include "app.h"

static char text[512];

static int here(const char *pattern, const char *at);

static int one(const char *pattern, char c)
{
	return c && (*pattern == '.' || *pattern == c ||
		     (*pattern == '#' && c >= 'a' && c <= 'c'));
}

static int star(const char *unit, const char *rest, const char *at)
{
	do
		if (here(rest, at))
			return 1;
	while (one(unit, *at++));
	return 0;
}

static int here(const char *pattern, const char *at)
{
	if (!*pattern)
		return 1;
	if (pattern[1] == '*')
		return star(pattern, pattern + 2, at);
	if (one(pattern, *at))
		return here(pattern + 1, at + 1);
	return 0;
}

PROGRAM(size)
{
	static const char *const patterns[] = { "a*b",	  "#*d#", "a.c.*e",
						"#*#*ef", "cc*c", "d.*d.*d" };
	u64 seed = 29, digest = 0;

	for (u32 i = 0; i < size; i++)
		text[i] = (char)('a' + random_next(&seed) % 6);
	for (u32 p = 0; p < sizeof(patterns) / sizeof(patterns[0]); p++)
		for (u32 at = 0; text[at]; at++)
			if (here(patterns[p], text + at)) {
				digest = mix(digest, p << 16 | at);
				note(digest);
			}
	return digest;
}
