// SPDX-License-Identifier: GPL-2.0
#include "options.h"
#include "counters.h"
#include "lines.h"

#include <stdlib.h>
#include <string.h>

struct options options = { .invariant_tsc = true, .longest_ns = 2000000000 };

static bool number(const char *text, uint64_t least, uint64_t most,
		   uint64_t *value)
{
	char *end;

	*value = strtoull(text, &end, 10);
	return end != text && *end == '\0' && *value >= least && *value <= most;
}

static bool break_on_purpose(const char *what)
{
	if (strcmp(what, "validate") == 0)
		options.broken.validate = true;
	else if (strcmp(what, "exclusive") == 0)
		options.broken.exclusive = true;
	else if (strcmp(what, "rollback") == 0)
		options.broken.rollback = true;
	else if (strcmp(what, "watch") == 0)
		options.broken.watch = true;
	else
		return false;
	return true;
}

bool options_parse(const char *text)
{
	const char *value = strchr(text, '=');
	size_t length = value ? (size_t)(value - text) : 0;
	uint64_t n;

	if (!value)
		return false;
	value++;
#define IS(name) (length == sizeof(name) - 1 && memcmp(text, name, length) == 0)
	if (IS("report"))
		return report_open(value);
	if (IS("break"))
		return break_on_purpose(value);
	if (IS("invtsc")) {
		options.invariant_tsc = strcmp(value, "on") == 0;
		return options.invariant_tsc || strcmp(value, "off") == 0;
	}
	if (IS("read-lines") && number(value, 1, 65536, &n)) {
		capacity.read_lines = n;
		return true;
	}
	if (IS("write-sets") && number(value, 1, 64, &n)) {
		capacity.write_sets = n;
		return true;
	}
	if (IS("write-ways") && number(value, 1, 255, &n)) {
		capacity.write_ways = n;
		return true;
	}
	if (IS("longest-ms") && number(value, 1, 1000000, &n)) {
		options.longest_ns = n * 1000000;
		return true;
	}
#undef IS
	return false;
}
