/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who else accesses the write set? On a CPU each access of somebody else to a line in
 * it aborts the transaction, a read just as well: that is how an IOMMU's walk that
 * sets no bit is noticed. Comparing values can not see it. So the host's pages that
 * hold lines of write sets are made inaccessible, and whoever touches one is caught
 * by SIGSEGV, makes that access in a single step, and goes on.
 *
 * An access by who holds the big QEMU lock, as devices and IOMMUs do, is a conflict if
 * its line is in a write set. While the page is open for it none of the others can
 * slip through. An access by the translated code of another CPU does not hold off
 * others, so it is a conflict wherever it is in the page.
 */
#ifndef RTM_GUARD_H
#define RTM_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define GUARDED_PAGES 1024

struct guard {
	atomic_uint count;
	struct {
		uint8_t *page;
		atomic_uint_fast64_t lines;
	} pages[GUARDED_PAGES];
	/* Somebody else has touched a line. */
	atomic_bool hit;
};

/* Before any guest runs. False, and why: it does not work on this host. */
bool guard_init(const char **why);
void guard_register(struct guard *guard);
/* Puts the line at `host` under guard. False: no room. */
bool guard_line(struct guard *guard, uint8_t *host);
bool guard_holds(const struct guard *guard, const uint8_t *host);
/* Reads the line at `host`, guarded or not, as an access by the owner of `guard`. */
void guard_read(struct guard *guard, const uint8_t *host, uint64_t content[8]);
/* Ends the guard over all lines. */
void guard_release(struct guard *guard);

#endif
