/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a program in the guest talks to the counter of instructions: by a mark, a NOP whose
 * displacement is COUNTER_MARK (0f 1f 84 00, then the number). It does nothing on a CPU, and
 * where there is no counter RAX stays as it was. The command is in RAX, its arguments are in
 * RCX and RDX; the answer comes in RAX.
 */
#ifndef COUNTER_MARK_H
#define COUNTER_MARK_H

#define COUNTER_MARK 0x434d4750u

/* The answer to COUNTER_PRESENT. */
#define COUNTER_MAGIC 0x434f554e54455201ull

/* The answer where there is none. */
#define COUNTER_NONE (~0ull)

enum counter_command {
	/* -> COUNTER_MAGIC. Not 0: so that RAX changes. */
	COUNTER_PRESENT = 1,
	/* Count from soon on, if RCX is 1, or do not -> 0 */
	COUNTER_SWITCH,
	/* -> 1 if it counts now */
	COUNTER_IS_ON,
	/* What follows is to be told apart from what was before -> 0 */
	COUNTER_BEGIN,
	/* Keeps what was run since COUNTER_BEGIN -> instructions, on all CPUs */
	COUNTER_END,
	/* -> what of that CPU number RCX has run in the kernel */
	COUNTER_KERNEL,
	/* -> the same in user space */
	COUNTER_USER,
	/* -> the first place from number RCX on of which something was run, or COUNTER_NONE */
	COUNTER_NEXT,
	/* -> the address of place number RCX; 0: many places, for which there was no room */
	COUNTER_ADDRESS,
	/* -> instructions that CPU number RDX has run in the block that begins at place RCX */
	COUNTER_COUNT,
};

#endif
