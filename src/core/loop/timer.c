/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timer wheel of a loop: three wheels, each turn of a finer one being one slot of the coarser one.  A far timer
 * moves to a finer wheel when its slot comes up.  One uv timer is armed for the next slot that holds anything, so that
 * an idle loop sleeps.
 *
 * What would break it: `used` not saying exactly which slots hold timers (a timer would be slept through), or `cur`
 * passing a slot that has not been fired.  A tick is numbered from the loop's own clock: tick t stands for t *
 * LOOP_TICK_MS.
 */
#include <assert.h>

#include "core/loop/loop_internal.h"

enum { SHIFT_1 = 8, SHIFT_2 = 14, FIRST_1 = WHEEL_NEAR, FIRST_2 = WHEEL_NEAR + WHEEL_FAR };

static void link_at(struct timer *t, struct timer **at)
{
	t->next = *at;
	t->prev = at;
	if (t->next)
		t->next->prev = &t->next;
	*at = t;
}

/* To any list: a slot, the soon list, or the one being fired. */
static void wheel_unlink(struct wheel *w, struct timer *t)
{
	struct timer **prev = t->prev;

	*prev = t->next;
	if (t->next)
		t->next->prev = prev;
	if (w->soon_tail == &t->next)
		w->soon_tail = prev;
	if (!*prev && prev >= w->slot && prev < w->slot + WHEEL_SLOTS) {
		size_t i = (size_t)(prev - w->slot);

		w->used[i / 64] &= ~(1ULL << (i % 64));
	}
	t->next = NULL;
	t->prev = NULL;
}

/* Puts t where tick at belongs, seen from cur; at >= cur. */
static void wheel_place(struct wheel *w, struct timer *t, int64_t at)
{
	int64_t delta = at - w->cur;
	size_t i;

	if (delta < WHEEL_NEAR) {
		i = (size_t)(at & (WHEEL_NEAR - 1));
	} else if (delta < (int64_t)WHEEL_FAR << SHIFT_1) {
		i = FIRST_1 + (size_t)(at >> SHIFT_1 & (WHEEL_FAR - 1));
	} else {
		int64_t last = w->cur + ((int64_t)WHEEL_FAR << SHIFT_2) - 1;

		i = FIRST_2 + (size_t)((at < last ? at : last) >> SHIFT_2 & (WHEEL_FAR - 1));
	}
	w->used[i / 64] |= 1ULL << (i % 64);
	link_at(t, &w->slot[i]);
}

static int64_t tick_of(int64_t at_ms)
{
	return (at_ms + LOOP_TICK_MS - 1) / LOOP_TICK_MS;
}

/* How many slots after `from` (1 to 64) the next used one is, within one word of bits; 0: none. */
static int next_bit(uint64_t bits, int64_t from)
{
	unsigned at = (unsigned)(from + 1) & 63;

	if (!bits)
		return 0;
	bits = at ? bits >> at | bits << (64 - at) : bits;
	return __builtin_ctzll(bits) + 1;
}

static int64_t next_near(const struct wheel *w)
{
	for (int64_t t = w->cur + 1; t <= w->cur + WHEEL_NEAR;) {
		uint64_t bits = w->used[(t & (WHEEL_NEAR - 1)) / 64] >> (t & 63);

		if (bits)
			return t + __builtin_ctzll(bits);
		t = (t | 63) + 1;
	}
	return INT64_MAX;
}

/* The next tick at which something has to be done. */
static int64_t wheel_next(const struct wheel *w)
{
	int64_t best = next_near(w);
	int n1 = next_bit(w->used[FIRST_1 / 64], w->cur >> SHIFT_1);
	int n2 = next_bit(w->used[FIRST_2 / 64], w->cur >> SHIFT_2);

	if (n1 && ((w->cur >> SHIFT_1) + n1) << SHIFT_1 < best)
		best = ((w->cur >> SHIFT_1) + n1) << SHIFT_1;
	if (n2 && ((w->cur >> SHIFT_2) + n2) << SHIFT_2 < best)
		best = ((w->cur >> SHIFT_2) + n2) << SHIFT_2;
	return best;
}

/* Moves a coarse slot whose time has come into finer ones. */
static void wheel_cascade(struct wheel *w, size_t i)
{
	struct timer *list = w->slot[i], *t;

	w->slot[i] = NULL;
	w->used[i / 64] &= ~(1ULL << (i % 64));
	if (list)
		list->prev = &list;
	while ((t = list)) {
		int64_t at = tick_of(t->at_ms);

		wheel_unlink(w, t);
		wheel_place(w, t, at > w->cur ? at : w->cur);
	}
}

static void wheel_fire(struct wheel *w, struct timer **slot)
{
	struct timer *list = *slot, *t;
	size_t i = (size_t)(slot - w->slot);

	*slot = NULL;
	w->used[i / 64] &= ~(1ULL << (i % 64));
	if (list)
		list->prev = &list;
	while ((t = list)) {
		wheel_unlink(w, t);
		w->n--;
		t->fn(t->arg);
	}
}

static void on_tick(uv_timer_t *handle);

static void wheel_arm(struct loop *l, int64_t tick)
{
	int64_t now = loop_now_ms(l), at = tick * LOOP_TICK_MS;

	l->wheel.armed = tick;
	uv_timer_start(&l->tick, on_tick, at > now ? (uint64_t)(at - now) : 0, 0);
}

static void on_tick(uv_timer_t *handle)
{
	struct loop *l = handle->data;
	struct wheel *w = &l->wheel;
	int64_t now = loop_now_ms(l) / LOOP_TICK_MS;

	w->armed = INT64_MIN; /* callbacks that set timers need not arm: it is done below */
	while (w->cur < now) {
		int64_t next = wheel_next(w);

		if (next > now) {
			w->cur = now;
			break;
		}
		w->cur = next;
		if (!(next & ((1 << SHIFT_2) - 1)))
			wheel_cascade(w, FIRST_2 + (size_t)(next >> SHIFT_2 & (WHEEL_FAR - 1)));
		if (!(next & ((1 << SHIFT_1) - 1)))
			wheel_cascade(w, FIRST_1 + (size_t)(next >> SHIFT_1 & (WHEEL_FAR - 1)));
		wheel_fire(w, &w->slot[next & (WHEEL_NEAR - 1)]);
	}
	w->armed = INT64_MAX;
	if (w->n)
		wheel_arm(l, wheel_next(w));
}

static void on_idle(uv_idle_t *handle)
{
	struct loop *l = handle->data;
	struct wheel *w = &l->wheel;
	struct timer *list = w->soon, *t;

	w->soon = NULL;
	w->soon_tail = &w->soon;
	if (list)
		list->prev = &list;
	while ((t = list)) {
		wheel_unlink(w, t);
		t->fn(t->arg);
	}
	if (!w->soon)
		uv_idle_stop(&l->idle);
}

int wheel_init(struct loop *l)
{
	int rc = uv_timer_init(&l->uv, &l->tick);

	l->wheel.armed = INT64_MAX;
	l->wheel.soon_tail = &l->wheel.soon;
	l->tick.data = l;
	l->idle.data = l;
	return rc ? rc : uv_idle_init(&l->uv, &l->idle);
}

void timer_init(struct timer *t, loop_fn *fn, void *arg)
{
	*t = (struct timer){.fn = fn, .arg = arg};
}

/* A timer in the soon list is known by its time, which no timer in a slot can have. */
static void set_soon(struct loop *l, struct timer *t)
{
	struct wheel *w = &l->wheel;

	link_at(t, w->soon_tail);
	w->soon_tail = &t->next;
	t->at_ms = INT64_MIN;
	uv_idle_start(&l->idle, on_idle);
}

void timer_set(struct loop *l, struct timer *t, int64_t delay_ms)
{
	struct wheel *w = &l->wheel;
	int64_t at;

	assert(t->fn);
	timer_cancel(l, t);
	if (delay_ms <= 0) {
		set_soon(l, t);
		return;
	}
	if (!l->running)
		uv_update_time(&l->uv);
	t->at_ms = loop_now_ms(l) + delay_ms;
	if (!w->n++ && w->armed != INT64_MIN)
		w->cur = loop_now_ms(l) / LOOP_TICK_MS; /* nothing was waiting: no slot can be passed over */
	at = tick_of(t->at_ms);
	if (at <= w->cur)
		at = w->cur + 1;
	wheel_place(w, t, at);
	/* Coarse slots that come up before the armed time are moved then: late is soon enough. */
	if (at < w->armed)
		wheel_arm(l, at);
}

void timer_cancel(struct loop *l, struct timer *t)
{
	if (!t->prev)
		return;
	if (t->at_ms != INT64_MIN)
		l->wheel.n--;
	wheel_unlink(&l->wheel, t);
}
