/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A transaction. From XBEGIN to its end it is interpreted here, in one go, by the
 * thread of its CPU: none of its instructions is run by QEMU, so no store can reach
 * memory but by the commit, and nothing interrupts it but what is asked for.
 */
#ifndef RTM_TRANSACTION_H
#define RTM_TRANSACTION_H

#include "../control.h"
#include "guard.h"
#include "inject.h"
#include "lines.h"

#include <stdbool.h>
#include <stdint.h>

/* The status in EAX after an abort. */
enum {
	STATUS_EXPLICIT = 1,
	STATUS_RETRY = 2,
	STATUS_CONFLICT = 4,
	STATUS_CAPACITY = 8,
	STATUS_DEBUG = 16,
	STATUS_NESTED = 32
};

#define MAX_NESTING 7

struct registers {
	uint64_t gpr[16], rip, flags;
};

/* A page that was looked up. */
struct translation {
	uint64_t page;
	uint8_t *host;
	bool writable;
	uint32_t generation;
};

#define TRANSLATIONS 256

struct transaction {
	struct registers now, before;
	/* Where it goes on after an abort. */
	uint64_t fallback;
	unsigned int depth;
	/* XEND has ended the outermost one. */
	bool ended;
	/* Set: it is aborted, for this cause, with this status. */
	bool aborted;
	enum rtm_counter cause;
	uint32_t status;
	/* Instructions since XBEGIN. */
	uint64_t executed;
	int64_t began_ns;
	struct lines lines;
	struct guard guard;
	/* The line to be compared next. */
	size_t compare;
	struct translation translations[TRANSLATIONS];
	struct translation code;
	uint32_t generation;
	uint64_t xmm[16][2];
	bool xmm_read;
	uint16_t xmm_written;
	struct injection injection;
};

struct vcpu;

void transaction_init(struct transaction *transaction);
/* XBEGIN has been met; `length` is that of the instruction. Does not return. */
void transaction_run(struct vcpu *vcpu, unsigned int length, int64_t target)
	__attribute__((noreturn));
/* The first cause counts. */
void transaction_abort(struct transaction *transaction, enum rtm_counter cause,
		       uint32_t status);

#endif
