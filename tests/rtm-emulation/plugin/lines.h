/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The cache lines that a transaction has read or written: what they held when they
 * were touched first, and what the transaction sees in them.
 */
#ifndef RTM_LINES_H
#define RTM_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE 64

struct line {
	/* Where it is in QEMU's memory: two guest addresses of one line are one line. */
	uint8_t *host;
	/* Part of the write set, by this address of the guest. */
	bool in_write_set;
	uint64_t address;
	/* A bit for each byte that was written. */
	uint64_t written;
	union {
		uint8_t bytes[LINE];
		uint64_t words[LINE / 8];
	} first, now;
};

struct lines {
	struct line *all;
	size_t count, room;
	size_t written;
	/* Lines written in each set of the cache. */
	uint8_t in_set[64];
	/* Index into `all` by hash; an entry counts if it has this generation. */
	struct {
		uint32_t generation, line;
	} *table;
	uint32_t generation;
};

/* What a transaction may hold. */
struct capacity {
	size_t read_lines;
	unsigned int write_sets, write_ways;
};

extern struct capacity capacity;

void lines_init(struct lines *lines);
void lines_clear(struct lines *lines);
/* The line at `host`, or NULL if it was not touched yet. */
struct line *lines_find(struct lines *lines, const uint8_t *host);
/* It, added with what `content` holds if need be; NULL: no room. */
struct line *lines_add(struct lines *lines, uint8_t *host,
		       const uint64_t content[LINE / 8]);
/* Note that `line` is being written to. False: no room. */
bool lines_write(struct lines *lines, struct line *line, uint64_t address);

#endif
