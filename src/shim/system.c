// SPDX-License-Identifier: GPL-2.0
/* What else the kernel is asked: who calls, the time, a file. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#include <linux/capability.h>
#include <linux/delay.h>
#include <linux/freezer.h>
#include <linux/kernel_read_file.h>
#include <linux/ktime.h>
#include <linux/security.h>
#include <linux/printk.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>
#include "../../include/uapi/linux/pagemove.h"

bool pagemove_capable(void)
{
	return capable(CAP_SYS_ADMIN);
}

int pagemove_locked_down(void)
{
	return security_locked_down(LOCKDOWN_DEV_MEM);
}

/* The freezer, before a suspend, wakes whoever sleeps as a signal would. */
bool pagemove_is_freezing(void)
{
	return freezing(current);
}

/* Whether there is a signal. The freezer's is none: what it has left behind is cleared. */
bool pagemove_signal_pending(void)
{
	if (likely(!signal_pending(current)) || freezing(current))
		return false;
	spin_lock_irq(&current->sighand->siglock);
	recalc_sigpending();
	spin_unlock_irq(&current->sighand->siglock);
	return signal_pending(current);
}

/* Waits for the end of a suspend, if one has begun. */
void pagemove_pause(void)
{
	try_to_freeze();
}

/* Of threads that may sleep for as long as a process likes. No memory is had back by what they do, and what
 * a fault in that process, or its end, may wait for is not known here: so not WQ_MEM_RECLAIM. */
struct workqueue_struct *pagemove_queue_begin(void)
{
	return alloc_workqueue("pagemove", WQ_UNBOUND, 0);
}

void pagemove_queue_end(struct workqueue_struct *queue)
{
	destroy_workqueue(queue);
}

u64 pagemove_now(void)
{
	return ktime_get_ns();
}

void pagemove_sleep(u64 ns)
{
	unsigned long us = max_t(u64, div_u64(ns, NSEC_PER_USEC), 1);

	usleep_range(us, us + us / 4 + 1);
}

void pagemove_yield(void)
{
	cond_resched();
}

/*
 * Lets those run as well that have the caller's own real-time priority: cond_resched() does not, and
 * nobody takes this CPU from the caller for them.
 */
void pagemove_give_way(void)
{
	yield();
}

/* Reads the file of stored verdicts, if there is one; says how many bytes it has. The
 * firmware loader would do it as well, but Debian's complains of each file that is not
 * there. */
size_t pagemove_read_verdicts(void *buffer, size_t size)
{
	size_t found = 0;
	ssize_t read = kernel_read_file_from_path(
		"/lib/firmware/pagemove/verdicts", 0, &buffer, size, &found,
		READING_FIRMWARE);

	return read < 0 ? 0 : found;
}

/*
 * One line for each MOVE, where it is asked for: dynamic debug's (Documentation/parameters.md). Names and
 * values have an equals sign between them.
 */
void pagemove_log_move(const struct pagemove_event *ended, u64 iova, u64 pages,
		       u64 ns)
{
	pr_debug(
		"move call=%u pid=%d device=%04x:%02x:%02x.%x iova=%#llx pages=%llu moved=%llu aborts=%llu error=%u reason=%u ns=%llu\n",
		ended->id, ended->pid, ended->segment, ended->bus,
		ended->devfn >> 3, ended->devfn & 7, iova, pages,
		ended->values[0], ended->values[1], ended->error, ended->reason,
		ns);
}
