/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a program in the guest talks to the emulation of RTM: XABORT with the
 * argument RTM_CONTROL, outside a transaction, where it does nothing on a CPU. In
 * user space or the kernel alike: the command in RAX, its arguments in RCX, RDX,
 * RSI and RDI; the answer comes in RAX. XABORT is an illegal instruction where
 * there is no RTM: look at CPUID leaf 7 first, and at RTM_CONTROL_PRESENT then.
 */
#ifndef RTM_CONTROL_H
#define RTM_CONTROL_H

#define RTM_CONTROL 0xd7

/* The answer to RTM_CONTROL_PRESENT; the low byte is the version. */
#define RTM_CONTROL_MAGIC 0x52544d00454d5501ull

/* The answer of a command that is not known or whose argument is wrong. */
#define RTM_CONTROL_ERROR (~0ull)

enum rtm_command {
	/* Is this the emulation? -> RTM_CONTROL_MAGIC */
	RTM_CONTROL_PRESENT,
	/* RCX: number of the counter -> its value */
	RTM_CONTROL_COUNTER,
	/* All counters to 0, but RTM_UNSUPPORTED and RTM_LEAKED -> 0 */
	RTM_CONTROL_RESET,
	/*
	 * Which transactions injection applies to: those whose XBEGIN is at an
	 * address from RCX up to but not including RDX (both 0: any), on the CPU with
	 * number RSI - 1 (0: any), by the kernel only if RDI is 1 -> 0
	 */
	RTM_CONTROL_FILTER,
	/*
	 * Each transaction is aborted with a probability of RCX in 2^32, RDX being the
	 * seed and RSI the status, before an instruction drawn from the first RDI
	 * (0: as many as the last transaction had) -> 0
	 */
	RTM_CONTROL_SPURIOUS,
	/*
	 * The next RSI transactions are aborted before their RCXth instruction (the
	 * first after XBEGIN is 1; 0: before XEND) with status RDX -> 0
	 */
	RTM_CONTROL_ABORT_AT,
	/* The same, held up for RDX nanoseconds there -> 0 */
	RTM_CONTROL_DELAY_AT,
	/* -> instructions of the last transaction that committed and that the filter
	 * lets pass, XEND included; XBEGIN is not counted */
	RTM_CONTROL_LAST,
	/* No injection, no filter -> how many injections were still to come */
	RTM_CONTROL_CLEAR,
};

enum rtm_counter {
	RTM_BEGUN,
	RTM_COMMITTED,
	/* Aborted, by cause: the sum of these and RTM_COMMITTED is RTM_BEGUN, but for
	 * transactions that are going on. */
	RTM_ABORTED_EXPLICIT,
	RTM_ABORTED_CONFLICT,
	RTM_ABORTED_CAPACITY,
	RTM_ABORTED_INTERRUPT,
	/* A page or other fault, or memory that is no RAM. */
	RTM_ABORTED_FAULT,
	/* An instruction that aborts a transaction on a CPU. */
	RTM_ABORTED_INSTRUCTION,
	/* More than the depth of nesting. */
	RTM_ABORTED_NESTING,
	RTM_ABORTED_DEBUG,
	RTM_ABORTED_INJECTED,
	/* Went on for so long that something must be wrong. */
	RTM_ABORTED_ENDLESS,
	/* RTM_UNSUPPORTED, as a cause. */
	RTM_ABORTED_UNSUPPORTED,
	/* Conflicts that an access to the write set caused, found as it happened. */
	RTM_WATCHED,
	/* Transactions that were held up. */
	RTM_DELAYED,
	/* Instructions run in transactions. */
	RTM_INSTRUCTIONS,
	/* An instruction that may be part of a transaction, but not here. */
	RTM_UNSUPPORTED,
	/* A store that did not become visible as part of its transaction alone. */
	RTM_LEAKED,
	RTM_COUNTERS,
};

#endif
