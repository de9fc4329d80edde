// SPDX-License-Identifier: GPL-2.0
/* Mistakes, one for each thing that a debug kernel looks for: if one of these is not
 * noticed, then that the module's own tests are clean means nothing.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

static char *bug = "none";
module_param(bug, charp, 0444);
MODULE_PARM_DESC(bug, "memory, lock, sleep, leak or race");

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(spin);

/* A read of memory that was freed. */
static void plant_memory(void)
{
	char *text = kmalloc(100, GFP_KERNEL);

	if (!text)
		return;
	OPTIMIZER_HIDE_VAR(text);
	kfree(text);
	pr_info("planted: %d\n", READ_ONCE(text[7]));
}

/* Two locks in both orders, one after the other: a deadlock that did not happen. */
static void plant_lock(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

/* A lock that may sleep, below one under which nobody may. */
static void plant_sleep(void)
{
	spin_lock(&spin);
	mutex_lock(&first);
	mutex_unlock(&first);
	spin_unlock(&spin);
}

/* Several: an old word somewhere that looks like a pointer hides one of them. */
static void plant_leak(void)
{
	void *lost;
	int n;

	for (n = 0; n < 64; n++) {
		lost = kmalloc(100, GFP_KERNEL);
		OPTIMIZER_HIDE_VAR(lost);
	}
}

static unsigned long shared;

static int count(void *until)
{
	while (time_before(jiffies, *(unsigned long *)until)) {
		shared++;
		cpu_relax();
	}
	while (!kthread_should_stop())
		msleep(10);
	return 0;
}

/* One number, counted up by two CPUs without an order between them. */
static void plant_race(void)
{
	unsigned long until = jiffies + 10 * HZ;
	struct task_struct *one = kthread_run(count, &until, "planted-1");
	struct task_struct *two = kthread_run(count, &until, "planted-2");

	msleep(10500);
	if (!IS_ERR(one))
		kthread_stop(one);
	if (!IS_ERR(two))
		kthread_stop(two);
	pr_info("planted: %lu\n", shared);
}

static int __init plant(void)
{
	if (!strcmp(bug, "memory"))
		plant_memory();
	else if (!strcmp(bug, "lock"))
		plant_lock();
	else if (!strcmp(bug, "sleep"))
		plant_sleep();
	else if (!strcmp(bug, "leak"))
		plant_leak();
	else if (!strcmp(bug, "race"))
		plant_race();
	else if (strcmp(bug, "none"))
		return -EINVAL;
	return 0;
}

static void __exit dig_up(void)
{
}

module_init(plant);
module_exit(dig_up);
MODULE_DESCRIPTION("Mistakes that debug kernels have to notice");
MODULE_LICENSE("GPL");
