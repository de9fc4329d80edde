/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the plugin uses of QEMU 11.1: its plugin interface, version 7, and
 * functions that the plugin interface lacks but that the program exports. Debian
 * packages no header for either, so they are declared here. A symbol that is
 * missing makes QEMU refuse the plugin at its start, by name.
 */
#ifndef RTM_QEMU_H
#define RTM_QEMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- glib, as far as the plugin interface uses it --- */

typedef struct {
	uint8_t *data;
	unsigned int len;
} GByteArray;

typedef struct {
	char *data;
	unsigned int len;
} GArray;

GByteArray *g_byte_array_new(void);
GByteArray *g_byte_array_set_size(GByteArray *array, unsigned int length);

/* --- the plugin interface --- */

#define QEMU_PLUGIN_VERSION 7

typedef uint64_t qemu_plugin_id_t;

typedef struct {
	const char *target_name;
	struct {
		int min;
		int cur;
	} version;
	bool system_emulation;
	struct {
		int smp_vcpus;
		int max_vcpus;
	} system;
} qemu_info_t;

enum qemu_plugin_cb_flags {
	QEMU_PLUGIN_CB_NO_REGS,
	QEMU_PLUGIN_CB_R_REGS,
	QEMU_PLUGIN_CB_RW_REGS,
	/* The callback may also set the program counter, and then does not return. */
	QEMU_PLUGIN_CB_RW_REGS_PC,
};

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_register;

typedef struct {
	struct qemu_plugin_register *handle;
	const char *name;
	const char *feature;
	bool read_only;
} qemu_plugin_reg_descriptor;

typedef void (*qemu_plugin_udata_cb_t)(void *data);
typedef void (*qemu_plugin_tb_trans_cb_t)(struct qemu_plugin_tb *tb,
					  void *data);
typedef void (*qemu_plugin_insn_cb_t)(unsigned int vcpu, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
					   qemu_plugin_tb_trans_cb_t cb,
					   void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id,
				    qemu_plugin_udata_cb_t cb, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    qemu_plugin_insn_cb_t cb,
					    enum qemu_plugin_cb_flags flags,
					    void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *
qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t n);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to,
			     size_t length);
GArray *qemu_plugin_get_registers(void);
bool qemu_plugin_read_register(struct qemu_plugin_register *handle,
			       GByteArray *value);
bool qemu_plugin_write_register(struct qemu_plugin_register *handle,
				GByteArray *value);
void qemu_plugin_set_pc(uint64_t pc) __attribute__((noreturn));

/* --- the program itself --- */

typedef struct CPUState CPUState;
typedef struct CPUArchState CPUArchState;

extern __thread CPUState *current_cpu;

/* Brings the CPU's state up to date: its program counter and lazy flags are kept
 * in generated code, at the place to which the callback returns. */
bool cpu_restore_state(CPUState *cpu, uintptr_t return_address);

/* A CPU between cpu_exec_start and cpu_exec_end is running; start_exclusive waits
 * until none is, and no other begins before end_exclusive. */
void cpu_exec_start(CPUState *cpu);
void cpu_exec_end(CPUState *cpu);
void start_exclusive(void);
void end_exclusive(void);

/* The lock under which devices are emulated. */
void bql_lock_impl(const char *file, int line);
void bql_unlock(void);
bool bql_locked(void);

/* Whether an interrupt waits that the CPU would take now. */
bool cpu_has_work(CPUState *cpu);

enum mmu_access { MMU_LOAD, MMU_STORE, MMU_FETCH };

int x86_mmu_index_pl(CPUArchState *env, unsigned int privilege_level);

/* Sets *host to where the guest's memory is, or to NULL: a fault, or no RAM. */
int probe_access_flags(CPUArchState *env, uint64_t address, int size,
		       enum mmu_access access, int mmu_index, bool no_fault,
		       void **host, uintptr_t return_address);

uint64_t helper_read_eflags(CPUArchState *env);
void helper_write_eflags(CPUArchState *env, uint64_t flags, uint32_t mask);
void helper_rdtsc(CPUArchState *env);
uint64_t helper_rdpid(CPUArchState *env);
void helper_cpuid(CPUArchState *env);
void raise_exception_err(CPUArchState *env, int vector, int code)
	__attribute__((noreturn));

#endif
