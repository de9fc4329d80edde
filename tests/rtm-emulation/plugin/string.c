// SPDX-License-Identifier: GPL-2.0
/* MOVS, CMPS, STOS, LODS, SCAS and their repetition. */
#include "alu.h"
#include "execute.h"

static void advance(struct vcpu *vcpu, unsigned int reg, unsigned int size)
{
	struct registers *now = &vcpu->transaction.now;

	now->gpr[reg] += now->flags & DF ? -(uint64_t)size : size;
}

/* One step. `op` is the opcode without its lowest bit. */
static void step(struct vcpu *vcpu, const struct instruction *in,
		 unsigned int op, unsigned int size)
{
	struct registers *now = &vcpu->transaction.now;
	uint64_t source = now->gpr[RSI] + in->segment, target = now->gpr[RDI];

	switch (op) {
	case 0xa4:
		store(vcpu, target, size, load(vcpu, source, size));
		break;
	case 0xa6:
		alu_binary(ALU_CMP, load(vcpu, source, size),
			   load(vcpu, target, size), size, &now->flags);
		break;
	case 0xaa:
		store(vcpu, target, size, now->gpr[RAX]);
		break;
	case 0xac:
		reg_set(vcpu, in, RAX, size, load(vcpu, source, size));
		break;
	case 0xae:
		alu_binary(ALU_CMP, now->gpr[RAX], load(vcpu, target, size),
			   size, &now->flags);
		break;
	}
	if (op == 0xa4 || op == 0xa6 || op == 0xac)
		advance(vcpu, RSI, size);
	if (op != 0xac)
		advance(vcpu, RDI, size);
}

bool execute_string(struct vcpu *vcpu, const struct instruction *in)
{
	struct registers *now = &vcpu->transaction.now;
	unsigned int op = in->opcode & ~1u,
		     size = in->opcode & 1 ? in->size : 1;
	bool compares = op == 0xa6 || op == 0xae;

	if (op != 0xa4 && op != 0xa6 && op != 0xaa && op != 0xac && op != 0xae)
		return false;
	/* 32-bit addresses in 64-bit code: no compiler makes that. */
	if (in->address32)
		return false;
	if (!in->repeat) {
		step(vcpu, in, op, size);
		return true;
	}
	while (now->gpr[RCX] && !vcpu->transaction.aborted) {
		step(vcpu, in, op, size);
		now->gpr[RCX]--;
		if (compares && !(now->flags & ZF) == (in->repeat == 0xf3))
			break;
	}
	return true;
}
