// SPDX-License-Identifier: GPL-2.0
/* Address spaces of processes. */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/stop_machine.h>

/* Faults the page in as a thread of that process would, if that is possible
 * without waiting for the process's mmap_lock. */
bool pagemove_premap(struct mm_struct *mm, unsigned long address,
		     const struct vm_operations_struct *ops,
		     unsigned long index, void *private)
{
	struct vm_area_struct *vma;
	bool done = false;

	if (!mmget_not_zero(mm))
		return false;
	if (mmap_read_trylock(mm)) {
		vma = vma_lookup(mm, address);
		if (vma && vma->vm_ops == ops &&
		    vma->vm_private_data == private &&
		    linear_page_index(vma, address) == index)
			done = !fixup_user_fault(mm, address, FAULT_FLAG_REMOTE,
						 NULL);
		mmap_read_unlock(mm);
	}
	mmput(mm);
	return done;
}

struct mm_struct *pagemove_current_mm(void)
{
	return current->mm;
}

int pagemove_current_pid(void)
{
	return task_tgid_vnr(current);
}

void pagemove_mm_grab(struct mm_struct *mm)
{
	mmgrab(mm);
}

void pagemove_mm_drop(struct mm_struct *mm)
{
	mmdrop(mm);
}

/*
 * References to the mm itself, but for the one of this CPU if a kernel thread runs
 * here on the mm of the task before it. That one can't come or go meanwhile. Read
 * before the users: see src/region/mms.rs.
 */
int pagemove_mm_count(struct mm_struct *mm)
{
	int count;

	preempt_disable();
	count = atomic_read(&mm->mm_count);
	if (IS_ENABLED(CONFIG_MMU_LAZY_TLB_REFCOUNT) && !current->mm &&
	    current->active_mm == mm)
		count--;
	preempt_enable();
	smp_rmb(); /* pairs with the full barriers of mmput() and mmdrop() */
	return count;
}

struct stopped_count {
	struct mm_struct *mm;
	int count;
	atomic_t lazy;
};

static int count_stopped(void *data)
{
	struct stopped_count *found = data;

	/* No CPU does anything else now, so each reads the same. */
	WRITE_ONCE(found->count, atomic_read(&found->mm->mm_count));
	if (IS_ENABLED(CONFIG_MMU_LAZY_TLB_REFCOUNT) && !current->mm &&
	    current->active_mm == found->mm)
		atomic_inc(&found->lazy);
	return 0;
}

/*
 * The same without the references of all CPUs that idle on it, as each of them might.
 * It stops every CPU for some microseconds.
 */
int pagemove_mm_count_stopped(struct mm_struct *mm)
{
	struct stopped_count found = { .mm = mm, .count = INT_MAX };

	if (stop_machine(count_stopped, &found, cpu_online_mask))
		return INT_MAX;
	smp_rmb(); /* as above */
	return found.count - atomic_read(&found.lazy);
}

bool pagemove_mm_is_used(struct mm_struct *mm)
{
	return atomic_read(&mm->mm_users) > 0;
}
