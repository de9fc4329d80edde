// SPDX-License-Identifier: GPL-2.0
/* Address spaces of processes. */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>

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
