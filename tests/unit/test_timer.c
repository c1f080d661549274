/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel: real timers on a real loop for a second, and days of it by moving the loop's clock. */
#include "core/loop/loop_internal.h"

#include "core/base/rand.h"
#include "tests/t.h"

struct fired {
	struct timer timer;
	struct loop *loop;
	int64_t due_ms, at_ms;
	int n;
	int *n_left;
};

static void on_fire(void *arg)
{
	struct fired *f = arg;

	f->at_ms = loop_now_ms(f->loop);
	f->n++;
	if (f->n_left && !--*f->n_left)
		loop_stop(f->loop);
}

static struct loop *new_loop(void)
{
	struct loop *l = NULL;
	struct err err;

	CHECK_INT(loop_new("timers", &l, &err), 0);
	return l;
}

TEST(timers_fire_once_not_early_and_at_most_two_ticks_late)
{
	struct loop *l = new_loop();
	struct fired f[300] = {0};
	int left = (int)COUNT_OF(f);

	for (size_t i = 0; i < COUNT_OF(f); i++) {
		timer_init(&f[i].timer, on_fire, &f[i]);
		f[i].loop = l;
		f[i].n_left = &left;
		timer_set(l, &f[i].timer, (int64_t)i * 2);
		f[i].due_ms = loop_now_ms(l) + (int64_t)i * 2;
	}
	loop_run(l);
	for (size_t i = 0; i < COUNT_OF(f); i++) {
		CHECK_INT(f[i].n, 1);
		CHECK(f[i].at_ms >= f[i].due_ms);
		/* The machine may be busy: its share is what the loop itself woke up late, which cannot be told apart.
		 */
		CHECK(f[i].at_ms <= f[i].due_ms + 2 * LOOP_TICK_MS + 2000);
	}
	loop_free(l);
}

/* Moves the loop's clock to `to` as the loop would, without waiting: only in steps at which the wheel has asked to be
 * woken. */
static void advance(struct loop *l, int64_t to_ms)
{
	while (l->wheel.armed != INT64_MAX && l->wheel.armed * LOOP_TICK_MS <= to_ms) {
		l->uv.time = (uint64_t)(l->wheel.armed * LOOP_TICK_MS);
		l->tick.timer_cb(&l->tick);
	}
	l->uv.time = (uint64_t)to_ms;
}

TEST(far_timers_fire_at_their_time_whatever_was_set_and_cancelled_between)
{
	static const int64_t spans_ms[] = {10, 1000, 5000, 70000, 200000, 3600000, 9000000, 40000000, 400000000};
	struct loop *l = new_loop();
	static struct fired f[400];
	struct rng rng;
	int64_t now;

	rng_seed(&rng, 7);
	l->running = true; /* timer_set() takes the clock as it is */
	now = loop_now_ms(l);
	for (size_t i = 0; i < COUNT_OF(f); i++) {
		f[i] = (struct fired){.loop = l};
		timer_init(&f[i].timer, on_fire, &f[i]);
	}
	for (int step = 0; step < 20000; step++) {
		struct fired *p = &f[rng_below(&rng, COUNT_OF(f))];
		int64_t delay = 1 + (int64_t)rng_below(&rng, (uint64_t)spans_ms[rng_below(&rng, COUNT_OF(spans_ms))]);

		if (p->n) { /* fired since it was set */
			CHECK(p->n == 1 && p->at_ms >= p->due_ms && p->at_ms < p->due_ms + 2 * LOOP_TICK_MS);
			p->n = 0;
		}
		if (rng_below(&rng, 4) == 0) {
			timer_cancel(l, &p->timer);
			CHECK(!timer_is_set(&p->timer));
		} else {
			timer_set(l, &p->timer, delay);
			p->due_ms = now + delay;
		}
		now += (int64_t)rng_below(&rng, step % 100 == 0 ? 5000000 : 300);
		advance(l, now);
	}
	for (size_t i = 0; i < COUNT_OF(f); i++)
		CHECK(!timer_is_set(&f[i].timer) || f[i].due_ms + 2 * LOOP_TICK_MS > now);
	advance(l, now + 500000000);
	for (size_t i = 0; i < COUNT_OF(f); i++)
		CHECK(!timer_is_set(&f[i].timer));
	CHECK_INT((long long)l->wheel.n, 0);
	for (size_t i = 0; i < COUNT_OF(l->wheel.used); i++)
		CHECK(!l->wheel.used[i]);
	l->running = false;
	loop_free(l);
}

struct canceller {
	struct timer timer;
	struct loop *loop;
	struct timer *other[2];
};

static void cancel_others(void *arg)
{
	struct canceller *c = arg;

	timer_cancel(c->loop, c->other[0]);
	timer_set(c->loop, c->other[1], 20);
}

TEST(a_timer_may_cancel_and_move_others_that_are_due_with_it)
{
	static const int64_t delays_ms[] = {0, 5};

	for (size_t i = 0; i < COUNT_OF(delays_ms); i++) {
		struct loop *l = new_loop();
		struct fired f[2] = {0};
		struct canceller c = {.loop = l, .other = {&f[0].timer, &f[1].timer}};
		int left = 1;

		timer_init(&c.timer, cancel_others, &c);
		for (int k = 0; k < 2; k++) {
			timer_init(&f[k].timer, on_fire, &f[k]);
			f[k].loop = l;
			f[k].n_left = &left;
		}
		/* Within one slot the newest fires first; without delay the oldest.  The clock stands still meanwhile.
		 */
		l->running = true;
		if (!delays_ms[i])
			timer_set(l, &c.timer, delays_ms[i]);
		timer_set(l, &f[0].timer, delays_ms[i]);
		timer_set(l, &f[1].timer, delays_ms[i]);
		if (delays_ms[i])
			timer_set(l, &c.timer, delays_ms[i]);
		l->running = false;
		loop_run(l);
		CHECK_INT(f[0].n, 0);
		CHECK_INT(f[1].n, 1);
		loop_free(l);
	}
}

static void set_again(void *arg)
{
	struct fired *f = arg;

	if (++f->n < 3)
		timer_set(f->loop, &f->timer, 0);
	else
		loop_stop(f->loop);
}

TEST(a_timer_without_delay_comes_on_the_next_turn_and_may_set_itself_again)
{
	struct loop *l = new_loop();
	struct fired f = {.loop = l};

	timer_init(&f.timer, set_again, &f);
	timer_set(l, &f.timer, 0);
	CHECK(timer_is_set(&f.timer));
	loop_run(l);
	CHECK_INT(f.n, 3);
	timer_set(l, &f.timer, 0);
	timer_cancel(l, &f.timer);
	timer_cancel(l, &f.timer);
	loop_free(l);
}
