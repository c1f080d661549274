/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What start-up, or an hour of load, has touched and nobody looks at any more is given back to the kernel: free pages
 * of the heap, what idle connections to the database keep, and the pages of program and libraries.  Those stay in the
 * kernel's cache; one that is wanted again costs a fault of less than a microsecond.  What would break it: giving back
 * a page that was written to.  Only segments that are mapped without the right to write are touched; relocated tables
 * are in the others.
 */
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "app/daemon/daemon.h"

#define LOOK_MS 1000
#define QUIET_EVENTS 4 /* in a look: probes and scrapes go on at all times */
#define QUIET_LOOKS 3
#define WORTH_EVENTS 200

static void give_back_segment(uintptr_t from, uintptr_t to)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	from = (from + page - 1) & ~(page - 1); /* whole pages alone: the ends may be shared with what is written */
	to &= ~(page - 1);
	if (from < to)
		(void)madvise((void *)from, to - from, MADV_DONTNEED); /* if it cannot be, all stays as it was */
}

static bool has_relocated_text(const struct dl_phdr_info *info, const ElfW(Phdr) * p)
{
	for (const ElfW(Dyn) *d = (const void *)(info->dlpi_addr + p->p_vaddr); d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL)))
			return true;
	return false;
}

/* While this runs no library can come or go. */
static int give_back_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	for (size_t i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC && has_relocated_text(info, &info->dlpi_phdr[i]))
			return 0;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
			give_back_segment(info->dlpi_addr + p->p_vaddr, info->dlpi_addr + p->p_vaddr + p->p_memsz);
	}
	return 0;
}

static void give_back(void *arg)
{
	const struct daemon *d = arg;

	if (d->store)
		store_rest(d->store);
	(void)malloc_trim(0); /* nothing to give is no failure */
	(void)dl_iterate_phdr(give_back_object, NULL);
}

static void gave_back(void *arg)
{
	struct daemon *d = arg;

	d->memory.under_way = false;
	d->n_calls--;
	daemon_drained_check(d);
}

/* Requests that began and those that ended: a stream may take its memory for hours. */
static uint64_t count_events(const struct daemon *d)
{
	uint64_t n = 0;

	for (size_t i = 0; i < d->n_loops + d->has_control_listener; i++) {
		const struct http_server_stats *s = http_server_stats(d->loops[i].server);

		n += counter_get(&s->requests) + counter_get(&s->ended);
	}
	return n;
}

/* When it was quiet for a while after a start or some load. */
static bool is_due(struct daemon_memory *m, uint64_t events)
{
	m->quiet = events - m->seen > QUIET_EVENTS ? 0 : m->quiet + 1;
	m->seen = events;
	return m->quiet >= QUIET_LOOKS && !m->under_way && (!m->done || events - m->done_at >= WORTH_EVENTS);
}

static void on_loop(void *arg)
{
	struct data_loop *l = arg;

	http_server_give_back(l->server);
	gateway_give_back(l->gateway);
}

static void on_timer(void *arg)
{
	struct daemon *d = arg;
	struct daemon_memory *m = &d->memory;

	if (d->stopping)
		return;
	timer_set(d->control, &m->timer, LOOK_MS);
	if (m->asked) { /* by now the loops have */
		m->asked = false;
		m->under_way = true;
		d->n_calls++;
		job_submit(d->control, give_back, gave_back, d); /* a large heap takes a while */
	} else if (is_due(m, count_events(d))) {
		m->done = m->asked = true;
		m->done_at = m->seen;
		for (size_t i = 0; i < d->n_loops + d->has_control_listener; i++)
			loop_post(d->loops[i].loop, on_loop, &d->loops[i]);
	}
}

void daemon_watch_memory(struct daemon *d)
{
	timer_init(&d->memory.timer, on_timer, d);
	timer_set(d->control, &d->memory.timer, LOOK_MS);
}
