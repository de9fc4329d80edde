// SPDX-License-Identifier: GPL-2.0
/* The lock of the ring of events (src/event/), and who waits for the next one. */
#include <linux/poll.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

/* Raw: an event may be told from where nothing may sleep, with PREEMPT_RT as well. */
static DEFINE_RAW_SPINLOCK(ring);
static DECLARE_WAIT_QUEUE_HEAD(readers);

unsigned long pagemove_events_lock(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&ring, flags);
	return flags;
}

void pagemove_events_unlock(unsigned long flags)
{
	raw_spin_unlock_irqrestore(&ring, flags);
}

/* Lets poll() of this file return when there is one more. */
void pagemove_events_await(struct file *file, struct poll_table_struct *table)
{
	poll_wait(file, &readers, table);
}

/* There is one more: see pagemove_events_await(). Not with the lock. */
void pagemove_events_wake(void)
{
	if (wq_has_sleeper(&readers))
		wake_up_poll(&readers, EPOLLIN | EPOLLRDNORM);
}
