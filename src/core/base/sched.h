/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a thread stands beside the others of this process where there is less processor than work.  All have the same
 * share: what is chosen is who waits for whom.  A kernel that refuses leaves things as they were.
 */
#pragma once

/* Somebody waits for what it does: it asks for short slices, and a kernel that knows them (Linux 6.12) lets it run as
 * soon as it wakes, in front of threads that do not. */
void sched_answers(void);
/* Nobody waits for what it does: it never takes the processor from another when it wakes (SCHED_BATCH). */
void sched_works_behind(void);
/* Between two pieces of long work: a kernel that is in no hurry lets others in only where it is called.  Costs next to
 * nothing when nobody waits, and no share of the processor when somebody does. */
void sched_let_others(void);
