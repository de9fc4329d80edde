/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included before the sources of the kernel's selftests of VFIO. Those of Linux 7.2.12 use this
 * and do not define it; later ones do.
 */
#ifndef PAGEMOVE_TEST_ALLOCATE_H
#define PAGEMOVE_TEST_ALLOCATE_H

#include <libvfio/assert.h>

#ifndef calloc_assert
#define calloc_assert(count, size)                    \
	({                                            \
		void *__zeroed = calloc(count, size); \
		VFIO_ASSERT_NOT_NULL(__zeroed);       \
		__zeroed;                             \
	})
#endif

#endif
