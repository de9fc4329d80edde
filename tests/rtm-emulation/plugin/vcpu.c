// SPDX-License-Identifier: GPL-2.0
#include "vcpu.h"
#include "alu.h"
#include "counters.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct vcpu *vcpus[MAX_VCPUS];

static const char *const names[NAME_NAMES] = {
	"rax",
	"rcx",
	"rdx",
	"rbx",
	"rsp",
	"rbp",
	"rsi",
	"rdi",
	"r8",
	"r9",
	"r10",
	"r11",
	"r12",
	"r13",
	"r14",
	"r15",
	[NAME_RIP] = "rip",
	[NAME_CS] = "cs",
	[NAME_CR4] = "cr4",
	[NAME_FS_BASE] = "fs_base",
	[NAME_GS_BASE] = "gs_base",
	[NAME_XMM] = "xmm0",
	"xmm1",
	"xmm2",
	"xmm3",
	"xmm4",
	"xmm5",
	"xmm6",
	"xmm7",
	"xmm8",
	"xmm9",
	"xmm10",
	"xmm11",
	"xmm12",
	"xmm13",
	"xmm14",
	"xmm15",
};

#define CR4_TSD 4

void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("rtm: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	report_note("QEMU was ended by the plugin");
	report_write();
	/* The other threads of QEMU are running: no handlers. */
	_Exit(1);
}

static void find_handles(struct vcpu *vcpu)
{
	GArray *known = qemu_plugin_get_registers();
	const qemu_plugin_reg_descriptor *each = (const void *)known->data;

	for (int name = 0; name < NAME_NAMES; name++) {
		for (unsigned int n = 0; n < known->len && !vcpu->handles[name];
		     n++)
			if (strcmp(each[n].name, names[name]) == 0)
				vcpu->handles[name] = each[n].handle;
		if (!vcpu->handles[name])
			die("QEMU knows no register %s", names[name]);
	}
}

struct vcpu *vcpu_current(unsigned int number)
{
	struct vcpu *vcpu;

	if (number >= MAX_VCPUS)
		die("CPU %u: more than %d", number, MAX_VCPUS);
	vcpu = vcpus[number];
	if (vcpu)
		return vcpu;
	vcpu = calloc(1, sizeof(*vcpu));
	if (!vcpu)
		die("no memory");
	vcpu->number = number;
	vcpu->cpu = current_cpu;
	vcpu->buffer = g_byte_array_new();
	find_handles(vcpu);
	transaction_init(&vcpu->transaction);
	vcpus[number] = vcpu;
	return vcpu;
}

static void read_bytes(struct vcpu *vcpu, enum reg_name name, void *to,
		       size_t size)
{
	g_byte_array_set_size(vcpu->buffer, 0);
	if (!qemu_plugin_read_register(vcpu->handles[name], vcpu->buffer))
		die("QEMU can not read register %s", names[name]);
	memset(to, 0, size);
	memcpy(to, vcpu->buffer->data,
	       vcpu->buffer->len < size ? vcpu->buffer->len : size);
}

static void write_bytes(struct vcpu *vcpu, enum reg_name name, const void *from,
			size_t size)
{
	g_byte_array_set_size(vcpu->buffer, size);
	memcpy(vcpu->buffer->data, from, size);
	if (!qemu_plugin_write_register(vcpu->handles[name], vcpu->buffer))
		die("QEMU can not write register %s", names[name]);
}

uint64_t vcpu_read(struct vcpu *vcpu, enum reg_name name)
{
	uint64_t value;

	read_bytes(vcpu, name, &value, sizeof(value));
	return value;
}

void vcpu_write(struct vcpu *vcpu, enum reg_name name, uint64_t value)
{
	write_bytes(vcpu, name, &value, sizeof(value));
}

void vcpu_read_xmm(struct vcpu *vcpu, uint64_t xmm[16][2])
{
	for (int n = 0; n < 16; n++)
		read_bytes(vcpu, NAME_XMM + n, xmm[n], sizeof(xmm[n]));
}

void vcpu_write_xmm(struct vcpu *vcpu, unsigned int n, const uint64_t value[2])
{
	write_bytes(vcpu, NAME_XMM + n, value, 2 * sizeof(*value));
}

/*
 * QEMU's own functions want a pointer that lies behind the CPU's public part, whose
 * size is in no interface. It points to the general registers, so it is found by
 * their values.
 */
static void find_env(struct vcpu *vcpu)
{
	const uint64_t *gpr = vcpu->transaction.now.gpr;
	const char *from = (const char *)vcpu->cpu;
	CPUArchState *found = NULL;
	int different = 0;

	for (int n = 0; n < 16; n++)
		different += gpr[n] > 0xffff;
	if (different < 3)
		return;
	for (size_t at = 0x400; at < 0x10000; at += 16) {
		if (memcmp(from + at, gpr, 16 * sizeof(*gpr)) != 0)
			continue;
		if (found)
			return;
		found = (CPUArchState *)(from + at);
	}
	vcpu->env = found;
}

static void read_registers(struct vcpu *vcpu)
{
	uint64_t *gpr = vcpu->transaction.now.gpr;

	if (vcpu->env) {
		memcpy(gpr, vcpu->env, 16 * sizeof(*gpr));
		return;
	}
	for (int n = 0; n < 16; n++)
		gpr[n] = vcpu_read(vcpu, n);
	find_env(vcpu);
}

bool vcpu_locate(struct vcpu *vcpu)
{
	read_registers(vcpu);
	if (!vcpu->env)
		return false;
	vcpu->user = (vcpu_read(vcpu, NAME_CS) & 3) == 3;
	/* An odd number is one of 32 bits. */
	vcpu->mmu_index = x86_mmu_index_pl(vcpu->env, vcpu->user ? 3 : 0);
	vcpu->bits64 = !(vcpu->mmu_index & 1);
	return true;
}

void vcpu_enter(struct vcpu *vcpu, uintptr_t return_address)
{
	struct registers *now = &vcpu->transaction.now;

	if (!vcpu_locate(vcpu))
		die("CPU %u: QEMU's state of it was not found", vcpu->number);
	cpu_restore_state(vcpu->cpu, return_address);
	now->rip = vcpu_read(vcpu, NAME_RIP);
	now->flags = helper_read_eflags(vcpu->env);
}

void vcpu_leave(struct vcpu *vcpu)
{
	const struct registers *now = &vcpu->transaction.now;

	memcpy(vcpu->env, now->gpr, sizeof(now->gpr));
	/*
	 * The status flags and DF are set in any case. A mask that named them would set
	 * them in env->eflags as well, where QEMU keeps all flags but these, and they
	 * would be seen set by every interrupt from then on.
	 */
	helper_write_eflags(vcpu->env, now->flags, 0);
	qemu_plugin_set_pc(now->rip);
}

bool vcpu_may_rdtsc(struct vcpu *vcpu)
{
	return !vcpu->user || !(vcpu_read(vcpu, NAME_CR4) & CR4_TSD);
}

/* QEMU's function leaves the result in the registers, which vcpu_leave overwrites. */
uint64_t vcpu_rdtsc(struct vcpu *vcpu)
{
	const uint64_t *gpr = (const uint64_t *)vcpu->env;

	helper_rdtsc(vcpu->env);
	return gpr[RDX] << 32 | (uint32_t)gpr[RAX];
}
