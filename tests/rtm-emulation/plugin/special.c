// SPDX-License-Identifier: GPL-2.0
/*
 * Instructions about the transaction itself, those that do nothing here, and those
 * that abort one (Intel SDM volume 1, 17.3.8).
 */
#include "alu.h"
#include "counters.h"
#include "execute.h"

static void read_clock(struct vcpu *vcpu, const struct instruction *in)
{
	uint64_t now;

	if (!vcpu_may_rdtsc(vcpu)) {
		transaction_abort(&vcpu->transaction, RTM_ABORTED_FAULT, 0);
		return;
	}
	now = vcpu_rdtsc(vcpu);
	reg_set(vcpu, in, RAX, 4, now);
	reg_set(vcpu, in, RDX, 4, now >> 32);
}

static void nest(struct vcpu *vcpu)
{
	struct transaction *transaction = &vcpu->transaction;

	if (transaction->depth >= MAX_NESTING)
		transaction_abort(transaction, RTM_ABORTED_NESTING, 0);
	else
		transaction->depth++;
}

/* 0F 01: the ModRM byte is the instruction. */
static bool system_group(struct vcpu *vcpu, const struct instruction *in)
{
	struct transaction *transaction = &vcpu->transaction;

	if (in->mod != 3) { /* LGDT, INVLPG, ... */
		transaction_abort(transaction, RTM_ABORTED_INSTRUCTION, 0);
		return true;
	}
	switch ((in->reg & 7) << 3 | (in->rm & 7)) {
	case 0x15: /* XEND */
		if (--transaction->depth == 0)
			transaction->ended = true;
		return true;
	case 0x16: /* XTEST */
		transaction->now.flags &= ~(uint64_t)STATUS_FLAGS;
		return true;
	case 0x39: /* RDTSCP */
		read_clock(vcpu, in);
		reg_set(vcpu, in, RCX, 4, helper_rdpid(vcpu->env));
		return true;
	case 0x0a:
	case 0x0b:
	case 0x10: /* CLAC, STAC, XGETBV: may be part of one */
		return false;
	default: /* SWAPGS, VMCALL, ... */
		transaction_abort(transaction, RTM_ABORTED_INSTRUCTION, 0);
		return true;
	}
}

/* 0F AE: fences, and what writes cache lines back. */
static bool fence_group(struct vcpu *vcpu, const struct instruction *in)
{
	if (in->repeat)
		return false;
	if (in->mod == 3 && in->reg % 8 >= 5 && !in->prefix66)
		return true;
	transaction_abort(&vcpu->transaction, RTM_ABORTED_INSTRUCTION, 0);
	return true;
}

static bool does_nothing(const struct instruction *in)
{
	switch (in->opcode) {
	case 0x90:
		return in->rm == 0 && in->repeat != 0xf3;
	case TWO + 0x0d: /* PREFETCHW */
	case TWO + 0x18 ... TWO + 0x1f: /* PREFETCHh, ENDBR64, NOP */
		return true;
	default:
		return false;
	}
}

static bool aborts(const struct instruction *in)
{
	switch (in->opcode) {
	case 0x90: /* PAUSE */
		return in->repeat == 0xf3;
	case 0x6c ... 0x6f: /* INS, OUTS */
	case 0x9d: /* POPF */
	case 0xcc ... 0xcf: /* INT3, INT, INTO, IRET */
	case 0xca:
	case 0xcb: /* far RET */
	case 0xd8 ... 0xdf: /* x87 */
	case 0xe4 ... 0xe7:
	case 0xec ... 0xef: /* IN, OUT */
	case 0xf1:
	case 0xf4:
	case 0xfa:
	case 0xfb: /* INT1, HLT, CLI, STI */
	case TWO + 0x00:
	case TWO + 0x05 ... TWO + 0x09: /* LLDT..., SYSCALL, CLTS, ... */
	case TWO + 0x20 ... TWO + 0x23: /* MOV of control and debug registers */
	case TWO + 0x2b: /* MOVNTPS */
	case TWO + 0x30:
	case TWO + 0x32 ... TWO + 0x35: /* WRMSR, RDMSR, RDPMC, SYSENTER */
	case TWO + 0x77: /* EMMS */
	case TWO + 0xa2: /* CPUID */
	case TWO + 0xaa: /* RSM */
	case TWO + 0xc3: /* MOVNTI */
	case TWO + 0xe7: /* MOVNTDQ */
		return true;
	default:
		return false;
	}
}

bool execute_special(struct vcpu *vcpu, const struct instruction *in)
{
	struct transaction *transaction = &vcpu->transaction;

	if (does_nothing(in))
		return true;
	if (aborts(in)) {
		transaction_abort(transaction, RTM_ABORTED_INSTRUCTION, 0);
		return true;
	}
	switch (in->opcode) {
	case TWO + 0x01:
		return system_group(vcpu, in);
	case 0xc6: /* XABORT */
		if (in->mod != 3 || in->reg != 7 || in->rm != 0)
			return false;
		transaction_abort(transaction, RTM_ABORTED_EXPLICIT,
				  STATUS_EXPLICIT | (in->immediate & 0xff)
							    << 24);
		return true;
	case 0xc7: /* XBEGIN */
		if (in->mod != 3 || in->reg != 7 || in->rm != 0)
			return false;
		nest(vcpu);
		return true;
	case TWO + 0x0b: /* UD2 */
		transaction_abort(transaction, RTM_ABORTED_FAULT, 0);
		return true;
	case TWO + 0x31:
		read_clock(vcpu, in);
		return true;
	case TWO + 0xae:
		return fence_group(vcpu, in);
	default:
		return false;
	}
}
