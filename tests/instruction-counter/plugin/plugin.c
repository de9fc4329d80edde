// SPDX-License-Identifier: GPL-2.0
/*
 * The counter as QEMU sees it. Switched off it looks for marks and does nothing else, so that
 * times are as they are without it; switched on it adds to a counter with each block of
 * instructions.
 */
#include "../mark.h"
#include "places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static qemu_plugin_id_t self;
static volatile bool wanted, counting;

enum name { RAX, RCX, RDX, NAMES };

static const char *const names[NAMES] = { "rax", "rcx", "rdx" };

/* Each CPU is a thread. */
static __thread struct qemu_plugin_register *handles[NAMES];
static __thread GByteArray *buffer;

static void die(const char *why)
{
	fprintf(stderr, "counter: %s\n", why);
	/* The other threads of QEMU are running: no handlers. */
	_Exit(1);
}

static void find_registers(void)
{
	GArray *known = qemu_plugin_get_registers();
	const qemu_plugin_reg_descriptor *each = (const void *)known->data;

	for (int name = 0; name < NAMES; name++) {
		for (unsigned int n = 0; n < known->len && !handles[name]; n++)
			if (strcmp(each[n].name, names[name]) == 0)
				handles[name] = each[n].handle;
		if (!handles[name])
			die("QEMU does not know a register");
	}
	buffer = g_byte_array_new();
}

static uint64_t read_register(enum name name)
{
	uint64_t value = 0;

	g_byte_array_set_size(buffer, 0);
	if (!qemu_plugin_read_register(handles[name], buffer) ||
	    buffer->len < sizeof(value))
		die("QEMU can not read a register");
	memcpy(&value, buffer->data, sizeof(value));
	return value;
}

static void write_register(enum name name, uint64_t value)
{
	g_byte_array_set_size(buffer, sizeof(value));
	memcpy(buffer->data, &value, sizeof(value));
	if (!qemu_plugin_write_register(handles[name], buffer))
		die("QEMU can not write a register");
}

static void on_translation(struct qemu_plugin_tb *tb, void *data);

static void on_reset(void *data)
{
	(void)data;
	counting = wanted;
	qemu_plugin_register_vcpu_tb_trans_cb(self, on_translation, NULL);
}

static uint64_t run(uint64_t command, uint64_t a, uint64_t b)
{
	switch (command) {
	case COUNTER_PRESENT:
		return COUNTER_MAGIC;
	case COUNTER_SWITCH:
		wanted = a & 1;
		if (wanted != counting)
			qemu_plugin_reset(self, on_reset, NULL);
		return 0;
	case COUNTER_IS_ON:
		return counting;
	case COUNTER_BEGIN:
		places_begin();
		return 0;
	case COUNTER_END:
		return places_end();
	case COUNTER_KERNEL:
		return places_kernel(a);
	case COUNTER_USER:
		return places_count(PLACE_USER, a);
	case COUNTER_NEXT:
		return places_next(a);
	case COUNTER_ADDRESS:
		return places_address(a);
	case COUNTER_COUNT:
		return places_count(a, b);
	default:
		return COUNTER_NONE;
	}
}

static void on_mark(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	if (!buffer)
		find_registers();
	write_register(RAX, run(read_register(RAX), read_register(RCX),
				read_register(RDX)));
}

static bool is_mark(const struct qemu_plugin_insn *insn)
{
	const uint32_t mark = COUNTER_MARK;
	uint8_t code[8] = { 0 };

	return qemu_plugin_insn_data(insn, code, sizeof(code)) ==
		       sizeof(code) &&
	       memcmp(code, "\x0f\x1f\x84\x00", 4) == 0 &&
	       memcmp(code + 4, &mark, sizeof(mark)) == 0;
}

static void on_translation(struct qemu_plugin_tb *tb, void *data)
{
	size_t length = qemu_plugin_tb_n_insns(tb);

	(void)data;
	if (counting)
		qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
			tb, QEMU_PLUGIN_INLINE_ADD_U64,
			places_counter(qemu_plugin_tb_vaddr(tb)), length);
	for (size_t n = 0; n < length; n++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, n);

		if (is_mark(insn))
			qemu_plugin_register_vcpu_insn_exec_cb(
				insn, on_mark, QEMU_PLUGIN_CB_RW_REGS, NULL);
	}
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info,
			       int argc, char **argv)
{
	if (strcmp(info->target_name, "x86_64") != 0 ||
	    !info->system_emulation || argc > 0) {
		fprintf(stderr,
			"counter: only for qemu-system-x86_64; it has no options (%s)\n",
			argc > 0 ? argv[0] : "none");
		return -1;
	}
	if (!places_init(info->system.max_vcpus)) {
		fprintf(stderr, "counter: too many CPUs\n");
		return -1;
	}
	self = id;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation, NULL);
	return 0;
}
