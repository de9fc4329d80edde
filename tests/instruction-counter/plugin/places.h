/* SPDX-License-Identifier: GPL-2.0 */
/* How many instructions each CPU has run, by the place where their block begins. */
#ifndef COUNTER_PLACES_H
#define COUNTER_PLACES_H

#include "qemu.h"

#define PLACES (1u << 16)

/* All of user space is one place; so is what there was no room for. */
#define PLACE_USER 0
#define PLACE_OTHER 1
#define PLACE_FIRST 2

bool places_init(unsigned int cpus);

/* Returns the counter of a block that begins at this address. */
qemu_plugin_u64 places_counter(uint64_t address);

void places_begin(void);

/* Keeps what was counted since `places_begin`; returns how many that are. */
uint64_t places_end(void);

/* Of what was kept: */
uint64_t places_kernel(uint64_t cpu);
uint64_t places_count(uint64_t place, uint64_t cpu);
uint64_t places_next(uint64_t place);
uint64_t places_address(uint64_t place);

#endif
