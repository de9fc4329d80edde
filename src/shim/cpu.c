// SPDX-License-Identifier: GPL-2.0
/* CPUs, and threads on them. */
#include <linux/cc_platform.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/sched/isolation.h>
#include <linux/sched/task.h>
#include <linux/topology.h>
#include <asm/cpufeature.h>
#include <asm/cpuid/api.h>
#include <asm/processor.h>
#include <asm/tsc.h>

bool pagemove_cpu_has_rtm(void)
{
	return boot_cpu_has(X86_FEATURE_RTM);
}

bool pagemove_tsc_is_invariant(void)
{
	return boot_cpu_has(X86_FEATURE_CONSTANT_TSC) &&
	       boot_cpu_has(X86_FEATURE_NONSTOP_TSC);
}

bool pagemove_tsc_is_unstable(void)
{
	return check_tsc_unstable();
}

u64 pagemove_tsc_khz(void)
{
	return tsc_khz;
}

/* Leaf 1, EAX: family, model and stepping. */
u32 pagemove_cpu_signature(void)
{
	return cpuid_eax(1);
}

u32 pagemove_cpu_microcode(void)
{
	return boot_cpu_data.microcode;
}

bool pagemove_memory_is_encrypted(void)
{
	return cc_platform_has(CC_ATTR_HOST_MEM_ENCRYPT);
}

/* The next CPU after cpu (-1: the first) that is online, or -1. */
int pagemove_next_cpu(int cpu)
{
	unsigned int next = cpumask_next(cpu, cpu_online_mask);

	return next < nr_cpu_ids ? next : -1;
}

bool pagemove_cpu_is_online(unsigned int cpu)
{
	return cpu < nr_cpu_ids && cpu_online(cpu);
}

/* Whether it was set aside for others: isolcpus=, an isolated partition of cpusets, nohz_full=. */
bool pagemove_cpu_is_isolated(unsigned int cpu)
{
	guard(rcu)
		();
	return !housekeeping_test_cpu(cpu, HK_TYPE_DOMAIN) ||
	       !housekeeping_test_cpu(cpu, HK_TYPE_KERNEL_NOISE);
}

bool pagemove_cpus_are_siblings(unsigned int a, unsigned int b)
{
	return cpumask_test_cpu(b, topology_sibling_cpumask(a));
}

bool pagemove_cpus_share_socket(unsigned int a, unsigned int b)
{
	return topology_physical_package_id(a) ==
	       topology_physical_package_id(b);
}

int pagemove_cpu_node(unsigned int cpu)
{
	return cpu_to_node(cpu);
}

unsigned long pagemove_irqs_off(void)
{
	unsigned long flags;

	local_irq_save(flags);
	return flags;
}

void pagemove_irqs_back(unsigned long flags)
{
	local_irq_restore(flags);
}

void pagemove_relax(void)
{
	cpu_relax();
}

/* No CPU comes or goes from here on. */
void pagemove_cpus_hold(void)
{
	cpus_read_lock();
}

void pagemove_cpus_let_go(void)
{
	cpus_read_unlock();
}

/* Takes the current thread to its CPU, if it is not bound there any more: the kernel lets a
 * thread run anywhere for good once its CPU was taken offline under it. In vain while that
 * CPU is offline. */
void pagemove_thread_go_to(unsigned int cpu)
{
	if (!cpumask_equal(current->cpus_ptr, cpumask_of(cpu)))
		set_cpus_allowed_ptr(current, cpumask_of(cpu));
}

/* A thread on one CPU, running; NULL if there is no memory. */
struct task_struct *pagemove_thread_start(int (*run)(void *data), void *data,
					  unsigned int cpu, const char *name)
{
	struct task_struct *task = kthread_create_on_cpu(run, data, cpu, name);

	if (IS_ERR(task))
		return NULL;
	get_task_struct(task);
	/* Whoever runs in its place makes the other thread of the pair wait in vain. */
	sched_set_fifo_low(task);
	wake_up_process(task);
	return task;
}

/* Returns when it has ended; it may have done so long before. */
void pagemove_thread_stop(struct task_struct *task)
{
	kthread_stop_put(task);
}
