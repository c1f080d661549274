/* SPDX-License-Identifier: Apache-2.0 */
/* Posting between threads, jobs, and the end of a loop. */
#include "core/loop/loop.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/prctl.h>

#include "tests/t.h"

#define POSTERS 4
#define POSTS 20000

struct poster {
	struct loop *loop;
	pthread_t thread;
	int next; /* what the loop expects from this one: written by the loop only */
	bool in_order;
};

struct post {
	struct poster *from;
	int n;
};

static struct post posts[POSTERS][POSTS];

static void on_post(void *arg)
{
	struct post *p = arg;

	p->from->in_order = p->from->in_order && p->n == p->from->next;
	p->from->next++;
}

static void *post_many(void *arg)
{
	struct poster *me = arg;
	struct post *mine = posts[me->next];

	me->next = 0;
	for (int i = 0; i < POSTS; i++) {
		mine[i] = (struct post){me, i};
		loop_post(me->loop, on_post, &mine[i]);
	}
	return NULL;
}

TEST(calls_posted_by_many_threads_all_come_and_each_threads_in_order)
{
	struct poster poster[POSTERS];
	struct loop *l;
	struct err err;

	CHECK_INT(loop_new("posts", &l, &err), 0);
	CHECK_INT(loop_start(l, &err), 0);
	for (int i = 0; i < POSTERS; i++) {
		poster[i] = (struct poster){.loop = l, .next = i, .in_order = true};
		pthread_create(&poster[i].thread, NULL, post_many, &poster[i]);
	}
	for (int i = 0; i < POSTERS; i++)
		pthread_join(poster[i].thread, NULL);
	loop_stop(l);
	loop_join(l);
	for (int i = 0; i < POSTERS; i++) {
		CHECK(poster[i].in_order);
		CHECK_INT(poster[i].next, POSTS);
	}
	loop_free(l);
}

static void read_name(void *arg)
{
	prctl(PR_GET_NAME, arg);
}

TEST(the_thread_bears_the_name_of_its_loop)
{
	char name[16] = "";
	struct loop *l;
	struct err err;

	CHECK_INT(loop_new("a-name-that-is-too-long", &l, &err), 0);
	CHECK_STR(loop_name(l), "a-name-that-is-too-long");
	CHECK_INT(loop_start(l, &err), 0);
	loop_post(l, read_name, name);
	loop_stop(l);
	loop_join(l);
	CHECK_STR(name, "a-name-that-is-");
	loop_free(l);
}

struct job_state {
	struct loop *loop;
	pthread_t loop_thread, work_thread, done_thread;
	int n_done;
};

static void job_work(void *arg)
{
	struct job_state *s = arg;

	s->work_thread = pthread_self();
}

static void job_done(void *arg)
{
	struct job_state *s = arg;

	s->done_thread = pthread_self();
	s->n_done++;
	loop_stop(s->loop);
}

static void submit(void *arg)
{
	struct job_state *s = arg;

	s->loop_thread = pthread_self();
	job_submit(s->loop, job_work, job_done, s);
}

TEST(a_job_works_on_another_thread_and_is_done_on_the_loop)
{
	struct job_state s = {0};
	struct err err;

	CHECK_INT(loop_new("jobs", &s.loop, &err), 0);
	loop_post(s.loop, submit, &s);
	loop_run(s.loop);
	CHECK_INT(s.n_done, 1);
	CHECK(pthread_equal(s.done_thread, s.loop_thread));
	CHECK(!pthread_equal(s.work_thread, s.loop_thread));
	loop_free(s.loop);
}

static void count(void *arg)
{
	++*(int *)arg;
}

TEST(what_was_posted_before_the_stop_runs_and_the_loop_can_run_again)
{
	struct loop *l;
	struct err err;
	int n = 0;

	CHECK_INT(loop_new("stop", &l, &err), 0);
	for (int round = 1; round <= 2; round++) {
		loop_post(l, count, &n);
		loop_stop(l);
		loop_run(l);
		CHECK_INT(n, round);
	}
	loop_post(l, count, &n);
	loop_free(l); /* what is left is dropped */
	CHECK_INT(n, 2);
}

/* --- the end of a turn --- */

struct turn {
	struct loop *loop;
	struct loop_turn_end end, other, never;
	int n, n_other, n_posted;
};

static void on_turn_end(void *arg)
{
	struct turn *t = arg;

	CHECK_INT(t->n_posted, 3); /* all that had happened */
	t->n++;
	loop_at_turn_end(t->loop, &t->other); /* in the same turn still */
}

static void on_other(void *arg)
{
	struct turn *t = arg;

	if (++t->n_other < 3)
		loop_at_turn_end(t->loop, &t->other);
	else
		loop_stop(t->loop);
}

static void on_posted(void *arg)
{
	struct turn *t = arg;

	t->n_posted++;
	loop_at_turn_end(t->loop, &t->never);
	loop_at_turn_end(t->loop, &t->end); /* set three times, called once */
	loop_turn_end_cancel(&t->never);
	loop_turn_end_cancel(&t->never);
}

TEST(the_end_of_a_turn_is_told_once_after_all_that_happened)
{
	struct turn t = {0};
	struct err err;

	CHECK_INT(loop_new("turn", &t.loop, &err), 0);
	t.end = (struct loop_turn_end){.fn = on_turn_end, .arg = &t};
	t.other = (struct loop_turn_end){.fn = on_other, .arg = &t};
	t.never = (struct loop_turn_end){.fn = NULL};
	for (int i = 0; i < 3; i++)
		loop_post(t.loop, on_posted, &t);
	loop_run(t.loop);
	CHECK_INT(t.n, 1);
	CHECK_INT(t.n_other, 3);
	loop_free(t.loop);
}

struct clock_state {
	struct loop *loop;
	int64_t now_ms, wall_us;
};

static void read_clock(void *arg)
{
	struct clock_state *s = arg;

	s->now_ms = loop_now_ms(s->loop);
	s->wall_us = loop_wall_us(s->loop);
	CHECK_INT(loop_wall_us(s->loop), s->wall_us);
	loop_stop(s->loop);
}

TEST(cached_times_are_near_the_clocks)
{
	struct clock_state s;
	struct timespec ts;
	struct err err;

	CHECK_INT(loop_new("clock", &s.loop, &err), 0);
	loop_post(s.loop, read_clock, &s);
	loop_run(s.loop);
	clock_gettime(CLOCK_REALTIME, &ts);
	CHECK(llabs((long long)ts.tv_sec * 1000000 - s.wall_us) < 10000000);
	loop_free(s.loop);
}
