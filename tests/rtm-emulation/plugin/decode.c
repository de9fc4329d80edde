// SPDX-License-Identifier: GPL-2.0
#include "decode.h"
#include "alu.h"
#include "memory.h"

#include <string.h>

#define LONGEST 15

static uint8_t next(struct vcpu *vcpu, struct instruction *in)
{
	return memory_fetch(vcpu, vcpu->transaction.now.rip + in->length++);
}

static uint64_t next_signed(struct vcpu *vcpu, struct instruction *in,
			    unsigned int size)
{
	uint64_t value = 0;

	for (unsigned int n = 0; n < size; n++)
		value |= (uint64_t)next(vcpu, in) << 8 * n;
	return size ? alu_extend(value, size) : 0;
}

/* Whether it was a prefix. */
static bool prefix(struct vcpu *vcpu, struct instruction *in, uint8_t byte)
{
	switch (byte) {
	case 0x66:
		in->prefix66 = true;
		return true;
	case 0x67:
		in->address32 = true;
		return true;
	case 0xf2:
	case 0xf3:
		in->repeat = byte;
		return true;
	case 0x64:
		in->segment = vcpu_read(vcpu, NAME_FS_BASE);
		return true;
	case 0x65:
		in->segment = vcpu_read(vcpu, NAME_GS_BASE);
		return true;
	/* LOCK: a transaction is atomic as it is. The others mean nothing here. */
	case 0xf0:
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
		return true;
	default:
		return false;
	}
}

static bool one_byte_modrm(unsigned int op)
{
	if (op < 0x40)
		return (op & 7) < 4;
	return op == 0x63 || op == 0x69 || op == 0x6b ||
	       (op >= 0x80 && op < 0x90) || op == 0xc0 || op == 0xc1 ||
	       op == 0xc6 || op == 0xc7 || (op >= 0xd0 && op < 0xd4) ||
	       op == 0xf6 || op == 0xf7 || op >= 0xfe;
}

static bool two_byte_modrm(unsigned int op)
{
	return !(op >= 0x05 && op <= 0x0b) && !(op >= 0x30 && op <= 0x37) &&
	       op != 0x77 && !(op >= 0x80 && op < 0x90) &&
	       !(op >= 0xa0 && op <= 0xa2) && !(op >= 0xa8 && op <= 0xaa) &&
	       !(op >= 0xc8 && op <= 0xcf);
}

/* Bytes of the immediate operand. */
static unsigned int immediate(const struct instruction *in)
{
	unsigned int op = in->opcode, most4 = in->size == 2 ? 2 : 4;

	if (op < 0x40)
		return (op & 7) == 4 ? 1 : (op & 7) == 5 ? most4 : 0;
	switch (op) {
	case 0x68:
	case 0x69:
	case 0x81:
	case 0xa9:
	case 0xc7:
		return most4;
	case 0x6a:
	case 0x6b:
	case 0x80:
	case 0x83:
	case 0xa8:
	case 0xc0:
	case 0xc1:
	case 0xc6:
	case 0xcd:
	case 0xeb:
	case 0x70 ... 0x7f:
	case 0xb0 ... 0xb7:
	case 0xe0 ... 0xe7:
	case TWO + 0x70 ... TWO + 0x73:
	case TWO + 0xa4:
	case TWO + 0xac:
	case TWO + 0xba:
	case TWO + 0xc2:
	case TWO + 0xc4 ... TWO + 0xc6:
		return 1;
	case 0xb8 ... 0xbf:
		return in->size;
	case 0xa0 ... 0xa3:
		return in->address32 ? 4 : 8;
	case 0xc2:
		return 2;
	case 0xe8:
	case 0xe9:
	case TWO + 0x80 ... TWO + 0x8f:
		return 4;
	case 0xf6:
		return in->reg % 8 < 2 ? 1 : 0;
	case 0xf7:
		return in->reg % 8 < 2 ? most4 : 0;
	default:
		return 0;
	}
}

static uint64_t scaled(struct vcpu *vcpu, struct instruction *in, uint8_t rex,
		       bool *no_base)
{
	const uint64_t *gpr = vcpu->transaction.now.gpr;
	uint8_t sib = next(vcpu, in);
	unsigned int index = (sib >> 3 & 7) | (rex & 2) << 2;
	unsigned int base = (sib & 7) | (rex & 1) << 3;
	uint64_t sum = index == RSP ? 0 : gpr[index] << (sib >> 6);

	*no_base = in->mod == 0 && (sib & 7) == 5;
	return *no_base ? sum : sum + gpr[base];
}

static void modrm(struct vcpu *vcpu, struct instruction *in, uint8_t rex,
		  bool *relative)
{
	const uint64_t *gpr = vcpu->transaction.now.gpr;
	uint8_t byte = next(vcpu, in);
	bool no_base = false;

	in->has_modrm = true;
	in->mod = byte >> 6;
	in->reg = (byte >> 3 & 7) | (rex & 4) << 1;
	in->rm = (byte & 7) | (rex & 1) << 3;
	if (in->mod == 3)
		return;
	if ((byte & 7) == 4)
		in->address = scaled(vcpu, in, rex, &no_base);
	else if (in->mod == 0 && (byte & 7) == 5)
		*relative = no_base = true;
	else
		in->address = gpr[in->rm];
	if (in->mod == 1)
		in->address += next_signed(vcpu, in, 1);
	else if (in->mod == 2 || no_base)
		in->address += next_signed(vcpu, in, 4);
}

bool decode(struct vcpu *vcpu, struct instruction *in)
{
	bool relative = false;
	uint8_t byte, rex = 0;

	memset(in, 0, sizeof(*in));
	do
		byte = next(vcpu, in);
	while (prefix(vcpu, in, byte) && in->length < LONGEST);
	if (byte >> 4 == 4) {
		rex = byte;
		byte = next(vcpu, in);
	}
	in->rex = rex != 0;
	in->wide = rex & 8;
	in->size = in->wide ? 8 : in->prefix66 ? 2 : 4;
	in->opcode = byte;
	/* Where there is no ModRM byte the opcode may hold a register. */
	in->rm = (byte & 7) | (rex & 1) << 3;
	if (byte == 0x0f) {
		byte = next(vcpu, in);
		in->opcode = TWO + byte;
		in->rm = (byte & 7) | (rex & 1) << 3;
		if (byte == 0x38 || byte == 0x3a)
			return false;
		if (two_byte_modrm(byte))
			modrm(vcpu, in, rex, &relative);
	} else if (one_byte_modrm(byte)) {
		modrm(vcpu, in, rex, &relative);
	}
	in->immediate = next_signed(vcpu, in, immediate(in));
	if (relative)
		in->address += vcpu->transaction.now.rip + in->length;
	if (in->address32)
		in->address = (uint32_t)in->address;
	in->address += in->segment;
	return in->length <= LONGEST && !vcpu->transaction.aborted;
}
