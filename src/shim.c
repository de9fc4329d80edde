// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust can not reach in this kernel: inline functions, macros, structures
 * without bindings, and the tables of callbacks that VFIO wants. Each function
 * is one call or one field; nothing is decided here.
 */
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/cc_platform.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/kernel_read_file.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <linux/sched/mm.h>
#include <linux/security.h>
#include <linux/topology.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <linux/vfio_pci_core.h>
#include <linux/workqueue.h>
#include <asm/cacheflush.h>
#include <asm/cpufeature.h>
#include <asm/cpuid/api.h>
#include <asm/processor.h>
#include <asm/tsc.h>

/* The device as VFIO sees it; core has to come first (vfio_alloc_device). */
struct pagemove_vfio {
	struct vfio_pci_core_device core;
	void *owner;
};

/* Written in Rust: src/vfio.rs, src/reclaim.rs. */
void *pagemove_vfio_probed(struct pci_dev *pdev, struct vfio_device *vdev);
void pagemove_vfio_removed(void *owner);
void pagemove_vfio_opened(void *owner, struct iommu_domain *domain);
void pagemove_vfio_closing(void *owner);
void pagemove_vfio_dma_unmap(void *owner, u64 iova, u64 length);
unsigned int pagemove_reclaim(void);

static void *owner_of(struct vfio_device *vdev)
{
	return container_of(vdev, struct pagemove_vfio, core.vdev)->owner;
}

static int pagemove_open_device(struct vfio_device *vdev)
{
	struct vfio_pci_core_device *core =
		container_of(vdev, struct vfio_pci_core_device, vdev);
	int ret = vfio_pci_core_enable(core);

	if (ret)
		return ret;
	vfio_pci_core_finish_enable(core);
	pagemove_vfio_opened(owner_of(vdev),
			     iommu_get_domain_for_dev(&core->pdev->dev));
	return 0;
}

static void pagemove_close_device(struct vfio_device *vdev)
{
	/* Waits for moves; none begins afterwards. Then the device is reset. */
	pagemove_vfio_closing(owner_of(vdev));
	vfio_pci_core_close_device(vdev);
}

static void pagemove_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	pagemove_vfio_dma_unmap(owner_of(vdev), iova, length);
}

static const struct vfio_device_ops pagemove_vfio_ops = {
	.name			= "pagemove_vfio",
	.init			= vfio_pci_core_init_dev,
	.release		= vfio_pci_core_release_dev,
	.open_device		= pagemove_open_device,
	.close_device		= pagemove_close_device,
	.ioctl			= vfio_pci_core_ioctl,
	.get_region_info_caps	= vfio_pci_ioctl_get_region_info,
	.device_feature		= vfio_pci_core_ioctl_feature,
	.read			= vfio_pci_core_read,
	.write			= vfio_pci_core_write,
	.mmap			= vfio_pci_core_mmap,
	.request		= vfio_pci_core_request,
	.match			= vfio_pci_core_match,
	.match_token_uuid	= vfio_pci_core_match_token_uuid,
	.dma_unmap		= pagemove_dma_unmap,
	.bind_iommufd		= vfio_iommufd_physical_bind,
	.unbind_iommufd		= vfio_iommufd_physical_unbind,
	.attach_ioas		= vfio_iommufd_physical_attach_ioas,
	.detach_ioas		= vfio_iommufd_physical_detach_ioas,
};

static int pagemove_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct pagemove_vfio *dev;
	int ret;

	dev = vfio_alloc_device(pagemove_vfio, core.vdev, &pdev->dev,
				&pagemove_vfio_ops);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	dev_set_drvdata(&pdev->dev, &dev->core);

	dev->owner = pagemove_vfio_probed(pdev, &dev->core.vdev);
	if (!dev->owner) {
		vfio_put_device(&dev->core.vdev);
		return -ENOMEM;
	}
	ret = vfio_pci_core_register_device(&dev->core);
	if (ret) {
		pagemove_vfio_removed(dev->owner);
		vfio_put_device(&dev->core.vdev);
	}
	return ret;
}

static void pagemove_remove(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *core = dev_get_drvdata(&pdev->dev);
	void *owner = owner_of(&core->vdev);

	/* Returns when the device is closed, so no callback comes any more. */
	vfio_pci_core_unregister_device(core);
	pagemove_vfio_removed(owner);
	vfio_put_device(&core->vdev);
}

static const struct pci_device_id pagemove_ids[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_ANY_ID, PCI_ANY_ID) },
	{}
};
MODULE_DEVICE_TABLE(pci, pagemove_ids);

static struct pci_driver pagemove_pci_driver = {
	.name			= "pagemove_vfio",
	.id_table		= pagemove_ids,
	.probe			= pagemove_probe,
	.remove			= pagemove_remove,
	.err_handler		= &vfio_pci_core_err_handlers,
	.driver_managed_dma	= true,
};

int pagemove_register_vfio(void)
{
	return pci_register_driver(&pagemove_pci_driver);
}

void pagemove_unregister_vfio(void)
{
	pci_unregister_driver(&pagemove_pci_driver);
}

bool pagemove_pci_is_ours(struct pci_dev *pdev)
{
	return pdev->dev.driver == &pagemove_pci_driver.driver;
}

const char *pagemove_pci_driver_name(struct pci_dev *pdev)
{
	struct device_driver *driver = READ_ONCE(pdev->dev.driver);

	return driver ? driver->name : NULL;
}

u32 pagemove_pci_address(struct pci_dev *pdev)
{
	return (u32)pci_domain_nr(pdev->bus) << 16 | pci_dev_id(pdev);
}

int pagemove_pci_node(struct pci_dev *pdev)
{
	return dev_to_node(&pdev->dev);
}

struct iommu_domain *pagemove_pci_domain(struct pci_dev *pdev)
{
	return iommu_get_domain_for_dev(&pdev->dev);
}

struct domain_visit {
	void (*visit)(void *context, struct iommu_domain *domain);
	void *context;
};

static int visit_domain(struct device *dev, void *data)
{
	struct domain_visit *call = data;
	struct iommu_domain *domain = iommu_driver_get_domain_for_dev(dev);

	if (domain && domain->type == IOMMU_DOMAIN_UNMANAGED)
		call->visit(call->context, domain);
	return 1; /* one device speaks for its group */
}

/* Calls back with the domain that a VFIO user attached, if there is one. It can
 * not be detached, and so not be freed, meanwhile: that takes the group's mutex. */
void pagemove_pci_with_domain(struct pci_dev *pdev,
			      void (*visit)(void *context, struct iommu_domain *domain),
			      void *context)
{
	struct domain_visit call = { .visit = visit, .context = context };
	struct iommu_group *group = iommu_group_get(&pdev->dev);

	if (!group)
		return;
	iommu_group_for_each_dev(group, &call, visit_domain);
	iommu_group_put(group);
}

const char *pagemove_pci_iommu_name(struct pci_dev *pdev)
{
	struct dev_iommu *iommu = pdev->dev.iommu;

	return iommu && iommu->iommu_dev && iommu->iommu_dev->dev ?
		dev_name(iommu->iommu_dev->dev) : NULL;
}

bool pagemove_pci_has_ats(struct pci_dev *pdev)
{
#ifdef CONFIG_PCI_ATS
	return pdev->ats_enabled;
#else
	return false;
#endif
}

bool pagemove_pci_is_present(struct pci_dev *pdev)
{
	return pci_device_is_present(pdev);
}

/* IOMMU domains */

u32 pagemove_domain_format(const struct iommu_domain *domain)
{
	if (!domain->is_iommupt)
		return 0;
	if (IS_ENABLED(CONFIG_IOMMU_PT_X86_64) &&
	    domain->ops->iova_to_phys == pt_iommu_x86_64_iova_to_phys)
		return 1;
	if (IS_ENABLED(CONFIG_IOMMU_PT_VTDSS) &&
	    domain->ops->iova_to_phys == pt_iommu_vtdss_iova_to_phys)
		return 2;
	if (IS_ENABLED(CONFIG_IOMMU_PT_AMDV1) &&
	    domain->ops->iova_to_phys == pt_iommu_amdv1_iova_to_phys)
		return 3;
	return 0;
}

static struct pt_common *common_of(struct iommu_domain *domain)
{
	/* Of every format: struct pt_iommu, then struct pt_common. */
	return &container_of(domain, struct pt_iommu_x86_64,
			     iommu.domain)->x86_64_pt.common;
}

/* Table pointer (virtual) and level, as the kernel packs them. */
u64 pagemove_domain_top(struct iommu_domain *domain)
{
	return READ_ONCE(common_of(domain)->top_of_table);
}

u64 pagemove_top_phys(u64 top)
{
	return virt_to_phys((void *)(top & ~(u64)PT_TOP_LEVEL_MASK));
}

u32 pagemove_top_level(u64 top)
{
	return top & PT_TOP_LEVEL_MASK;
}

bool pagemove_domain_incoherent(struct iommu_domain *domain)
{
	return common_of(domain)->features & BIT(PT_FEAT_DMA_INCOHERENT);
}

void pagemove_domain_flush(struct iommu_domain *domain, u64 first, u64 last)
{
	struct iommu_iotlb_gather gather;

	iommu_iotlb_gather_init(&gather);
	gather.start = first;
	gather.end = last;
	gather.pgsize = PAGE_SIZE;
	iommu_iotlb_sync(domain, &gather);
}

/* Pages */

struct page *pagemove_alloc_page(int node, bool zero)
{
	return alloc_pages_node(node, GFP_KERNEL | __GFP_THISNODE | __GFP_NOWARN |
				__GFP_RETRY_MAYFAIL | (zero ? __GFP_ZERO : 0), 0);
}

struct page *pagemove_alloc_page_for(struct vm_area_struct *vma,
				     unsigned long address)
{
	struct folio *folio = vma_alloc_folio(GFP_USER | __GFP_ZERO, 0, vma, address);

	return folio ? folio_page(folio, 0) : NULL;
}

void pagemove_page_own(struct page *page, unsigned long tag)
{
	__SetPageReserved(page);
	set_page_private(page, tag);
}

void pagemove_page_free(struct page *page)
{
	set_page_private(page, 0);
	ClearPageReserved(page);
	__free_page(page);
}

unsigned long pagemove_page_tag(struct page *page)
{
	return PageReserved(page) ? page_private(page) : 0;
}

u64 pagemove_page_phys(struct page *page)
{
	return page_to_phys(page);
}

struct page *pagemove_phys_page(u64 phys)
{
	return pfn_valid(PHYS_PFN(phys)) ? pfn_to_page(PHYS_PFN(phys)) : NULL;
}

int pagemove_page_node(struct page *page)
{
	return page_to_nid(page);
}

void *pagemove_phys_virt(u64 phys)
{
	return phys_to_virt(phys);
}

/* Reads memory that may have been freed, or may be none. */
bool pagemove_read_word(u64 phys, u64 *word)
{
	return pfn_valid(PHYS_PFN(phys)) &&
		!get_kernel_nofault(*word, (u64 *)phys_to_virt(phys));
}

bool pagemove_node_has_memory(int node)
{
	return node >= 0 && node < MAX_NUMNODES && node_state(node, N_MEMORY);
}

/* User mappings */

static const struct file_operations anchor_fops = {
	.owner = THIS_MODULE,
};

/* A file whose only use is its own address_space. */
struct file *pagemove_new_mapping(void)
{
	return anon_inode_create_getfile("[pagemove]", &anchor_fops, NULL, O_RDWR, NULL);
}

struct address_space *pagemove_mapping_of(struct file *file)
{
	return file->f_mapping;
}

void pagemove_set_mapping(struct file *file, struct address_space *mapping)
{
	file->f_mapping = mapping;
}

void *pagemove_private(struct file *file)
{
	return file->private_data;
}

void pagemove_set_private(struct file *file, void *private)
{
	file->private_data = private;
}

bool pagemove_vma_may_share(struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_MAYSHARE;
}

void pagemove_vma_setup(struct vm_area_struct *vma,
			const struct vm_operations_struct *ops, void *private)
{
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY);
	vma->vm_ops = ops;
	vma->vm_private_data = private;
}

unsigned long pagemove_vma_start(struct vm_area_struct *vma)
{
	return vma->vm_start;
}

unsigned long pagemove_vma_pages(struct vm_area_struct *vma)
{
	return vma_pages(vma);
}

unsigned long pagemove_vma_first(struct vm_area_struct *vma)
{
	return vma->vm_pgoff;
}

struct mm_struct *pagemove_vma_mm(struct vm_area_struct *vma)
{
	return vma->vm_mm;
}

void *pagemove_vma_private(struct vm_area_struct *vma)
{
	return vma->vm_private_data;
}

unsigned long pagemove_fault_index(struct vm_fault *vmf)
{
	return vmf->pgoff;
}

unsigned long pagemove_fault_address(struct vm_fault *vmf)
{
	return vmf->address;
}

struct vm_area_struct *pagemove_fault_vma(struct vm_fault *vmf)
{
	return vmf->vma;
}

vm_fault_t pagemove_insert(struct vm_area_struct *vma, unsigned long address, u64 phys)
{
	return vmf_insert_pfn(vma, address, PHYS_PFN(phys));
}

void pagemove_zap(struct address_space *mapping, u64 offset, u64 length)
{
	unmap_mapping_range(mapping, offset, length, 1);
}

/* Faults the page in as a thread of that process would, if that is possible
 * without waiting for the process's mmap_lock. */
bool pagemove_premap(struct mm_struct *mm, unsigned long address,
		     const struct vm_operations_struct *ops, unsigned long index,
		     void *private)
{
	struct vm_area_struct *vma;
	bool done = false;

	if (!mmget_not_zero(mm))
		return false;
	if (mmap_read_trylock(mm)) {
		vma = vma_lookup(mm, address);
		if (vma && vma->vm_ops == ops && vma->vm_private_data == private &&
		    linear_page_index(vma, address) == index)
			done = !fixup_user_fault(mm, address, FAULT_FLAG_REMOTE, NULL);
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
 * before the users: see src/mms.rs.
 */
int pagemove_mm_count(struct mm_struct *mm)
{
	int count;

	preempt_disable();
	count = atomic_read(&mm->mm_count);
	if (IS_ENABLED(CONFIG_MMU_LAZY_TLB_REFCOUNT) && !current->mm && current->active_mm == mm)
		count--;
	preempt_enable();
	smp_rmb(); /* pairs with the full barriers of mmput() and mmdrop() */
	return count;
}

bool pagemove_mm_is_used(struct mm_struct *mm)
{
	return atomic_read(&mm->mm_users) > 0;
}

/* The rest */

bool pagemove_capable(void)
{
	return capable(CAP_SYS_ADMIN);
}

int pagemove_locked_down(void)
{
	return security_locked_down(LOCKDOWN_DEV_MEM);
}

bool pagemove_signal_pending(void)
{
	return signal_pending(current);
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

/* CPUs and threads */

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

bool pagemove_cpus_are_siblings(unsigned int a, unsigned int b)
{
	return cpumask_test_cpu(b, topology_sibling_cpumask(a));
}

bool pagemove_cpus_share_socket(unsigned int a, unsigned int b)
{
	return topology_physical_package_id(a) == topology_physical_package_id(b);
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

/* Reads the file of stored verdicts, if there is one; says how many bytes it has. The
 * firmware loader would do it as well, but Debian's complains of each file that is not
 * there. */
size_t pagemove_read_verdicts(void *buffer, size_t size)
{
	size_t found = 0;
	ssize_t read = kernel_read_file_from_path("/lib/firmware/pagemove/verdicts", 0, &buffer,
						  size, &found, READING_FIRMWARE);

	return read < 0 ? 0 : found;
}

static void reclaim_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(reclaimer, reclaim_work);

static void reclaim_work(struct work_struct *work)
{
	unsigned int again_ms = pagemove_reclaim();

	if (!again_ms)
		return;
	/* On the next CPU: see src/mms.rs. */
	cpus_read_lock();
	schedule_delayed_work_on(cpumask_next_wrap(raw_smp_processor_id(), cpu_online_mask),
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
