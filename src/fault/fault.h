/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calls into the kernel that fail when a test says so (builds for tests).
 *
 * The linker sends each call of a function that can fail, of all objects of a module, to
 * __wrap_FUNCTION (Kbuild; wrappers.c). So nothing in the module has to know of it, and a call
 * that is not on the list is found by its symbol (tests/fail-nth/calls.toml).
 */
#ifndef PAGEMOVE_FAULT_H
#define PAGEMOVE_FAULT_H

#include <linux/types.h>

/* Whether this call, to which `from` returns, is the one that has to fail. */
bool pagemove_fault(const char *call, unsigned long from);

/* What the module gets of the kernel and has to give back. */
enum pagemove_held {
	PAGEMOVE_OBJECTS,
	PAGEMOVE_PAGES,
	PAGEMOVE_FILES,
	PAGEMOVE_PINS,
	PAGEMOVE_THREADS,
	PAGEMOVE_MMS,
	PAGEMOVE_FUNCTIONS,
	PAGEMOVE_GROUPS,
	PAGEMOVE_HELD_NR,
};

void pagemove_held(enum pagemove_held what, long change);

/* The function of that name is called as __real_FUNCTION from here on. */
#define WRAPPED(function, type)                                       \
	extern typeof(function) __real_##function, __wrap_##function; \
	type __wrap_##function

#define FAILS(function) unlikely(pagemove_fault(#function, _RET_IP_))

#endif
