/* SPDX-License-Identifier: Apache-2.0 */
/* The process of the daemon, as the kernel sees it: limits, core dumps, memory.  Only where it runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/cli/check_internal.h"

#define FILES_LEAST 1024

/* A limit of the process: -1 for unlimited; false when it cannot be read. */
static bool read_limit(long pid, const char *what, long long *ret)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/limits", pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		char *end;

		if (strncmp(line, what, strlen(what)) != 0)
			continue;
		*ret = strtoll(line + strlen(what), &end, 10);
		found = end != line + strlen(what);
		if (!found && strstr(line, "unlimited")) {
			*ret = -1;
			found = true;
		}
	}
	if (f)
		fclose(f);
	return found;
}

static bool needs_process(struct check_run *k, const char *name)
{
	if (check_needs_files(k, name))
		return true;
	if (k->pid)
		return false;
	check_say(k, name, CHECK_SKIPPED, "start it: muster serve, and check again", "no daemon runs on %s",
		  k->set.data);
	return true;
}

static void check_file_limit(struct check_run *k)
{
	static const char name[] = "file descriptors";
	double open = 0;
	long long limit;

	if (needs_process(k, name))
		return;
	(void)check_metric(k, "process_open_fds", &open); /* 0 when it does not say */
	if (!read_limit(k->pid, "Max open files", &limit))
		check_say(k, name, CHECK_SKIPPED, "run this as the user of the daemon", "/proc/%ld/limits: %s", k->pid,
			  strerror(errno));
	else if (limit >= 0 && (limit < FILES_LEAST || open > 0.8 * (double)limit))
		check_say(k, name, CHECK_FAIL, "LimitNOFILE= in the unit, or ulimit -n", "%.0f of %lld are open", open,
			  limit);
	else if (limit >= 0 && limit < k->set.connections)
		check_say(k, name, CHECK_WARN, "LimitNOFILE= in the unit, or a lower limits.connections",
			  "%.0f of %lld are open, but a loop may take %lld connections", open, limit,
			  (long long)k->set.connections);
	else if (limit < 0)
		check_say(k, name, CHECK_PASS, NULL, "%.0f are open, without a limit", open);
	else
		check_say(k, name, CHECK_PASS, NULL, "%.0f of %lld are open", open, limit);
}

/* The program that cores are piped to, when it is one that may keep them whatever the limit says; else "". */
static const char *core_program(struct check_run *k)
{
	static const char *const polite[] = {"systemd-coredump", "apport", "/bin/false", "/bin/true"};
	char line[256] = "";
	FILE *f = fopen("/proc/sys/kernel/core_pattern", "re");

	if (f) {
		(void)!fgets(line, sizeof(line), f); /* then it stays empty */
		fclose(f);
	}
	for (size_t i = 0; i < COUNT_OF(polite); i++) {
		if (strstr(line, polite[i]))
			return "";
	}
	return line[0] == '|' ? arena_printf(k->a, "%.*s", (int)strcspn(line + 1, " \n"), line + 1) : "";
}

static void check_core(struct check_run *k)
{
	static const char name[] = "core dumps";
	const char *program = core_program(k);
	long long limit;

	if (needs_process(k, name))
		return;
	if (!read_limit(k->pid, "Max core file size", &limit))
		check_say(k, name, CHECK_SKIPPED, "run this as the user of the daemon", "/proc/%ld/limits: %s", k->pid,
			  strerror(errno));
	else if (limit)
		check_say(k, name, CHECK_WARN, "LimitCORE=0 in the unit, or ulimit -c 0",
			  "a core file would hold keys and prompts, and one may be written");
	else if (*program)
		check_say(k, name, CHECK_WARN, "kernel.core_pattern=core, or a program that keeps to limits",
			  "a core holds keys and prompts, and all are piped to %s", program);
	else
		check_say(k, name, CHECK_PASS, NULL, "none is kept: the limit is 0");
}

static void check_memory(struct check_run *k)
{
	static const char name[] = "memory";
	double used, all = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);

	if (check_needs_daemon(k, name) || needs_process(k, name))
		return;
	if (!check_metric(k, "process_resident_memory_bytes", &used) || all <= 0)
		check_say(k, name, CHECK_SKIPPED, "see the check 'metrics'", "the daemon does not say");
	else if (used > 0.8 * all)
		check_say(k, name, CHECK_FAIL, "more memory, or a lower limits.connections", "%s of %s",
			  check_size(k, used), check_size(k, all));
	else if (used > 0.5 * all)
		check_say(k, name, CHECK_WARN, "see who else needs it", "%s of %s", check_size(k, used),
			  check_size(k, all));
	else
		check_say(k, name, CHECK_PASS, NULL, "%s of %s", check_size(k, used), check_size(k, all));
}

void check_process(struct check_run *k)
{
	check_file_limit(k);
	check_core(k);
	check_memory(k);
}
