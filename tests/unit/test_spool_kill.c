/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 at random moments.  A child appends with several threads and tells the number of each record through a pipe
 * once spool_append has returned; after its death every number told has to be in the spool, once and in order.
 * MUSTER_KILL_SEED=n repeats a run that failed.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "core/base/clock.h"
#include "core/base/rand.h"
#include "tests/t.h"
#include "tests/unit/spool_fixture.h"

#define N_ROUNDS 50
#define N_WRITERS 3
#define LIVE_MAX_US 30000

struct said { /* through the pipe: smaller than PIPE_BUF, so whole or not at all */
	uint64_t number;
	uint32_t writer;
};

struct expectation {	/* per writer */
	uint64_t from;	/* the first number that has to come (those before were acknowledged) */
	uint64_t until; /* one past the last number told */
};

static struct fixture f;
static struct expectation expected[N_WRITERS];
static int pipe_fd;

/* --- the child --- */

static void *child_writer(void *arg)
{
	struct said said = {.writer = *(const uint32_t *)arg};
	static char text[2000];

	for (said.number = expected[said.writer].until;;) {
		struct log_record r = fixture_record(said.writer, said.number);

		r.output = (struct slice){text, said.number * 37 % sizeof(text)};
		if (spool_append(f.spool, said.writer, &r) < 0)
			continue; /* until the main thread has prepared more */
		if (write(pipe_fd, &said, sizeof(said)) != (ssize_t)sizeof(said))
			_exit(2);
		said.number++;
	}
	return NULL;
}

static void child_run(int fd)
{
	uint32_t numbers[N_WRITERS];
	pthread_t thread;

	pipe_fd = fd;
	if (fixture_open(&f, N_WRITERS, 0) < 0)
		_exit(3);
	for (uint32_t i = 0; i < N_WRITERS; i++) {
		numbers[i] = i;
		if (pthread_create(&thread, NULL, child_writer, &numbers[i]))
			_exit(4);
	}
	for (;;) {
		struct pollfd p = {.fd = spool_room_fd(f.spool), .events = POLLIN};

		(void)spool_prepare(f.spool, NULL);
		(void)poll(&p, 1, 1);
	}
}

/* --- the parent --- */

static void hear(const struct said *said)
{
	CHECK(said->writer < N_WRITERS);
	CHECK_INT((long long)said->number, (long long)expected[said->writer].until);
	expected[said->writer].until = said->number + 1;
}

/* Lets a child live for a while, kills it, and hears all that it told. */
static void run_and_kill(struct rng *rng)
{
	int64_t until_us;
	struct said said[64];
	int fds[2], status;
	bool killed = false;
	ssize_t n;
	pid_t pid;

	CHECK_INT(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		child_run(fds[1]);
	}
	close(fds[1]);
	until_us = clock_mono_us() + (int64_t)rng_below(rng, LIVE_MAX_US);
	while ((n = read(fds[0], said, sizeof(said))) > 0) {
		for (size_t i = 0; i < (size_t)n / sizeof(said[0]); i++)
			hear(&said[i]);
		if (!killed && clock_mono_us() >= until_us) {
			kill(pid, SIGKILL);
			killed = true;
		}
	}
	close(fds[0]);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Reads everything; every now and then acknowledges all, half or nothing of it. */
static void check_all_is_there(struct rng *rng)
{
	uint64_t next[N_WRITERS], share = rng_below(rng, 3);
	struct spool_cursor c, ack[N_WRITERS] = {{0}};
	uint64_t acked[N_WRITERS] = {0};
	struct log_record r;

	CHECK_INT(fixture_open(&f, 1 + (unsigned)rng_below(rng, N_WRITERS), 0), 0);
	for (size_t i = 0; i < N_WRITERS; i++)
		next[i] = expected[i].from;
	while (spool_read(f.spool, &r, &c) == 0) {
		CHECK(c.writer < N_WRITERS);
		CHECK_INT(r.prompt_tokens, (long long)next[c.writer]);
		CHECK_INT((long long)r.output.n, r.prompt_tokens * 37 % 2000);
		next[c.writer]++;
		if (share == 2 || (share == 1 && next[c.writer] % 100 == 0)) {
			ack[c.writer] = c;
			acked[c.writer] = next[c.writer];
		}
	}
	for (size_t i = 0; i < N_WRITERS; i++) {
		/* One more may be whole that it had no time to tell. */
		CHECK(next[i] == expected[i].until || next[i] == expected[i].until + 1);
		expected[i].until = next[i];
		if (!ack[i].sequence)
			continue;
		CHECK_INT(spool_ack(f.spool, &ack[i], 1, NULL), 0);
		expected[i].from = acked[i];
	}
	fixture_close(&f);
}

TEST(every_record_that_was_appended_survives_kill_9_once)
{
	const char *given = getenv("MUSTER_KILL_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_mono_us();
	struct rng rng;

	rng_seed(&rng, seed);
	fixture_init(&f);
	for (int i = 0; i < N_ROUNDS && !t_failed; i++) {
		run_and_kill(&rng);
		check_all_is_there(&rng);
	}
	if (t_failed)
		printf("# repeat with MUSTER_KILL_SEED=%llu\n", (unsigned long long)seed);
	CHECK(expected[0].until > N_ROUNDS); /* something was tried at all */
	fixture_release(&f);
}
