// SPDX-License-Identifier: GPL-2.0
/* Shifts, and single bits. */
#include "alu.h"
#include "execute.h"

/* C0, C1, D0 to D3 */
static void shift(struct vcpu *vcpu, const struct instruction *in)
{
	unsigned int size = in->opcode & 1 ? in->size : 1;
	uint8_t count = in->opcode < 0xd0 ? in->immediate :
			in->opcode < 0xd2 ? 1 :
					    vcpu->transaction.now.gpr[RCX];
	uint64_t value = operand_get(vcpu, in, size);

	operand_set(vcpu, in, size,
		    alu_shift(in->reg & 7, value, count & (size == 8 ? 63 : 31),
			      size, &vcpu->transaction.now.flags));
}

static void double_shift(struct vcpu *vcpu, const struct instruction *in)
{
	bool right = in->opcode & 8;
	uint8_t count = in->opcode & 1 ? vcpu->transaction.now.gpr[RCX] :
					 in->immediate;
	uint64_t value = operand_get(vcpu, in, in->size);

	operand_set(vcpu, in, in->size,
		    alu_double_shift(right, value,
				     reg_get(vcpu, in, in->reg, in->size),
				     count & (in->size == 8 ? 63 : 31),
				     in->size, &vcpu->transaction.now.flags));
}

/* BT and its kin. A number in a register may point to another word in memory. */
static void bit(struct vcpu *vcpu, const struct instruction *in)
{
	bool immediate = in->opcode == TWO + 0xba;
	enum alu_bit op = immediate ? in->reg & 7 : in->opcode >> 3 & 7;
	int64_t number =
		immediate ? (int64_t)in->immediate :
			    alu_extend(reg_get(vcpu, in, in->reg, in->size),
				       in->size);
	struct instruction at = *in;
	uint64_t value;

	if (in->mod != 3 && !immediate)
		at.address += (number >> (in->size == 8 ? 6 :
					  in->size == 4 ? 5 :
							  4)) *
			      in->size;
	number &= 8 * in->size - 1;
	value = operand_get(vcpu, &at, in->size);
	value = alu_bit(op, value, number, &vcpu->transaction.now.flags);
	if (op != ALU_BT)
		operand_set(vcpu, &at, in->size, value);
}

static void scan(struct vcpu *vcpu, const struct instruction *in)
{
	bool reverse = in->opcode & 1;
	uint64_t value = operand_get(vcpu, in, in->size);
	uint64_t *flags = &vcpu->transaction.now.flags;

	if (in->repeat == 0xf3)
		value = alu_count(reverse, value, in->size, flags);
	else
		value = alu_scan(reverse, reg_get(vcpu, in, in->reg, in->size),
				 value, in->size, flags);
	reg_set(vcpu, in, in->reg, in->size, value);
}

bool execute_bits(struct vcpu *vcpu, const struct instruction *in)
{
	switch (in->opcode) {
	case 0xc0:
	case 0xc1:
	case 0xd0 ... 0xd3:
		shift(vcpu, in);
		return true;
	case TWO + 0xa3:
	case TWO + 0xab:
	case TWO + 0xb3:
	case TWO + 0xbb:
		bit(vcpu, in);
		return true;
	case TWO + 0xba:
		if (in->reg % 8 < 4)
			return false;
		bit(vcpu, in);
		return true;
	case TWO + 0xa4:
	case TWO + 0xa5:
	case TWO + 0xac:
	case TWO + 0xad:
		double_shift(vcpu, in);
		return true;
	case TWO + 0xb8:
		if (in->repeat != 0xf3)
			return false;
		reg_set(vcpu, in, in->reg, in->size,
			alu_population(operand_get(vcpu, in, in->size),
				       &vcpu->transaction.now.flags));
		return true;
	case TWO + 0xbc:
	case TWO + 0xbd:
		scan(vcpu, in);
		return true;
	default:
		return false;
	}
}
