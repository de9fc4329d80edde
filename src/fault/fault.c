// SPDX-License-Identifier: GPL-2.0
/*
 * Which call fails (builds for tests). The module parameter "fault":
 *   written: "N" - the N-th call that can fail, of the writer's process and of pagemove's own
 *            threads, fails once. "N all" - of whoever calls. "N ours WORD" - of those with this
 *            word in their name. "0" - none.
 *   read:    "passed P fired F"; what the module holds; and if a call has failed which one, and
 *            from where: the places in pagemove's own code, innermost first.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/export.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/stacktrace.h>
#include <linux/string.h>

#include "fault.h"

#define MOST_FRAMES 32

/* Of the calls from one place only so many are numbered, or a walk of a table would have a
 * number for each entry. */
#define MOST_FROM_ONE_PLACE 40
#define PLACES 512

static struct place {
	unsigned long from;
	unsigned int passed;
} places[PLACES];

/* What the module has got of the kernel, and has not given back. */
static atomic_long_t held[PAGEMOVE_HELD_NR];
static const char *const held_names[PAGEMOVE_HELD_NR] = {
	[PAGEMOVE_OBJECTS] = "objects",	    [PAGEMOVE_PAGES] = "pages",
	[PAGEMOVE_FILES] = "files",	    [PAGEMOVE_PINS] = "pins",
	[PAGEMOVE_THREADS] = "threads",	    [PAGEMOVE_MMS] = "mms",
	[PAGEMOVE_FUNCTIONS] = "functions", [PAGEMOVE_GROUPS] = "groups",
};

void pagemove_held(enum pagemove_held what, long change)
{
	atomic_long_add(change, &held[what]);
}

static DEFINE_SPINLOCK(lock);
static struct {
	unsigned long left; /* calls until one fails; 0: none will */
	unsigned long passed; /* since it was written */
	pid_t whose; /* 0: of everybody */
	char only[16]; /* a part of the names of the calls that count */
	const char *call; /* that failed */
	unsigned long from;
	unsigned long frames[MOST_FRAMES];
	unsigned int nr;
} fault;

static bool is_ours(void)
{
	if (!fault.whose || current->tgid == fault.whose)
		return true;
	return (current->flags & PF_KTHREAD) &&
	       strstarts(current->comm, "pagemove_");
}

/* Whether the call has a number. */
static bool counts(unsigned long from)
{
	for (unsigned int n = 0; n < PLACES; n++) {
		struct place *place = &places[(from + n) % PLACES];

		if (!place->from)
			place->from = from;
		if (place->from == from)
			return place->passed++ < MOST_FROM_ONE_PLACE;
	}
	return true;
}

bool pagemove_fault(const char *call, unsigned long from)
{
	unsigned long flags;
	bool fires = false;

	if (!READ_ONCE(fault.left) || !in_task())
		return false;
	spin_lock_irqsave(&lock, flags);
	if (fault.left && is_ours() && strstr(call, fault.only) &&
	    counts(from)) {
		fault.passed++;
		fires = !--fault.left;
	}
	if (fires) {
		fault.call = call;
		fault.from = from;
		fault.nr = stack_trace_save(fault.frames, MOST_FRAMES, 0);
		/* If the module does not come to be loaded, nobody can ask it. */
		if (THIS_MODULE->state == MODULE_STATE_COMING)
			pr_info("fault at load: %s < %pB\n", call,
				(void *)from);
	}
	spin_unlock_irqrestore(&lock, flags);
	return fires;
}
EXPORT_SYMBOL_NS_GPL(pagemove_fault, "PAGEMOVE");

/* What Rust copies from or to user space by functions that Rust exports: their names are no
 * names to wrap. */
bool pagemove_fault_copy(void)
{
	return FAILS(copy);
}

/* VFIO is called by another thread than the one that asks for it. */
bool pagemove_fault_pin(void)
{
	return FAILS(vfio_pin_pages);
}

static int arm(const char *text, const struct kernel_param *param)
{
	unsigned long n, flags;
	char all[5] = "", only[16] = "";

	if (sscanf(text, "%lu %4s %15s", &n, all, only) < 1)
		return -EINVAL;
	spin_lock_irqsave(&lock, flags);
	fault.left = n;
	fault.passed = 0;
	fault.whose = strcmp(all, "all") ? current->tgid : 0;
	strscpy(fault.only, only);
	fault.call = NULL;
	fault.nr = 0;
	memset(places, 0, sizeof(places));
	spin_unlock_irqrestore(&lock, flags);
	return 0;
}

static int tell(char *text, const struct kernel_param *param)
{
	int length = scnprintf(text, PAGE_SIZE, "passed %lu fired %d\n",
			       fault.passed, !!fault.call);
	bool inside = false;

	length += scnprintf(text + length, PAGE_SIZE - length, "held");
	for (int n = 0; n < PAGEMOVE_HELD_NR; n++)
		length += scnprintf(text + length, PAGE_SIZE - length,
				    " %s=%ld", held_names[n],
				    atomic_long_read(&held[n]));
	length += scnprintf(text + length, PAGE_SIZE - length, "\n");
	if (!fault.call)
		return length;
	length += scnprintf(text + length, PAGE_SIZE - length, "%s\n",
			    fault.call);
	for (unsigned int n = 0; n < fault.nr; n++) {
		inside |= fault.frames[n] == fault.from;
		if (inside && within_module(fault.frames[n], THIS_MODULE))
			length += scnprintf(text + length, PAGE_SIZE - length,
					    "%pB\n", (void *)fault.frames[n]);
	}
	return length;
}

static const struct kernel_param_ops ops = {
	.set = arm,
	.get = tell,
};
module_param_cb(fault, &ops, NULL, 0600);
__MODULE_PARM_TYPE(fault, "call that fails");
