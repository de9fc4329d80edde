// SPDX-License-Identifier: GPL-2.0
#include "alu.h"
#include "execute.h"
#include "memory.h"

/* Without a REX prefix, 4 to 7 are AH, CH, DH and BH. */
static bool is_high_byte(const struct instruction *in, unsigned int n,
			 unsigned int size)
{
	return size == 1 && !in->rex && n >= 4 && n < 8;
}

uint64_t reg_get(struct vcpu *vcpu, const struct instruction *in,
		 unsigned int n, unsigned int size)
{
	const uint64_t *gpr = vcpu->transaction.now.gpr;

	if (is_high_byte(in, n, size))
		return gpr[n - 4] >> 8 & 0xff;
	return alu_cut(gpr[n], size);
}

void reg_set(struct vcpu *vcpu, const struct instruction *in, unsigned int n,
	     unsigned int size, uint64_t value)
{
	uint64_t *gpr = vcpu->transaction.now.gpr;

	if (is_high_byte(in, n, size))
		gpr[n - 4] = (gpr[n - 4] & ~0xff00ull) | (value & 0xff) << 8;
	else if (size < 4)
		gpr[n] = (gpr[n] & ~alu_cut(~0ull, size)) |
			 alu_cut(value, size);
	else
		gpr[n] = alu_cut(value, size);
}

uint64_t load(struct vcpu *vcpu, uint64_t address, unsigned int size)
{
	uint64_t value = 0;

	memory_read(vcpu, address, &value, size);
	return value;
}

void store(struct vcpu *vcpu, uint64_t address, unsigned int size,
	   uint64_t value)
{
	memory_write(vcpu, address, &value, size);
}

uint64_t operand_get(struct vcpu *vcpu, const struct instruction *in,
		     unsigned int size)
{
	if (in->mod == 3)
		return reg_get(vcpu, in, in->rm, size);
	return load(vcpu, in->address, size);
}

void operand_set(struct vcpu *vcpu, const struct instruction *in,
		 unsigned int size, uint64_t value)
{
	if (in->mod == 3)
		reg_set(vcpu, in, in->rm, size, value);
	else
		store(vcpu, in->address, size, value);
}

void push(struct vcpu *vcpu, uint64_t value, unsigned int size)
{
	vcpu->transaction.now.gpr[RSP] -= size;
	store(vcpu, vcpu->transaction.now.gpr[RSP], size, value);
}

uint64_t pop(struct vcpu *vcpu, unsigned int size)
{
	uint64_t value = load(vcpu, vcpu->transaction.now.gpr[RSP], size);

	vcpu->transaction.now.gpr[RSP] += size;
	return value;
}
