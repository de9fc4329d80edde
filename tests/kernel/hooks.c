// SPDX-License-Identifier: GPL-2.0
/* Linked into the kernel's selftests of VFIO. */
#include <poll.h>
#include <stdlib.h>

/* Of their library: lib/iommu.c. */
extern const char *default_iommu_mode;

/*
 * Those that try one kind of container alone take iommufd, which Debian's kernels do not have; here
 * it is what the environment says.
 */
__attribute__((constructor)) static void choose(void)
{
	const char *mode = getenv("VFIO_SELFTESTS_IOMMU_MODE");

	if (mode)
		default_iommu_mode = mode;
}

/* An emulated machine, on a host that is busy, is so much slower than what they are made for. */
#define SLOWNESS 10

int __real_poll(struct pollfd *files, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *files, nfds_t count, int timeout);

/* By this call alone they wait for something: their harness for the end of each test, 30 s. */
int __wrap_poll(struct pollfd *files, nfds_t count, int timeout)
{
	return __real_poll(files, count,
			   timeout > 0 ? SLOWNESS * timeout : timeout);
}
