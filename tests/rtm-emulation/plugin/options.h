/* SPDX-License-Identifier: GPL-2.0 */
/* What the plugin was told on QEMU's command line. */
#ifndef RTM_OPTIONS_H
#define RTM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
	/* Report an invariant TSC in CPUID leaf 80000007. */
	bool invariant_tsc;
	/* How long a transaction may go on. */
	int64_t longest_ns;
	/* Defects on purpose, to see that tests notice: */
	struct {
		/* commit whatever others have changed */
		bool validate;
		/* commit while everybody goes on */
		bool exclusive;
		/* make the stores of a transaction that is aborted */
		bool rollback;
		/* let others access the write set unseen */
		bool watch;
	} broken;
};

extern struct options options;

/* Reads "name=value". False: not known, or a wrong value. */
bool options_parse(const char *text);

#endif
