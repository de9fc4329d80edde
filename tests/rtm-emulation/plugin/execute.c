// SPDX-License-Identifier: GPL-2.0
#include "execute.h"
#include "counters.h"
#include "memory.h"

#include <stdio.h>

static void unsupported(struct vcpu *vcpu)
{
	struct transaction *transaction = &vcpu->transaction;
	uint64_t at = transaction->now.rip;
	char bytes[3 * 8 + 1] = "";

	for (int n = 0; n < 8 && !transaction->aborted; n++)
		snprintf(bytes + 3 * n, 4, "%02x ", memory_fetch(vcpu, at + n));
	/* It may have been a fault that the instruction is not whole. */
	if (transaction->aborted)
		return;
	transaction_abort(transaction, RTM_ABORTED_UNSUPPORTED, 0);
	count(RTM_UNSUPPORTED);
	report_note("unsupported in a transaction, at 0x%llx: %s",
		    (unsigned long long)at, bytes);
}

void execute(struct vcpu *vcpu)
{
	struct transaction *transaction = &vcpu->transaction;
	uint64_t at = transaction->now.rip;
	struct instruction in;
	bool known;

	if (!decode(vcpu, &in)) {
		if (!transaction->aborted)
			unsupported(vcpu);
		return;
	}
	transaction->now.rip += in.length;
	known = execute_special(vcpu, &in) || execute_integer(vcpu, &in) ||
		execute_flow(vcpu, &in) || execute_bits(vcpu, &in) ||
		execute_string(vcpu, &in) || execute_vector(vcpu, &in);
	if (!known) {
		transaction->now.rip = at;
		unsupported(vcpu);
	}
}
