/* SPDX-License-Identifier: GPL-2.0 */
/* Run one instruction of a transaction. */
#ifndef RTM_EXECUTE_H
#define RTM_EXECUTE_H

#include "decode.h"

/* Runs the instruction at the program counter and sets that to the next, or aborts
 * the transaction, or ends it. */
void execute(struct vcpu *vcpu);

/* The parts; false: not theirs. */
bool execute_integer(struct vcpu *vcpu, const struct instruction *in);
bool execute_bits(struct vcpu *vcpu, const struct instruction *in);
bool execute_flow(struct vcpu *vcpu, const struct instruction *in);
bool execute_string(struct vcpu *vcpu, const struct instruction *in);
bool execute_vector(struct vcpu *vcpu, const struct instruction *in);
bool execute_special(struct vcpu *vcpu, const struct instruction *in);

/* Operands. `size` is in bytes. */
uint64_t reg_get(struct vcpu *vcpu, const struct instruction *in,
		 unsigned int n, unsigned int size);
void reg_set(struct vcpu *vcpu, const struct instruction *in, unsigned int n,
	     unsigned int size, uint64_t value);
/* The operand that the ModRM byte names, register or memory. */
uint64_t operand_get(struct vcpu *vcpu, const struct instruction *in,
		     unsigned int size);
void operand_set(struct vcpu *vcpu, const struct instruction *in,
		 unsigned int size, uint64_t value);
uint64_t load(struct vcpu *vcpu, uint64_t address, unsigned int size);
void store(struct vcpu *vcpu, uint64_t address, unsigned int size,
	   uint64_t value);
void push(struct vcpu *vcpu, uint64_t value, unsigned int size);
uint64_t pop(struct vcpu *vcpu, unsigned int size);

#endif
