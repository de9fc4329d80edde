/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Moves pages of a guest with the header alone: what an address of a device maps,
 * from there on to the end of that run, goes to another NUMA node.
 *
 *   cc -std=c99 -I/usr/local/include move.c -o move
 *   ./move 0000:65:00.0 0x100000 1
 *
 * It is C99 and C++17. Exit codes: 0 every page is there, 1 wrong usage, 2 the
 * kernel refused, 3 some pages stayed where they were.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/pagemove.h>

enum { DONE, USAGE, REFUSED, PARTLY };

struct address {
	__u16 segment;
	__u8 bus;
	__u8 devfn;
};

static int parse_address(const char *text, struct address *address)
{
	unsigned int segment, bus, device, function;
	char rest;

	if (sscanf(text, "%x:%x:%x.%u%c", &segment, &bus, &device, &function,
		   &rest) != 4)
		return -1;
	if (segment > 0xffff || bus > 0xff || device > 31 || function > 7)
		return -1;
	address->segment = (__u16)segment;
	address->bus = (__u8)bus;
	address->devfn = (__u8)(device << 3 | function);
	return 0;
}

static int parse_number(const char *text, unsigned long long *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 0);
	return errno || end == text || *end ? -1 : 0;
}

/* What is mapped at iova: one run, up to where memory, place or order change. */
static int find(int file, struct address device, __u64 iova,
		struct pagemove_mapping *run)
{
	struct pagemove_maps maps;

	/* Members that are not set, and those that a later header adds, are zero. */
	memset(&maps, 0, sizeof(maps));
	maps.size = sizeof(maps);
	maps.segment = device.segment;
	maps.bus = device.bus;
	maps.devfn = device.devfn;
	maps.iova = iova;
	maps.entries = (__u64)(size_t)run;
	maps.capacity = 1;
	if (ioctl(file, PAGEMOVE_IOC_MAPS, &maps)) {
		fprintf(stderr, "maps: %s, reason %u\n", strerror(errno),
			maps.reason);
		return -1;
	}
	if (!maps.filled || run->iova > iova) {
		fprintf(stderr, "nothing is mapped at 0x%llx\n",
			(unsigned long long)iova);
		return -1;
	}
	return 0;
}

static int move(int file, struct address device,
		const struct pagemove_mapping *run, int node)
{
	const __u64 most = (__u64)PAGEMOVE_MAX_MOVE_PAGES * PAGEMOVE_PAGE_SIZE;
	struct pagemove_move move;
	__u64 pages;

	memset(&move, 0, sizeof(move));
	move.size = sizeof(move);
	move.segment = device.segment;
	move.bus = device.bus;
	move.devfn = device.devfn;
	move.engine = PAGEMOVE_ENGINE_AUTO;
	move.iova = run->iova;
	move.length = run->length < most ? run->length : most;
	move.node = node;
	move.retries = 100;
	/* Without results: what became of each page is not asked for. */
	if (ioctl(file, PAGEMOVE_IOC_MOVE, &move)) {
		/* The output is exact all the same: what was moved stays moved. */
		fprintf(stderr,
			"move: %s, reason %u, after %llu pages that were moved\n",
			strerror(errno), move.reason,
			(unsigned long long)move.pages_moved);
		return REFUSED;
	}
	pages = move.length / PAGEMOVE_PAGE_SIZE;
	printf("%llu pages: %llu moved, %llu were there before\n",
	       (unsigned long long)pages, (unsigned long long)move.pages_moved,
	       (unsigned long long)move.pages_there);
	return move.pages_moved + move.pages_there == pages ? DONE : PARTLY;
}

int main(int argc, char **argv)
{
	struct pagemove_mapping run;
	unsigned long long iova, node;
	struct address device;
	int file, result;

	if (argc != 4 || parse_address(argv[1], &device) ||
	    parse_number(argv[2], &iova) || iova % PAGEMOVE_PAGE_SIZE ||
	    parse_number(argv[3], &node) || node > 1023) {
		fprintf(stderr, "usage: move SSSS:BB:DD.F IOVA NODE\n");
		return USAGE;
	}
	file = open(PAGEMOVE_DEVICE, O_RDWR | O_CLOEXEC);
	if (file < 0) {
		perror(PAGEMOVE_DEVICE);
		return REFUSED;
	}
	result = find(file, device, iova, &run) ?
			 REFUSED :
			 move(file, device, &run, (int)node);
	close(file);
	return result;
}
