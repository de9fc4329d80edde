// SPDX-License-Identifier: GPL-2.0
#include "counters.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_uint_fast64_t values[RTM_COUNTERS];

static const char *const names[RTM_COUNTERS] = {
	[RTM_BEGUN] = "begun",
	[RTM_COMMITTED] = "committed",
	[RTM_ABORTED_EXPLICIT] = "aborted-explicit",
	[RTM_ABORTED_CONFLICT] = "aborted-conflict",
	[RTM_ABORTED_CAPACITY] = "aborted-capacity",
	[RTM_ABORTED_INTERRUPT] = "aborted-interrupt",
	[RTM_ABORTED_FAULT] = "aborted-fault",
	[RTM_ABORTED_INSTRUCTION] = "aborted-instruction",
	[RTM_ABORTED_NESTING] = "aborted-nesting",
	[RTM_ABORTED_DEBUG] = "aborted-debug",
	[RTM_ABORTED_INJECTED] = "aborted-injected",
	[RTM_ABORTED_ENDLESS] = "aborted-endless",
	[RTM_ABORTED_UNSUPPORTED] = "aborted-unsupported",
	[RTM_WATCHED] = "watched",
	[RTM_DELAYED] = "delayed",
	[RTM_INSTRUCTIONS] = "instructions",
	[RTM_UNSUPPORTED] = "unsupported",
	[RTM_LEAKED] = "leaked",
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *report;

/* Beyond these a note says nothing new. */
#define NOTES 20
static unsigned int notes;

void count(enum rtm_counter counter)
{
	count_add(counter, 1);
}

void count_add(enum rtm_counter counter, uint64_t by)
{
	atomic_fetch_add_explicit(&values[counter], by, memory_order_relaxed);
}

uint64_t counted(enum rtm_counter counter)
{
	return atomic_load_explicit(&values[counter], memory_order_relaxed);
}

void counters_reset(void)
{
	for (int n = 0; n < RTM_UNSUPPORTED; n++)
		atomic_store_explicit(&values[n], 0, memory_order_relaxed);
}

bool report_open(const char *path)
{
	report = fopen(path, "w");
	return report != NULL;
}

void report_write(void)
{
	if (!report)
		return;
	pthread_mutex_lock(&lock);
	for (int n = 0; n < RTM_COUNTERS; n++)
		fprintf(report, "%s=%llu\n", names[n],
			(unsigned long long)counted(n));
	/* Nobody hears of an error here; the runner misses the lines. */
	fclose(report);
	report = NULL;
	pthread_mutex_unlock(&lock);
}

void report_note(const char *format, ...)
{
	char text[200];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	pthread_mutex_lock(&lock);
	if (notes++ < NOTES) {
		fprintf(stderr, "rtm: %s\n", text);
		if (report)
			fprintf(report, "# %s\n", text);
	}
	pthread_mutex_unlock(&lock);
}
