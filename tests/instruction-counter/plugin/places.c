// SPDX-License-Identifier: GPL-2.0
#include "places.h"
#include "../mark.h"

#include <pthread.h>
#include <stdlib.h>

#define MAX_CPUS 8

static unsigned int cpu_count;
static struct qemu_plugin_scoreboard *board;

/* Translation goes on on several CPUs. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t addresses[PLACES];

/* Of each CPU: the counters at the beginning, and what came to them until the end. */
static uint64_t before[MAX_CPUS][PLACES];
static uint64_t kept[MAX_CPUS][PLACES];

bool places_init(unsigned int cpus)
{
	cpu_count = cpus;
	if (cpus > MAX_CPUS)
		return false;
	board = qemu_plugin_scoreboard_new(PLACES * sizeof(uint64_t));
	return board != NULL;
}

/* Finds a kernel address, or makes room for it. */
static unsigned int find(uint64_t address)
{
	const unsigned int room = PLACES - PLACE_FIRST;
	unsigned int at = (address * 0x9e3779b97f4a7c15ull >> 40) % room;

	for (unsigned int n = 0; n < 64; n++) {
		uint64_t *place = &addresses[PLACE_FIRST + (at + n) % room];

		if (*place == 0)
			*place = address;
		if (*place == address)
			return place - addresses;
	}
	return PLACE_OTHER;
}

qemu_plugin_u64 places_counter(uint64_t address)
{
	unsigned int place = PLACE_USER;

	/* The kernel has the upper half. */
	if (address >> 63) {
		pthread_mutex_lock(&lock);
		place = find(address);
		pthread_mutex_unlock(&lock);
	}
	return (qemu_plugin_u64){ board, place * sizeof(uint64_t) };
}

void places_begin(void)
{
	for (unsigned int cpu = 0; cpu < cpu_count; cpu++) {
		const volatile uint64_t *now =
			qemu_plugin_scoreboard_find(board, cpu);

		for (unsigned int n = 0; n < PLACES; n++)
			before[cpu][n] = now[n];
	}
}

uint64_t places_end(void)
{
	uint64_t sum = 0;

	for (unsigned int cpu = 0; cpu < cpu_count; cpu++) {
		const volatile uint64_t *now =
			qemu_plugin_scoreboard_find(board, cpu);

		for (unsigned int n = 0; n < PLACES; n++) {
			kept[cpu][n] = now[n] - before[cpu][n];
			sum += kept[cpu][n];
		}
	}
	return sum;
}

uint64_t places_count(uint64_t place, uint64_t cpu)
{
	return cpu < cpu_count && place < PLACES ? kept[cpu][place] : 0;
}

uint64_t places_kernel(uint64_t cpu)
{
	uint64_t sum = 0;

	for (unsigned int n = PLACE_OTHER; n < PLACES; n++)
		sum += places_count(n, cpu);
	return sum;
}

uint64_t places_next(uint64_t place)
{
	for (; place < PLACES; place++)
		for (unsigned int cpu = 0; cpu < cpu_count; cpu++)
			if (kept[cpu][place])
				return place;
	return COUNTER_NONE;
}

uint64_t places_address(uint64_t place)
{
	return place < PLACES ? addresses[place] : 0;
}
