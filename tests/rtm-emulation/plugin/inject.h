/* SPDX-License-Identifier: GPL-2.0 */
/* Aborts and delays that were asked for (control.h). */
#ifndef RTM_INJECT_H
#define RTM_INJECT_H

#include <stdbool.h>
#include <stdint.h>

/* What was drawn for one transaction, at its XBEGIN. */
struct injection {
	/* The filter lets it pass. */
	bool chosen;
	bool abort, delay;
	/* Before which instruction; 0: before XEND. */
	uint64_t abort_at, delay_at;
	uint32_t status;
	uint64_t delay_ns;
};

struct vcpu;

void inject_filter(uint64_t low, uint64_t high, uint64_t cpu, bool kernel);
void inject_spurious(uint64_t probability, uint64_t seed, uint32_t status,
		     uint64_t span);
void inject_abort(uint64_t at, uint32_t status, uint64_t transactions);
void inject_delay(uint64_t at, uint64_t ns, uint64_t transactions);
/* How many aborts and delays were still to come. */
uint64_t inject_clear(void);
/* Instructions of the last transaction that the filter let pass. */
uint64_t inject_last(void);

/* For a transaction that begins at `address`. */
struct injection inject_draw(const struct vcpu *vcpu, uint64_t address);
/* One that was drawn for has committed. */
void inject_committed(const struct injection *injection, uint64_t instructions);

#endif
