// SPDX-License-Identifier: GPL-2.0
/*
 * Each function loads the flags, runs the instruction, and takes the flags back.
 * The file has to be compiled without a red zone, since PUSHF writes there.
 */
#include "alu.h"

/* Only these are ever loaded: the others mean something to the host. */
#define LOAD "pushq %[flags]\n\tpopfq\n\t"
#define TAKE "\n\tpushfq\n\tpopq %[flags]"

#define RUN(instruction, ...)                                          \
	do {                                                           \
		uint64_t live = *flags & STATUS_FLAGS;                 \
		__asm__ volatile(LOAD instruction TAKE : __VA_ARGS__); \
		*flags = (*flags & ~(uint64_t)STATUS_FLAGS) |          \
			 (live & STATUS_FLAGS);                        \
	} while (0)

#define BINARY(name)                                            \
	switch (size) {                                         \
	case 1:                                                 \
		RUN(name "b %b[b], %b[a]", [flags] "+r"(live),  \
		    [a] "+r"(a) : [b] "r"(b) : "cc", "memory"); \
		break;                                          \
	case 2:                                                 \
		RUN(name "w %w[b], %w[a]", [flags] "+r"(live),  \
		    [a] "+r"(a) : [b] "r"(b) : "cc", "memory"); \
		break;                                          \
	case 4:                                                 \
		RUN(name "l %k[b], %k[a]", [flags] "+r"(live),  \
		    [a] "+r"(a) : [b] "r"(b) : "cc", "memory"); \
		break;                                          \
	default:                                                \
		RUN(name "q %[b], %[a]", [flags] "+r"(live),    \
		    [a] "+r"(a) : [b] "r"(b) : "cc", "memory"); \
	}

#define UNARY(name)                                                           \
	switch (size) {                                                       \
	case 1:                                                               \
		RUN(name "b %b[a]", [flags] "+r"(live), [a] "+r"(a) : : "cc", \
		    "memory");                                                \
		break;                                                        \
	case 2:                                                               \
		RUN(name "w %w[a]", [flags] "+r"(live), [a] "+r"(a) : : "cc", \
		    "memory");                                                \
		break;                                                        \
	case 4:                                                               \
		RUN(name "l %k[a]", [flags] "+r"(live), [a] "+r"(a) : : "cc", \
		    "memory");                                                \
		break;                                                        \
	default:                                                              \
		RUN(name "q %[a]", [flags] "+r"(live), [a] "+r"(a) : : "cc",  \
		    "memory");                                                \
	}

#define SHIFT(name)                                             \
	switch (size) {                                         \
	case 1:                                                 \
		RUN(name "b %%cl, %b[a]", [flags] "+r"(live),   \
		    [a] "+r"(a) : "c"(count) : "cc", "memory"); \
		break;                                          \
	case 2:                                                 \
		RUN(name "w %%cl, %w[a]", [flags] "+r"(live),   \
		    [a] "+r"(a) : "c"(count) : "cc", "memory"); \
		break;                                          \
	case 4:                                                 \
		RUN(name "l %%cl, %k[a]", [flags] "+r"(live),   \
		    [a] "+r"(a) : "c"(count) : "cc", "memory"); \
		break;                                          \
	default:                                                \
		RUN(name "q %%cl, %[a]", [flags] "+r"(live),    \
		    [a] "+r"(a) : "c"(count) : "cc", "memory"); \
	}

#define DOUBLE(name)                                                        \
	switch (size) {                                                     \
	case 2:                                                             \
		RUN(name "w %%cl, %w[b], %w[a]", [flags] "+r"(live),        \
		    [a] "+r"(a) : [b] "r"(b), "c"(count) : "cc", "memory"); \
		break;                                                      \
	case 4:                                                             \
		RUN(name "l %%cl, %k[b], %k[a]", [flags] "+r"(live),        \
		    [a] "+r"(a) : [b] "r"(b), "c"(count) : "cc", "memory"); \
		break;                                                      \
	default:                                                            \
		RUN(name "q %%cl, %[b], %[a]", [flags] "+r"(live),          \
		    [a] "+r"(a) : [b] "r"(b), "c"(count) : "cc", "memory"); \
	}

uint64_t alu_cut(uint64_t value, unsigned int size)
{
	return size == 8 ? value : value & ((1ull << (8 * size)) - 1);
}

int64_t alu_extend(uint64_t value, unsigned int size)
{
	unsigned int spare = 64 - 8 * size;

	return (int64_t)(value << spare) >> spare;
}

uint64_t alu_binary(enum alu_binary op, uint64_t a, uint64_t b,
		    unsigned int size, uint64_t *flags)
{
	switch (op) {
	case ALU_ADD:
		BINARY("add");
		break;
	case ALU_OR:
		BINARY("or");
		break;
	case ALU_ADC:
		BINARY("adc");
		break;
	case ALU_SBB:
		BINARY("sbb");
		break;
	case ALU_AND:
		BINARY("and");
		break;
	case ALU_SUB:
		BINARY("sub");
		break;
	case ALU_XOR:
		BINARY("xor");
		break;
	case ALU_CMP:
		BINARY("cmp");
		break;
	}
	return alu_cut(a, size);
}

uint64_t alu_shift(enum alu_shift op, uint64_t a, uint8_t count,
		   unsigned int size, uint64_t *flags)
{
	switch (op) {
	case ALU_ROL:
		SHIFT("rol");
		break;
	case ALU_ROR:
		SHIFT("ror");
		break;
	case ALU_RCL:
		SHIFT("rcl");
		break;
	case ALU_RCR:
		SHIFT("rcr");
		break;
	case ALU_SHL:
	case ALU_SAL:
		SHIFT("shl");
		break;
	case ALU_SHR:
		SHIFT("shr");
		break;
	case ALU_SAR:
		SHIFT("sar");
		break;
	}
	return alu_cut(a, size);
}

uint64_t alu_unary(enum alu_unary op, uint64_t a, unsigned int size,
		   uint64_t *flags)
{
	switch (op) {
	case ALU_INC:
		UNARY("inc");
		break;
	case ALU_DEC:
		UNARY("dec");
		break;
	case ALU_NEG:
		UNARY("neg");
		break;
	}
	return alu_cut(a, size);
}

uint64_t alu_bit(enum alu_bit op, uint64_t a, unsigned int bit, uint64_t *flags)
{
	uint64_t mask = 1ull << bit;

	*flags = a & mask ? *flags | CF : *flags & ~(uint64_t)CF;
	switch (op) {
	case ALU_BT:
		return a;
	case ALU_BTS:
		return a | mask;
	case ALU_BTR:
		return a & ~mask;
	case ALU_BTC:
		return a ^ mask;
	}
	return a;
}

uint64_t alu_double_shift(bool right, uint64_t a, uint64_t b, uint8_t count,
			  unsigned int size, uint64_t *flags)
{
	if (right)
		DOUBLE("shrd")
	else
		DOUBLE("shld")
	return alu_cut(a, size);
}

static void set(uint64_t *flags, uint64_t flag, bool on)
{
	*flags = on ? *flags | flag : *flags & ~flag;
}

uint64_t alu_scan(bool reverse, uint64_t old, uint64_t a, unsigned int size,
		  uint64_t *flags)
{
	a = alu_cut(a, size);
	set(flags, ZF, !a);
	if (!a)
		return old;
	return reverse ? 63 - __builtin_clzll(a) : __builtin_ctzll(a);
}

uint64_t alu_count(bool reverse, uint64_t a, unsigned int size, uint64_t *flags)
{
	uint64_t count = 8 * size;

	a = alu_cut(a, size);
	if (a)
		count = reverse ? __builtin_clzll(a) - (64 - count) :
				  (uint64_t)__builtin_ctzll(a);
	set(flags, CF, !a);
	set(flags, ZF, !count);
	return count;
}

uint64_t alu_population(uint64_t a, uint64_t *flags)
{
	*flags &= ~(uint64_t)STATUS_FLAGS;
	set(flags, ZF, !a);
	return __builtin_popcountll(a);
}

uint64_t alu_multiply(bool is_signed, uint64_t a, uint64_t b, unsigned int size,
		      uint64_t *high, uint64_t *flags)
{
	unsigned __int128 product;
	uint64_t low;
	bool lost;

	if (is_signed)
		product = (__int128)alu_extend(a, size) * alu_extend(b, size);
	else
		product =
			(unsigned __int128)alu_cut(a, size) * alu_cut(b, size);
	low = alu_cut((uint64_t)product, size);
	*high = alu_cut((uint64_t)(product >> (8 * size)), size);
	lost = is_signed ? (__int128)product != alu_extend(low, size) :
			   *high != 0;
	set(flags, CF | OF, lost);
	return low;
}

bool alu_divide(bool is_signed, uint64_t high, uint64_t low, uint64_t by,
		unsigned int size, uint64_t *quotient, uint64_t *remainder)
{
	unsigned int bits = 8 * size;
	unsigned __int128 value = (unsigned __int128)alu_cut(high, size)
					  << bits |
				  alu_cut(low, size);

	if (!alu_cut(by, size))
		return false;
	if (is_signed) {
		unsigned int spare = 128 - 2 * bits;
		__int128 dividend = spare ? (__int128)(value << spare) >>
						    spare :
					    (__int128)value;
		__int128 divisor = alu_extend(by, size);
		__int128 result;

		/* Only this quotient has more than 128 bits. */
		if (divisor == -1 &&
		    dividend == (__int128)((unsigned __int128)1 << 127))
			return false;
		result = dividend / divisor;
		*quotient = alu_cut((uint64_t)result, size);
		*remainder = alu_cut((uint64_t)(dividend % divisor), size);
		return result == alu_extend(*quotient, size);
	}
	*remainder = (uint64_t)(value % alu_cut(by, size));
	value /= alu_cut(by, size);
	*quotient = (uint64_t)value;
	return value == alu_cut((uint64_t)value, size);
}

bool alu_condition(unsigned int condition, uint64_t flags)
{
	bool less = !(flags & SF) != !(flags & OF);
	bool met = false;

	switch (condition >> 1 & 7) {
	case 0:
		met = flags & OF;
		break;
	case 1:
		met = flags & CF;
		break;
	case 2:
		met = flags & ZF;
		break;
	case 3:
		met = flags & (CF | ZF);
		break;
	case 4:
		met = flags & SF;
		break;
	case 5:
		met = flags & PF;
		break;
	case 6:
		met = less;
		break;
	case 7:
		met = less || flags & ZF;
		break;
	}
	return met != (condition & 1);
}
