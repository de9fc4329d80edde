/* SPDX-License-Identifier: GPL-2.0 */
/* Arithmetic with flags, done by the same instructions of the host's CPU. */
#ifndef RTM_ALU_H
#define RTM_ALU_H

#include <stdbool.h>
#include <stdint.h>

enum {
	CF = 0x001,
	PF = 0x004,
	AF = 0x010,
	ZF = 0x040,
	SF = 0x080,
	TF = 0x100,
	IF = 0x200,
	DF = 0x400,
	OF = 0x800
};

#define STATUS_FLAGS (CF | PF | AF | ZF | SF | OF)

/* The operations in the order in which the opcodes number them. */
enum alu_binary {
	ALU_ADD,
	ALU_OR,
	ALU_ADC,
	ALU_SBB,
	ALU_AND,
	ALU_SUB,
	ALU_XOR,
	ALU_CMP
};
enum alu_shift {
	ALU_ROL,
	ALU_ROR,
	ALU_RCL,
	ALU_RCR,
	ALU_SHL,
	ALU_SHR,
	ALU_SAL,
	ALU_SAR
};
enum alu_unary { ALU_INC, ALU_DEC, ALU_NEG };
enum alu_bit { ALU_BT = 4, ALU_BTS, ALU_BTR, ALU_BTC };

/* `size` is in bytes: 1, 2, 4 or 8. Results are cut to it. */
uint64_t alu_binary(enum alu_binary op, uint64_t a, uint64_t b,
		    unsigned int size, uint64_t *flags);
uint64_t alu_shift(enum alu_shift op, uint64_t a, uint8_t count,
		   unsigned int size, uint64_t *flags);
uint64_t alu_unary(enum alu_unary op, uint64_t a, unsigned int size,
		   uint64_t *flags);
uint64_t alu_bit(enum alu_bit op, uint64_t a, unsigned int bit,
		 uint64_t *flags);
/* SHLD, or SHRD if `right`. */
uint64_t alu_double_shift(bool right, uint64_t a, uint64_t b, uint8_t count,
			  unsigned int size, uint64_t *flags);
/* BSF, or BSR if `reverse`; the counts TZCNT and LZCNT; POPCNT. */
uint64_t alu_scan(bool reverse, uint64_t old, uint64_t a, unsigned int size,
		  uint64_t *flags);
uint64_t alu_count(bool reverse, uint64_t a, unsigned int size,
		   uint64_t *flags);
uint64_t alu_population(uint64_t a, uint64_t *flags);
/* a * b; what does not fit goes to *high. */
uint64_t alu_multiply(bool is_signed, uint64_t a, uint64_t b, unsigned int size,
		      uint64_t *high, uint64_t *flags);
/* high:low / by. False: the CPU would fault. */
bool alu_divide(bool is_signed, uint64_t high, uint64_t low, uint64_t by,
		unsigned int size, uint64_t *quotient, uint64_t *remainder);

uint64_t alu_cut(uint64_t value, unsigned int size);
int64_t alu_extend(uint64_t value, unsigned int size);
/* The condition that the low four bits of Jcc, SETcc and CMOVcc name. */
bool alu_condition(unsigned int condition, uint64_t flags);

#endif
