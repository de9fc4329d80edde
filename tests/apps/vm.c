// SPDX-License-Identifier: GPL-2.0
/* An interpreter of a small machine, and programs for it. */

#include "app.h"

enum op {
	PUSH,
	ADD,
	SUB,
	MUL,
	LOAD,
	STORE,
	JUMP,
	ZERO,
	LESS,
	CALL,
	BACK,
	TELL,
	HALT
};

static i32 memory[64], stack[64], calls[32];

static u64 execute(const i32 *code, u32 most)
{
	i32 sp = 0, pc = 0, depth = 0;
	u64 digest = 1;

	while (most--) {
		switch ((enum op)code[pc++]) {
		case PUSH:
			stack[sp++] = code[pc++];
			break;
		case ADD:
			sp--;
			stack[sp - 1] += stack[sp];
			break;
		case SUB:
			sp--;
			stack[sp - 1] -= stack[sp];
			break;
		case MUL:
			sp--;
			stack[sp - 1] =
				(i32)((u32)stack[sp - 1] * (u32)stack[sp]);
			break;
		case LOAD:
			stack[sp++] = memory[code[pc++]];
			break;
		case STORE:
			memory[code[pc++]] = stack[--sp];
			break;
		case JUMP:
			pc = code[pc];
			break;
		case ZERO:
			pc = stack[--sp] ? pc + 1 : code[pc];
			break;
		case LESS:
			sp--;
			stack[sp - 1] = stack[sp - 1] < stack[sp];
			break;
		case CALL:
			calls[depth++] = pc + 1;
			pc = code[pc];
			break;
		case BACK:
			pc = calls[--depth];
			break;
		case TELL:
			digest = mix(digest, (u32)stack[--sp]);
			note(digest);
			break;
		case HALT:
			return digest;
		}
	}
	return digest;
}

PROGRAM(size)
{
	/* Squares by a subroutine, and their sums. */
	const i32 code[] = {
		PUSH, 0,  STORE, 0, /* 0: i = 0 */
		LOAD, 0,  PUSH,	 (i32)size, LESS, /* 4: while i < size */
		ZERO, 32, CALL,	 33, /* 9 */
		LOAD, 2,  LOAD,	 1,	    ADD,  STORE, 2, /* 13: sum += square */
		LOAD, 0,  PUSH,	 1,	    ADD,  STORE, 0, /* 20: i += 1 */
		LOAD, 2,  TELL,	 JUMP,	    4, /* 27 */
		HALT, /* 32 */
		LOAD, 0,  LOAD,	 0,	    MUL,  STORE, 1, BACK,
	};

	return execute(code, 100 * size + 100);
}
