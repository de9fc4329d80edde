// SPDX-License-Identifier: GPL-2.0
#include "lines.h"

#include <stdlib.h>
#include <string.h>

/* Entries of the table; many more than lines, so that a search is short. */
#define TABLE (1u << 17)
#define MOST (TABLE / 2)

/* Like the caches of a server CPU: 48 KiB of L1, 12 ways; 2 MiB of L2. */
struct capacity capacity = { .read_lines = 32768,
			     .write_sets = 64,
			     .write_ways = 12 };

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

void lines_init(struct lines *lines)
{
	memset(lines, 0, sizeof(*lines));
	lines->table = must(calloc(TABLE, sizeof(*lines->table)));
	lines->generation = 1;
}

void lines_clear(struct lines *lines)
{
	lines->count = 0;
	lines->written = 0;
	memset(lines->in_set, 0, sizeof(lines->in_set));
	if (++lines->generation == 0) {
		memset(lines->table, 0, TABLE * sizeof(*lines->table));
		lines->generation = 1;
	}
}

/* The entry of the table where `host` is, or where it should be. */
static uint32_t look(const struct lines *lines, const uint8_t *host)
{
	uint32_t at = ((uintptr_t)host / LINE * 0x9e3779b97f4a7c15ull) >> 40 &
		      (TABLE - 1);

	while (lines->table[at].generation == lines->generation &&
	       lines->all[lines->table[at].line].host != host)
		at = (at + 1) & (TABLE - 1);
	return at;
}

struct line *lines_find(struct lines *lines, const uint8_t *host)
{
	uint32_t at = look(lines, host);

	if (lines->table[at].generation != lines->generation)
		return NULL;
	return &lines->all[lines->table[at].line];
}

struct line *lines_add(struct lines *lines, uint8_t *host,
		       const uint64_t content[LINE / 8])
{
	uint32_t at = look(lines, host);
	struct line *line;

	if (lines->count >= capacity.read_lines || lines->count >= MOST)
		return NULL;
	if (lines->count == lines->room) {
		lines->room = lines->room ? 2 * lines->room : 64;
		lines->all = must(
			realloc(lines->all, lines->room * sizeof(*lines->all)));
	}
	lines->table[at].generation = lines->generation;
	lines->table[at].line = lines->count;
	line = &lines->all[lines->count++];
	line->host = host;
	line->in_write_set = false;
	line->written = 0;
	memcpy(line->first.words, content, LINE);
	memcpy(line->now.words, content, LINE);
	return line;
}

bool lines_write(struct lines *lines, struct line *line, uint64_t address)
{
	unsigned int set = address / LINE % capacity.write_sets;

	if (line->in_write_set)
		return true;
	if (lines->in_set[set] >= capacity.write_ways)
		return false;
	lines->in_set[set]++;
	lines->written++;
	line->in_write_set = true;
	line->address = address & ~(uint64_t)(LINE - 1);
	return true;
}
