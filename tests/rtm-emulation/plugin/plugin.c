// SPDX-License-Identifier: GPL-2.0
/*
 * The plugin as QEMU sees it: it looks for the few instructions that matter in what
 * is translated, and is called when one of them is to be run.
 */
#include "alu.h"
#include "counters.h"
#include "memory.h"
#include "options.h"
#include "run_control.h"
#include "vcpu.h"

#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* CPUID */
#define LEAF_FEATURES 7
#define LEAF_POWER 0x80000007
#define EBX_RTM (1u << 11)
#define EDX_INVARIANT_TSC (1u << 8)

#define VECTOR_GP 13

EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

/* In a callback: where it returns to, from which QEMU knows the instruction. */
#define RETURN_ADDRESS ((uintptr_t)__builtin_return_address(0))

/* Reads code at the program counter, behind the opcode. */
static int64_t code(struct vcpu *vcpu, unsigned int from, unsigned int size)
{
	uint64_t value = 0;

	for (unsigned int n = 0; n < size; n++)
		value |= (uint64_t)memory_fetch(
				 vcpu, vcpu->transaction.now.rip + from + n)
			 << 8 * n;
	return alu_extend(value, size);
}

/* Outside a transaction only: within one nothing is run by QEMU. */
static void start(struct vcpu *vcpu)
{
	vcpu->transaction.aborted = false;
	vcpu->transaction.code.generation = vcpu->transaction.generation - 1;
}

static void on_xbegin(unsigned int number, void *data)
{
	struct vcpu *vcpu = vcpu_current(number);
	unsigned int opcode = (uintptr_t)data;
	int64_t target;

	vcpu_enter(vcpu, RETURN_ADDRESS);
	start(vcpu);
	/* A prefix makes the distance one of two bytes. */
	target = code(vcpu, opcode, opcode == 2 ? 4 : 2);
	transaction_run(vcpu, opcode == 2 ? 6 : opcode + 2, target);
}

static void on_xabort(unsigned int number, void *data)
{
	struct vcpu *vcpu = vcpu_current(number);
	unsigned int opcode = (uintptr_t)data;

	vcpu_enter(vcpu, RETURN_ADDRESS);
	start(vcpu);
	if ((code(vcpu, opcode, 1) & 0xff) == RTM_CONTROL)
		vcpu->transaction.now.gpr[RAX] =
			run_control(vcpu->transaction.now.gpr);
	vcpu->transaction.now.rip += opcode + 1;
	vcpu_leave(vcpu);
}

static void on_xtest(unsigned int number, void *data)
{
	struct vcpu *vcpu = vcpu_current(number);
	(void)data;
	vcpu_enter(vcpu, RETURN_ADDRESS);
	vcpu->transaction.now.flags &= ~(uint64_t)STATUS_FLAGS;
	vcpu->transaction.now.flags |= ZF;
	vcpu->transaction.now.rip += 3;
	vcpu_leave(vcpu);
}

static void on_xend(unsigned int number, void *data)
{
	struct vcpu *vcpu = vcpu_current(number);
	(void)data;
	vcpu_enter(vcpu, RETURN_ADDRESS);
	raise_exception_err(vcpu->env, VECTOR_GP, 0);
}

/* Runs CPUID, and adds what is emulated. */
static void on_cpuid(unsigned int number, void *data)
{
	struct vcpu *vcpu = vcpu_current(number);
	struct registers *now = &vcpu->transaction.now;
	uint32_t leaf;

	(void)data;
	leaf = vcpu_read(vcpu, NAME_RAX);
	if (leaf != LEAF_FEATURES && leaf != LEAF_POWER)
		return;
	/* Other modes than 64-bit code, as in the BIOS, get QEMU's answer. */
	if (!vcpu_locate(vcpu) || !vcpu->bits64)
		return;
	vcpu_enter(vcpu, RETURN_ADDRESS);
	helper_cpuid(vcpu->env);
	memcpy(now->gpr, vcpu->env, sizeof(now->gpr));
	if (leaf == LEAF_POWER && options.invariant_tsc)
		now->gpr[RDX] |= EDX_INVARIANT_TSC;
	if (leaf == LEAF_FEATURES && now->gpr[RBX])
		now->gpr[RBX] |= EBX_RTM;
	now->rip += 2;
	vcpu_leave(vcpu);
}

static void instrument(struct qemu_plugin_insn *insn)
{
	uint8_t code[4] = { 0 };
	size_t size = qemu_plugin_insn_data(insn, code, sizeof(code));
	/* The length of the opcode, with a prefix that XBEGIN may have. */
	size_t at = size > 1 && code[0] == 0x66 ? 1 : 0;
	qemu_plugin_insn_cb_t callback = NULL;

	if (code[at] == 0xc7 && code[at + 1] == 0xf8)
		callback = on_xbegin;
	else if (code[at] == 0xc6 && code[at + 1] == 0xf8)
		callback = on_xabort;
	else if (code[0] == 0x0f && code[1] == 0x01 && code[2] == 0xd5)
		callback = on_xend;
	else if (code[0] == 0x0f && code[1] == 0x01 && code[2] == 0xd6)
		callback = on_xtest;
	else if (code[0] == 0x0f && code[1] == 0xa2)
		callback = on_cpuid;
	if (callback)
		qemu_plugin_register_vcpu_insn_exec_cb(
			insn, callback, QEMU_PLUGIN_CB_RW_REGS_PC,
			(void *)(at + 2));
}

static void on_translation(struct qemu_plugin_tb *tb, void *data)
{
	size_t length = qemu_plugin_tb_n_insns(tb);

	(void)data;
	for (size_t n = 0; n < length; n++)
		instrument(qemu_plugin_tb_get_insn(tb, n));
}

static void at_exit(void *data)
{
	(void)data;
	report_write();
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info,
			       int argc, char **argv)
{
	const char *why;

	if (strcmp(info->target_name, "x86_64") != 0 ||
	    !info->system_emulation) {
		fprintf(stderr, "rtm: only for qemu-system-x86_64\n");
		return -1;
	}
	for (int n = 0; n < argc; n++) {
		if (!options_parse(argv[n])) {
			fprintf(stderr,
				"rtm: option %s: unknown, or a wrong value\n",
				argv[n]);
			return -1;
		}
	}
	if (!guard_init(&why)) {
		fprintf(stderr, "rtm: %s\n", why);
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation, NULL);
	qemu_plugin_register_atexit_cb(id, at_exit, NULL);
	return 0;
}
