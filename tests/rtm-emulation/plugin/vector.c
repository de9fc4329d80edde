// SPDX-License-Identifier: GPL-2.0
/* The few SSE instructions that compilers copy and clear memory with. */
#include "execute.h"
#include "memory.h"

#include <string.h>

static uint64_t *xmm(struct vcpu *vcpu, unsigned int n, bool write)
{
	struct transaction *transaction = &vcpu->transaction;

	if (!transaction->xmm_read) {
		vcpu_read_xmm(vcpu, transaction->xmm);
		transaction->xmm_read = true;
		transaction->xmm_written = 0;
	}
	if (write)
		transaction->xmm_written |= 1u << n;
	return transaction->xmm[n];
}

/* From the operand of the ModRM byte, `size` bytes. */
static void get(struct vcpu *vcpu, const struct instruction *in,
		uint64_t value[2], unsigned int size)
{
	memset(value, 0, 16);
	if (in->mod == 3)
		memcpy(value, xmm(vcpu, in->rm, false), size);
	else
		memory_read(vcpu, in->address, value, size);
}

static void put(struct vcpu *vcpu, const struct instruction *in,
		const uint64_t value[2], unsigned int size)
{
	if (in->mod == 3)
		memcpy(xmm(vcpu, in->rm, true), value, size);
	else
		memory_write(vcpu, in->address, value, size);
}

static bool is_aligned(struct vcpu *vcpu, const struct instruction *in)
{
	if (in->mod == 3 || in->address % 16 == 0)
		return true;
	transaction_abort(&vcpu->transaction, RTM_ABORTED_FAULT, 0);
	return false;
}

static bool move(struct vcpu *vcpu, const struct instruction *in, bool aligned,
		 bool to_memory)
{
	uint64_t value[2];

	if (aligned && !is_aligned(vcpu, in))
		return true;
	if (to_memory) {
		put(vcpu, in, xmm(vcpu, in->reg, false), 16);
	} else {
		get(vcpu, in, value, 16);
		memcpy(xmm(vcpu, in->reg, true), value, 16);
	}
	return true;
}

static bool exclusive_or(struct vcpu *vcpu, const struct instruction *in)
{
	uint64_t value[2], *to = xmm(vcpu, in->reg, true);

	if (!is_aligned(vcpu, in))
		return true;
	get(vcpu, in, value, 16);
	to[0] ^= value[0];
	to[1] ^= value[1];
	return true;
}

/* MOVD and MOVQ between a general and an XMM register. */
static bool move_general(struct vcpu *vcpu, const struct instruction *in,
			 bool to_general)
{
	unsigned int size = in->wide ? 8 : 4;
	uint64_t *at = xmm(vcpu, in->reg, !to_general);

	if (to_general) {
		operand_set(vcpu, in, size, at[0]);
	} else {
		at[0] = operand_get(vcpu, in, size);
		at[1] = 0;
	}
	return true;
}

/* MOVQ: the lower half. */
static bool move_half(struct vcpu *vcpu, const struct instruction *in,
		      bool to_memory)
{
	uint64_t value[2] = { 0 };

	if (!to_memory) {
		get(vcpu, in, value, 8);
		memcpy(xmm(vcpu, in->reg, true), value, 16);
		return true;
	}
	value[0] = xmm(vcpu, in->reg, false)[0];
	put(vcpu, in, value, in->mod == 3 ? 16 : 8);
	return true;
}

bool execute_vector(struct vcpu *vcpu, const struct instruction *in)
{
	bool single = in->repeat == 0xf3, plain = !in->repeat;

	switch (in->opcode) {
	case TWO + 0x10:
	case TWO + 0x11:
		return plain && move(vcpu, in, false, in->opcode & 1);
	case TWO + 0x28:
	case TWO + 0x29:
		return plain && move(vcpu, in, true, in->opcode & 1);
	case TWO + 0x6f:
		return (single || (plain && in->prefix66)) &&
		       move(vcpu, in, plain, false);
	case TWO + 0x7f:
		return (single || (plain && in->prefix66)) &&
		       move(vcpu, in, plain, true);
	case TWO + 0x57:
		return plain && exclusive_or(vcpu, in);
	case TWO + 0xef:
		return plain && in->prefix66 && exclusive_or(vcpu, in);
	case TWO + 0x6e:
		return plain && in->prefix66 && move_general(vcpu, in, false);
	case TWO + 0x7e:
		if (single)
			return move_half(vcpu, in, false);
		return plain && in->prefix66 && move_general(vcpu, in, true);
	case TWO + 0xd6:
		return plain && in->prefix66 && move_half(vcpu, in, true);
	default:
		return false;
	}
}
