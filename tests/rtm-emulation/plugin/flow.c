// SPDX-License-Identifier: GPL-2.0
/* The stack, jumps, and flags. */
#include "alu.h"
#include "execute.h"

static void jump(struct vcpu *vcpu, uint64_t to)
{
	vcpu->transaction.now.rip = to;
}

/* Without a prefix stack operands have 8 bytes in 64-bit mode. */
static unsigned int stack_size(const struct instruction *in)
{
	return in->prefix66 && !in->wide ? 2 : 8;
}

/* FF with 2, 4 or 6 in the ModRM byte: near CALL, JMP, PUSH. */
static bool indirect(struct vcpu *vcpu, const struct instruction *in)
{
	uint64_t value;

	switch (in->reg % 8) {
	case 2:
		value = operand_get(vcpu, in, 8);
		push(vcpu, vcpu->transaction.now.rip, 8);
		jump(vcpu, value);
		return true;
	case 4:
		jump(vcpu, operand_get(vcpu, in, 8));
		return true;
	case 6:
		push(vcpu, operand_get(vcpu, in, stack_size(in)),
		     stack_size(in));
		return true;
	default:
		return false;
	}
}

/* E0 to E3: LOOPNE, LOOPE, LOOP, JRCXZ. */
static void loop(struct vcpu *vcpu, const struct instruction *in)
{
	unsigned int size = in->address32 ? 4 : 8;
	uint64_t left = reg_get(vcpu, in, RCX, size);
	bool zero = vcpu->transaction.now.flags & ZF, taken;

	if (in->opcode == 0xe3) {
		taken = !left;
	} else {
		reg_set(vcpu, in, RCX, size, --left);
		taken = left &&
			(in->opcode == 0xe2 || zero == (in->opcode == 0xe1));
	}
	if (taken)
		jump(vcpu, vcpu->transaction.now.rip + in->immediate);
}

static bool flag(struct vcpu *vcpu, const struct instruction *in)
{
	struct registers *now = &vcpu->transaction.now;
	uint64_t *flags = &now->flags;

	switch (in->opcode) {
	case 0x9e:
		*flags = (*flags & ~0xd5ull) |
			 (reg_get(vcpu, in, RAX, 2) >> 8 & 0xd5);
		return true;
	case 0x9f:
		reg_set(vcpu, in, RAX, 2,
			reg_get(vcpu, in, RAX, 1) | (*flags & 0xd5) << 8 |
				0x200);
		return true;
	case 0xf5:
		*flags ^= CF;
		return true;
	case 0xf8:
		*flags &= ~(uint64_t)CF;
		return true;
	case 0xf9:
		*flags |= CF;
		return true;
	case 0xfc:
		*flags &= ~(uint64_t)DF;
		return true;
	case 0xfd:
		*flags |= DF;
		return true;
	default:
		return false;
	}
}

bool execute_flow(struct vcpu *vcpu, const struct instruction *in)
{
	struct registers *now = &vcpu->transaction.now;

	switch (in->opcode) {
	case 0x50 ... 0x57:
		push(vcpu, reg_get(vcpu, in, in->rm, stack_size(in)),
		     stack_size(in));
		return true;
	case 0x58 ... 0x5f:
		reg_set(vcpu, in, in->rm, stack_size(in),
			pop(vcpu, stack_size(in)));
		return true;
	case 0x68:
	case 0x6a:
		push(vcpu, in->immediate, stack_size(in));
		return true;
	case 0x70 ... 0x7f:
	case TWO + 0x80 ... TWO + 0x8f:
		if (alu_condition(in->opcode, now->flags))
			jump(vcpu, now->rip + in->immediate);
		return true;
	case 0x8f:
		/* An address that RSP is part of would be that after the POP. */
		if (in->reg % 8 || (in->mod != 3 && in->rm % 8 == RSP))
			return false;
		operand_set(vcpu, in, stack_size(in),
			    pop(vcpu, stack_size(in)));
		return true;
	case 0x9c:
		push(vcpu, now->flags & ~0x30000ull, stack_size(in));
		return true;
	case 0xc2:
	case 0xc3:
		jump(vcpu, pop(vcpu, 8));
		now->gpr[RSP] += in->opcode == 0xc2 ? (uint16_t)in->immediate :
						      0;
		return true;
	case 0xc9:
		now->gpr[RSP] = now->gpr[RBP];
		now->gpr[RBP] = pop(vcpu, 8);
		return true;
	case 0xe0 ... 0xe3:
		loop(vcpu, in);
		return true;
	case 0xe8:
		push(vcpu, now->rip, 8);
		jump(vcpu, now->rip + in->immediate);
		return true;
	case 0xe9:
	case 0xeb:
		jump(vcpu, now->rip + in->immediate);
		return true;
	case 0xff:
		return indirect(vcpu, in);
	default:
		return flag(vcpu, in);
	}
}
