/* SPDX-License-Identifier: GPL-2.0 */
/* What happened, counted; see control.h for what each one means. */
#ifndef RTM_COUNTERS_H
#define RTM_COUNTERS_H

#include "../control.h"

#include <stdbool.h>
#include <stdint.h>

void count(enum rtm_counter counter);
void count_add(enum rtm_counter counter, uint64_t by);
uint64_t counted(enum rtm_counter counter);
/* Sets all to 0, except those that make a run fail. */
void counters_reset(void);
/* The file for the report, or NULL for none. False: it can not be written. */
bool report_open(const char *path);
void report_write(void);
/* A line for people, in the report and on QEMU's standard error. */
void report_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
