// SPDX-License-Identifier: GPL-2.0
/* Moves and arithmetic. */
#include "alu.h"
#include "execute.h"

static uint64_t *flags_of(struct vcpu *vcpu)
{
	return &vcpu->transaction.now.flags;
}

/* 00 to 3F: the operation in bits 5:3, the form of the operands in 2:0. */
static void binary_form(struct vcpu *vcpu, const struct instruction *in)
{
	enum alu_binary op = in->opcode >> 3 & 7;
	unsigned int form = in->opcode & 7, size = form & 1 ? in->size : 1;
	uint64_t reg = form < 4 ? reg_get(vcpu, in, in->reg, size) : 0;
	uint64_t rm = form < 4 ? operand_get(vcpu, in, size) : 0;
	uint64_t result;

	if (form < 2) {
		result = alu_binary(op, rm, reg, size, flags_of(vcpu));
		if (op != ALU_CMP)
			operand_set(vcpu, in, size, result);
	} else if (form < 4) {
		result = alu_binary(op, reg, rm, size, flags_of(vcpu));
		if (op != ALU_CMP)
			reg_set(vcpu, in, in->reg, size, result);
	} else {
		result = alu_binary(op, reg_get(vcpu, in, RAX, size),
				    in->immediate, size, flags_of(vcpu));
		if (op != ALU_CMP)
			reg_set(vcpu, in, RAX, size, result);
	}
}

/* 80, 81, 83 */
static void binary_immediate(struct vcpu *vcpu, const struct instruction *in)
{
	enum alu_binary op = in->reg & 7;
	unsigned int size = in->opcode == 0x80 ? 1 : in->size;
	uint64_t result = alu_binary(op, operand_get(vcpu, in, size),
				     in->immediate, size, flags_of(vcpu));

	if (op != ALU_CMP)
		operand_set(vcpu, in, size, result);
}

/* F6, F7 with 4 to 7 in the ModRM byte: by and into DX:AX, or AX for bytes. */
static void multiply_or_divide(struct vcpu *vcpu, const struct instruction *in,
			       unsigned int size)
{
	bool divide = in->reg & 2, is_signed = in->reg & 1;
	/* AH is where bytes have what others have in DX. */
	unsigned int top = size == 1 ? RSP : RDX;
	struct instruction plain = *in;
	uint64_t by = operand_get(vcpu, in, size), low, high;

	plain.rex = false;
	low = reg_get(vcpu, &plain, RAX, size);
	if (!divide) {
		low = alu_multiply(is_signed, low, by, size, &high,
				   flags_of(vcpu));
	} else if (!alu_divide(is_signed, reg_get(vcpu, &plain, top, size), low,
			       by, size, &low, &high)) {
		transaction_abort(&vcpu->transaction, RTM_ABORTED_FAULT, 0);
		return;
	}
	reg_set(vcpu, &plain, RAX, size, low);
	reg_set(vcpu, &plain, top, size, high);
}

/* F6, F7 */
static void unary_group(struct vcpu *vcpu, const struct instruction *in)
{
	unsigned int size = in->opcode == 0xf6 ? 1 : in->size;
	uint64_t value;

	if (in->reg % 8 >= 4) {
		multiply_or_divide(vcpu, in, size);
		return;
	}
	value = operand_get(vcpu, in, size);
	if (in->reg % 8 == 2)
		operand_set(vcpu, in, size, ~value);
	else if (in->reg % 8 == 3)
		operand_set(vcpu, in, size,
			    alu_unary(ALU_NEG, value, size, flags_of(vcpu)));
	else
		alu_binary(ALU_AND, value, in->immediate, size, flags_of(vcpu));
}

static void increment(struct vcpu *vcpu, const struct instruction *in)
{
	unsigned int size = in->opcode == 0xfe ? 1 : in->size;
	enum alu_unary op = in->reg % 8 ? ALU_DEC : ALU_INC;

	operand_set(vcpu, in, size,
		    alu_unary(op, operand_get(vcpu, in, size), size,
			      flags_of(vcpu)));
}

static void exchange(struct vcpu *vcpu, const struct instruction *in,
		     unsigned int size)
{
	uint64_t reg = reg_get(vcpu, in, in->reg, size);

	reg_set(vcpu, in, in->reg, size, operand_get(vcpu, in, size));
	operand_set(vcpu, in, size, reg);
}

/* 98 and 99: sign-extend within RAX, or into RDX. */
static void extend(struct vcpu *vcpu, const struct instruction *in)
{
	uint64_t value = reg_get(vcpu, in, RAX, in->size);

	if (in->opcode == 0x98)
		reg_set(vcpu, in, RAX, in->size,
			alu_extend(value, in->size / 2));
	else
		reg_set(vcpu, in, RDX, in->size,
			alu_extend(value, in->size) >> 63);
}

/* A0 to A3: RAX and an address in the instruction. */
static void move_absolute(struct vcpu *vcpu, const struct instruction *in)
{
	unsigned int size = in->opcode & 1 ? in->size : 1;
	uint64_t address = in->address32 ? (uint32_t)in->immediate :
					   in->immediate;

	address += in->segment;
	if (in->opcode & 2)
		store(vcpu, address, size, reg_get(vcpu, in, RAX, size));
	else
		reg_set(vcpu, in, RAX, size, load(vcpu, address, size));
}

static void multiply_two(struct vcpu *vcpu, const struct instruction *in)
{
	uint64_t a = operand_get(vcpu, in, in->size), high;
	uint64_t b = in->opcode < TWO ? in->immediate :
					reg_get(vcpu, in, in->reg, in->size);

	reg_set(vcpu, in, in->reg, in->size,
		alu_multiply(true, a, b, in->size, &high, flags_of(vcpu)));
}

static bool one_byte(struct vcpu *vcpu, const struct instruction *in)
{
	unsigned int op = in->opcode, byte_or_size = op & 1 ? in->size : 1;

	if (op < 0x40 && (op & 7) < 6) {
		binary_form(vcpu, in);
		return true;
	}
	switch (op) {
	case 0x63:
		reg_set(vcpu, in, in->reg, in->size,
			alu_extend(operand_get(vcpu, in, 4), 4));
		return true;
	case 0x69:
	case 0x6b:
		multiply_two(vcpu, in);
		return true;
	case 0x80:
	case 0x81:
	case 0x83:
		binary_immediate(vcpu, in);
		return true;
	case 0x84:
	case 0x85:
		alu_binary(ALU_AND, operand_get(vcpu, in, byte_or_size),
			   reg_get(vcpu, in, in->reg, byte_or_size),
			   byte_or_size, flags_of(vcpu));
		return true;
	case 0x86:
	case 0x87:
		exchange(vcpu, in, byte_or_size);
		return true;
	case 0x88:
	case 0x89:
		operand_set(vcpu, in, byte_or_size,
			    reg_get(vcpu, in, in->reg, byte_or_size));
		return true;
	case 0x8a:
	case 0x8b:
		reg_set(vcpu, in, in->reg, byte_or_size,
			operand_get(vcpu, in, byte_or_size));
		return true;
	case 0x8d:
		if (in->mod == 3)
			return false;
		reg_set(vcpu, in, in->reg, in->size, in->address - in->segment);
		return true;
	case 0x90 ... 0x97: {
		uint64_t rax = reg_get(vcpu, in, RAX, in->size);

		reg_set(vcpu, in, RAX, in->size,
			reg_get(vcpu, in, in->rm, in->size));
		reg_set(vcpu, in, in->rm, in->size, rax);
		return true;
	}
	case 0x98:
	case 0x99:
		extend(vcpu, in);
		return true;
	case 0xa0 ... 0xa3:
		move_absolute(vcpu, in);
		return true;
	case 0xa8:
	case 0xa9:
		alu_binary(ALU_AND, reg_get(vcpu, in, RAX, byte_or_size),
			   in->immediate, byte_or_size, flags_of(vcpu));
		return true;
	case 0xb0 ... 0xb7:
		reg_set(vcpu, in, in->rm, 1, in->immediate);
		return true;
	case 0xb8 ... 0xbf:
		reg_set(vcpu, in, in->rm, in->size, in->immediate);
		return true;
	case 0xc6:
	case 0xc7:
		if (in->reg % 8)
			return false;
		operand_set(vcpu, in, byte_or_size, in->immediate);
		return true;
	case 0xf6:
	case 0xf7:
		unary_group(vcpu, in);
		return true;
	case 0xfe:
	case 0xff:
		if (in->reg % 8 > 1)
			return false;
		increment(vcpu, in);
		return true;
	default:
		return false;
	}
}

/* CMPXCHG; what is compared is RAX. */
static void compare_exchange(struct vcpu *vcpu, const struct instruction *in)
{
	unsigned int size = in->opcode & 1 ? in->size : 1;
	uint64_t old = operand_get(vcpu, in, size);

	alu_binary(ALU_CMP, reg_get(vcpu, in, RAX, size), old, size,
		   flags_of(vcpu));
	if (*flags_of(vcpu) & ZF)
		operand_set(vcpu, in, size, reg_get(vcpu, in, in->reg, size));
	else
		reg_set(vcpu, in, RAX, size, old);
}

/* CMPXCHG8B and CMPXCHG16B: RDX:RAX is compared, RCX:RBX is stored. */
static void compare_exchange_two(struct vcpu *vcpu,
				 const struct instruction *in)
{
	unsigned int size = in->wide ? 8 : 4;
	uint64_t low = load(vcpu, in->address, size);
	uint64_t high = load(vcpu, in->address + size, size);

	if (low == reg_get(vcpu, in, RAX, size) &&
	    high == reg_get(vcpu, in, RDX, size)) {
		store(vcpu, in->address, size, reg_get(vcpu, in, RBX, size));
		store(vcpu, in->address + size, size,
		      reg_get(vcpu, in, RCX, size));
		*flags_of(vcpu) |= ZF;
	} else {
		reg_set(vcpu, in, RAX, size, low);
		reg_set(vcpu, in, RDX, size, high);
		*flags_of(vcpu) &= ~(uint64_t)ZF;
	}
}

static void exchange_add(struct vcpu *vcpu, const struct instruction *in)
{
	unsigned int size = in->opcode & 1 ? in->size : 1;
	uint64_t old = operand_get(vcpu, in, size);
	uint64_t sum = alu_binary(ALU_ADD, old,
				  reg_get(vcpu, in, in->reg, size), size,
				  flags_of(vcpu));

	reg_set(vcpu, in, in->reg, size, old);
	operand_set(vcpu, in, size, sum);
}

static bool two_bytes(struct vcpu *vcpu, const struct instruction *in)
{
	unsigned int op = in->opcode - TWO;

	switch (op) {
	case 0x40 ... 0x4f: {
		uint64_t value = operand_get(vcpu, in, in->size);

		/* A register of 32 bits loses its upper half either way. */
		if (!alu_condition(op, *flags_of(vcpu)))
			value = reg_get(vcpu, in, in->reg, in->size);
		reg_set(vcpu, in, in->reg, in->size, value);
		return true;
	}
	case 0x90 ... 0x9f:
		operand_set(vcpu, in, 1, alu_condition(op, *flags_of(vcpu)));
		return true;
	case 0xaf:
		multiply_two(vcpu, in);
		return true;
	case 0xb0:
	case 0xb1:
		compare_exchange(vcpu, in);
		return true;
	case 0xb6:
	case 0xb7:
		reg_set(vcpu, in, in->reg, in->size,
			operand_get(vcpu, in, op & 1 ? 2 : 1));
		return true;
	case 0xbe:
	case 0xbf:
		reg_set(vcpu, in, in->reg, in->size,
			alu_extend(operand_get(vcpu, in, op & 1 ? 2 : 1),
				   op & 1 ? 2 : 1));
		return true;
	case 0xc0:
	case 0xc1:
		exchange_add(vcpu, in);
		return true;
	case 0xc7:
		if (in->mod == 3 || in->reg % 8 != 1)
			return false;
		compare_exchange_two(vcpu, in);
		return true;
	case 0xc8 ... 0xcf: {
		uint64_t value =
			__builtin_bswap64(reg_get(vcpu, in, in->rm, in->size));

		reg_set(vcpu, in, in->rm, in->size,
			value >> (64 - 8 * in->size));
		return true;
	}
	default:
		return false;
	}
}

bool execute_integer(struct vcpu *vcpu, const struct instruction *in)
{
	return in->opcode < TWO ? one_byte(vcpu, in) : two_bytes(vcpu, in);
}
