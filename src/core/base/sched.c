/* SPDX-License-Identifier: Apache-2.0 */
/* Classes and slices of threads.  What would break it: a class that others can starve (SCHED_IDLE): records would wait
 * until the spool is full while the loops are busy. */
#include "core/base/sched.h"

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLICE_NS 100000 /* the shortest there is; for SCHED_OTHER the kernel takes sched_runtime as it */

static void set(struct sched_attr a)
{
	if (syscall(SYS_sched_getscheduler, 0) != SCHED_NORMAL)
		return; /* whoever started us chose otherwise */
	a.size = sizeof(a);
	a.sched_nice = getpriority(PRIO_PROCESS, 0); /* as it is: of this thread, with Linux */
	(void)syscall(SYS_sched_setattr, 0, &a, 0);
}

void sched_answers(void)
{
	set((struct sched_attr){.sched_policy = SCHED_NORMAL, .sched_runtime = SLICE_NS});
}

/*
 * On its way out of any call, the kernel looks who is to run.  Not sched_yield: that gives away the rest of a slice of
 * milliseconds, and who calls it every 100 us gets a thirtieth of the processor while others want it.
 */
void sched_let_others(void)
{
	(void)syscall(SYS_getppid);
}

void sched_works_behind(void)
{
	set((struct sched_attr){.sched_policy = SCHED_BATCH});
}
