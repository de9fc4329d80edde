/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A CPU of the guest, as far as the plugin has to know it. Each is used by its own
 * thread of QEMU only, except where said otherwise.
 */
#ifndef RTM_VCPU_H
#define RTM_VCPU_H

#include "qemu.h"
#include "transaction.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

/* Registers by which the plugin interface knows them. */
enum reg_name {
	/* 0 to 15: the general ones, numbered as in instructions. */
	NAME_RAX = RAX,
	NAME_RIP = 16,
	NAME_CS,
	NAME_CR4,
	NAME_FS_BASE,
	NAME_GS_BASE,
	NAME_XMM,
	NAME_NAMES = NAME_XMM + 16,
};

#define MAX_VCPUS 64

struct vcpu {
	unsigned int number;
	CPUState *cpu;
	/* QEMU's state of this CPU; it begins with the general registers. */
	CPUArchState *env;
	struct qemu_plugin_register *handles[NAME_NAMES];
	GByteArray *buffer;
	/* In which way this CPU translates addresses now: its mode and privileges. */
	int mmu_index;
	bool user, bits64;
	struct transaction transaction;
};

/* The CPU that runs this thread. */
struct vcpu *vcpu_current(unsigned int number);
/* Reads the general registers to transaction.now, and what mode it is in. False: it
 * could not be found out. */
bool vcpu_locate(struct vcpu *vcpu);
/* The same and the other registers, from a callback that returns to
 * `return_address`. It brings QEMU's state of the CPU up to date, and code that was
 * translated can not go on with that: only vcpu_leave or an exception can follow. */
void vcpu_enter(struct vcpu *vcpu, uintptr_t return_address);
/* Writes them back and goes on at their program counter: does not return. */
void vcpu_leave(struct vcpu *vcpu) __attribute__((noreturn));

uint64_t vcpu_read(struct vcpu *vcpu, enum reg_name name);
void vcpu_write(struct vcpu *vcpu, enum reg_name name, uint64_t value);
bool vcpu_may_rdtsc(struct vcpu *vcpu);
uint64_t vcpu_rdtsc(struct vcpu *vcpu);
/* The XMM registers, as two words each. */
void vcpu_read_xmm(struct vcpu *vcpu, uint64_t xmm[16][2]);
void vcpu_write_xmm(struct vcpu *vcpu, unsigned int n, const uint64_t value[2]);

/* The guest can not go on: end QEMU and say why. */
void die(const char *format, ...)
	__attribute__((noreturn, format(printf, 1, 2)));

#endif
