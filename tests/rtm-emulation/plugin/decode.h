/* SPDX-License-Identifier: GPL-2.0 */
/* Instructions of 64-bit code (Intel SDM volume 2, chapter 2). */
#ifndef RTM_DECODE_H
#define RTM_DECODE_H

#include "vcpu.h"

/* Opcodes after the byte 0F are numbered from here. */
#define TWO 0x100

struct instruction {
	unsigned int length;
	unsigned int opcode;
	/* 0, F2 or F3. */
	uint8_t repeat;
	bool prefix66, address32, rex, wide;
	/* Of the operands, in bytes: 2, 4 or 8. */
	unsigned int size;
	bool has_modrm;
	/* `mod` 3: the operand is register `rm`, else the memory at `address`. */
	unsigned int mod, reg, rm;
	uint64_t address;
	uint64_t segment;
	/* Sign-extended. */
	uint64_t immediate;
};

/* Decode what is at the program counter. False: it can not be decoded, or a fault
 * (then the transaction is aborted). */
bool decode(struct vcpu *vcpu, struct instruction *in);

#endif
