/* SPDX-License-Identifier: Apache-2.0 */
/* Which variables and files a model may name: tables of both, and links that lead elsewhere. */
#include "serving/provider/secrets.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t.h"

static const struct {
	const char *allow, *name;
	bool passes;
} variables[] = {
	{NULL, "OPENAI_API_KEY", true},
	{NULL, "GROQ_API_KEY", true},
	{NULL, "ANTHROPIC_API_KEY", true},
	{NULL, "MUSTER_SECRET_A", true},
	{NULL, "MUSTER_SECRETS_ENV_ALLOW", false},
	{NULL, "HOME", false},
	{NULL, "AWS_SECRET_ACCESS_KEY", false},
	{NULL, "OPENAI_API_KEY2", false},
	{NULL, "POSTGRES_PASSWORD", false},
	{"", "HOME", false},
	{"MINE", "MINE", true},
	{"MINE", "MINE2", false},
	{"A, MINE ,B", "MINE", true},
	{"A,B_*", "B_X", true},
	{"A,B_*", "B", false},
	{"AB", "A", false},
	/* never, whatever is allowed */
	{"*", "ANYTHING", true},
	{"*", "POSTGRES_PASSWORD", false},
	{"POSTGRES_PASSWORD", "POSTGRES_PASSWORD", false},
	{"MUSTER_API_KEY", "MUSTER_API_KEY", false},
	{"PGPASSWORD", "PGPASSWORD", false},
	{"*", "MUSTER_DATABASE_URL", false},
	{"*", "MUSTER_SECRET_A", true},
};

TEST(variables_of_models_are_those_that_were_meant_for_them)
{
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		const struct secret_rules rules = {variables[i].allow, NULL};
		struct err err = {0};
		int rc = secret_env_check(variables[i].allow ? &rules : NULL, slice_from(variables[i].name), &err);

		if (rc != (variables[i].passes ? 0 : E_DENIED)) {
			t_failed = 1;
			printf("# %s of %s: %d\n", variables[i].name, variables[i].allow ? variables[i].allow : "-",
			       rc);
		}
		CHECK(!rc || (strstr(err.text, variables[i].name) && strstr(err.text, "MUSTER_SECRET_")));
	}
}

static const struct {
	const char *directory, *credentials, *path;
	bool passes;
} paths[] = {
	{NULL, NULL, "/run/secrets/key", true},
	{"", NULL, "/run/secrets/a/key", true},
	{NULL, NULL, "/run/secrets", false},
	{NULL, NULL, "/run/secrets/", false},
	{NULL, NULL, "/run/secretsx/key", false},
	{NULL, NULL, "/run/secrets/../../etc/shadow", false},
	{NULL, NULL, "run/secrets/key", false},
	{NULL, NULL, "/etc/shadow", false},
	{NULL, NULL, "", false},
	{NULL, "/run/credentials/muster.service", "/run/credentials/muster.service/key", true},
	{NULL, "/run/credentials/muster.service", "/run/credentials/other.service/key", false},
	{"/srv/keys", "/run/credentials/muster.service", "/run/credentials/muster.service/key", false},
	{"/srv/keys/", NULL, "/srv/keys/a..b", true},
	{"/srv/keys", NULL, "/run/secrets/key", false},
	{"/", NULL, "/etc/shadow", false},
};

TEST(files_of_models_lie_in_the_directory_for_them)
{
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		const struct secret_rules rules = {NULL, paths[i].directory};
		struct err err = {0};
		int rc;

		if (paths[i].credentials)
			(void)setenv("CREDENTIALS_DIRECTORY", paths[i].credentials, 1);
		else
			(void)unsetenv("CREDENTIALS_DIRECTORY");
		rc = secret_file_check(&rules, slice_from(paths[i].path), &err);
		if (rc != (paths[i].passes ? 0 : E_DENIED)) {
			t_failed = 1;
			printf("# %s below %s: %d\n", paths[i].path, paths[i].directory ? paths[i].directory : "-", rc);
		}
		CHECK(!rc || strstr(err.text, "secrets.directory"));
	}
	(void)unsetenv("CREDENTIALS_DIRECTORY");
}

TEST(links_count_for_what_they_lead_to)
{
	char dir[] = "/tmp/test_secrets.XXXXXX", path[64], outside[64], name[64];
	struct secret_rules rules = {NULL, dir};
	struct err err = {0};
	int fd;

	CHECK(mkdtemp(dir) != NULL);
	(void)snprintf(outside, sizeof(outside), "%s.outside", dir);
	(void)snprintf(path, sizeof(path), "%s/key", dir);
	CHECK(fclose(fopen(outside, "w")) == 0 && fclose(fopen(path, "w")) == 0);
	fd = secret_file_open(&rules, slice_from(path), &err);
	CHECK(fd >= 0 && close(fd) == 0);
	(void)snprintf(name, sizeof(name), "%s/near", dir);
	CHECK_INT(symlink("key", name), 0);
	fd = secret_file_open(&rules, slice_from(name), &err);
	CHECK(fd >= 0 && close(fd) == 0);
	CHECK_INT(unlink(name), 0);
	(void)snprintf(name, sizeof(name), "%s/far", dir);
	CHECK_INT(symlink(outside, name), 0);
	CHECK_INT(secret_file_open(&rules, slice_from(name), &err), E_DENIED);
	CHECK_INT(unlink(name), 0);
	CHECK_INT(unlink(path), 0);
	CHECK_INT(secret_file_open(&rules, slice_from(path), &err), E_IO);
	CHECK_INT(unlink(outside), 0);
	CHECK_INT(rmdir(dir), 0);
}
