// SPDX-License-Identifier: GPL-2.0
/* The delayed work that frees pages of closed regions. */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/workqueue.h>

/* Written in Rust: src/region/reclaim.rs. */
unsigned int pagemove_reclaim(void);

static void reclaim_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(reclaimer, reclaim_work);

static void reclaim_work(struct work_struct *work)
{
	unsigned int again_ms = pagemove_reclaim();

	if (!again_ms)
		return;
	/* On the next CPU: see src/region/mms.rs. */
	cpus_read_lock();
	schedule_delayed_work_on(cpumask_next_wrap(raw_smp_processor_id(),
						   cpu_online_mask),
				 &reclaimer, msecs_to_jiffies(again_ms));
	cpus_read_unlock();
}

void pagemove_reclaim_soon(void)
{
	mod_delayed_work(system_percpu_wq, &reclaimer, 0);
}

void pagemove_reclaim_stop(void)
{
	cancel_delayed_work_sync(&reclaimer);
}
