/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RTM_RUN_CONTROL_H
#define RTM_RUN_CONTROL_H

#include <stdint.h>

/* The command in RAX (control.h); returns the answer. */
uint64_t run_control(const uint64_t gpr[16]);

#endif
