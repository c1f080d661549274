/* SPDX-License-Identifier: Apache-2.0 */
/* What can be known of configuration and files without asking anybody. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/cli/check_internal.h"

/* --- configuration, environment --- */

static void check_settings_parse(struct check_run *k)
{
	static const char name[] = "configuration";

	if (!k->has_settings)
		check_say(k, name, CHECK_FAIL, "correct it: muster serve --dump-options lists every key", "%s",
			  k->set.problem.text);
	else if (k->set.problem.code)
		check_say(k, name, CHECK_FAIL, "muster serve would not start with it: correct it", "%s",
			  k->set.problem.text);
	else
		check_say(k, name, CHECK_PASS, NULL, "%s", k->set.source);
}

static void check_same_daemon(struct check_run *k)
{
	static const char name[] = "configuration in use";

	if (check_needs_daemon(k, name))
		return;
	if (k->has_settings && k->files_ours)
		check_say(k, name, CHECK_PASS, NULL, "process %ld holds %s, and answers at %s", k->pid, k->set.data,
			  muster_url(k->c->client));
	else if (!k->has_settings)
		(void)check_needs_files(k, name); /* skipped, and says why */
	else
		check_say(k, name, k->set.chosen && !k->database_ours ? CHECK_WARN : CHECK_SKIPPED,
			  "run this where the daemon runs, as its user, with its --config and --data", "%s",
			  k->not_ours);
}

static void check_environment(struct check_run *k)
{
	static const char name[] = "environment";
	const char *v, *postgres[] = {"POSTGRES_PORT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"};
	struct check_list l;
	size_t at = 0;

	check_list_init(k, &l);
	while ((v = check_host.unknown_variable(&at)))
		check_list_add(&l, "%.*s", (int)strcspn(v, "="), v);
	if (l.n) {
		check_say(k, name, CHECK_WARN, "muster serve --dump-options lists the variables that are read",
			  "nothing reads %s", check_list_text(&l));
		return;
	}
	for (size_t i = 0; !getenv("POSTGRES_HOST") && i < COUNT_OF(postgres); i++) {
		if (getenv(postgres[i]))
			check_list_add(&l, "%s", postgres[i]);
	}
	if (l.n)
		check_say(k, name, CHECK_WARN, "set POSTGRES_HOST too, or none of them",
			  "%s without POSTGRES_HOST says nothing", check_list_text(&l));
	else
		check_say(k, name, CHECK_PASS, NULL, "every MUSTER_ variable here is known");
}

/* --- files --- */

static void check_data_directory(struct check_run *k)
{
	static const char name[] = "data directory";
	struct stat st;

	if (check_needs_files(k, name))
		return;
	if (stat(k->set.data, &st))
		check_say(k, name, CHECK_FAIL, "muster serve makes it; or say --data DIR", "%s: %s", k->set.data,
			  strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		check_say(k, name, CHECK_FAIL, "say --data DIR", "%s is not a directory", k->set.data);
	else if (access(k->set.data, R_OK | W_OK | X_OK))
		check_say(k, name, CHECK_FAIL, "run this as the user of the daemon, or give that user the directory",
			  "%s cannot be written by this user: %s", k->set.data, strerror(errno));
	else if (st.st_mode & S_IWOTH)
		check_say(k, name, CHECK_FAIL, arena_printf(k->a, "chmod 700 %s", k->set.data),
			  "%s can be written by everybody (mode %03o)", k->set.data, st.st_mode & 0777u);
	else if (st.st_mode & (S_IRWXG | S_IRWXO))
		check_say(k, name, CHECK_WARN, arena_printf(k->a, "chmod 700 %s", k->set.data),
			  "%s holds prompts, and others may look into it (mode %03o)", k->set.data, st.st_mode & 0777u);
	else
		check_say(k, name, CHECK_PASS, NULL, "%s, mode %03o%s", k->set.data, st.st_mode & 0777u,
			  geteuid() ? "" : ", seen as root");
}

/* Files that hold secrets are nobody else's to read. */
static void check_key_files(struct check_run *k)
{
	static const char name[] = "key files";
	const char *files[] = {k->set.auth_key_file, k->set.tls_key_file};
	struct check_list bad, good;
	struct stat st;

	if (check_needs_setting(k, name))
		return;
	check_list_init(k, &bad);
	check_list_init(k, &good);
	for (size_t i = 0; i < COUNT_OF(files); i++) {
		if (!*files[i])
			continue;
		if (stat(files[i], &st))
			check_list_add(&bad, "%s: %s", files[i], strerror(errno));
		else if (st.st_mode & (S_IROTH | S_IWOTH | S_IWGRP))
			check_list_add(&bad, "%s has mode %03o", files[i], st.st_mode & 0777u);
		else
			check_list_add(&good, "%s, mode %03o", files[i], st.st_mode & 0777u);
	}
	if (bad.n)
		check_say(k, name, CHECK_WARN, "chmod 600, and owned by the user of the daemon", "%s",
			  check_list_text(&bad));
	else if (good.n)
		check_say(k, name, CHECK_PASS, NULL, "%s", check_list_text(&good));
	else
		check_say(k, name, CHECK_SKIPPED, "see 'API keys' and 'TLS certificate'", "none is configured");
}

static void check_log_level(struct check_run *k)
{
	static const char name[] = "log level";

	if (check_needs_setting(k, name))
		return;
	if (!strcmp(k->set.log_level, "debug"))
		check_say(k, name, CHECK_WARN, "log.level: info", "debug: more than one line for each request");
	else if (!strcmp(k->set.log_level, "off"))
		check_say(k, name, CHECK_WARN, "log.level: info", "off: nobody will learn why something failed");
	else
		check_say(k, name, CHECK_PASS, NULL, "%s", k->set.log_level);
}

void check_configuration(struct check_run *k)
{
	check_settings_parse(k);
	check_environment(k);
	check_same_daemon(k);
	check_data_directory(k);
	check_key_files(k);
	check_log_level(k);
}
