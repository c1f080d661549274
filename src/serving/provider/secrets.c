/* SPDX-License-Identifier: Apache-2.0 */
/* The lists, and the comparison of paths after their links are followed. */
#include "serving/provider/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

#include "serving/provider/provider.h"

#define OURS "MUSTER_SECRET_*"

/* Keys that servers which speak a known protocol are usually called with, beside those in the table of providers. */
static const char usual[] = OURS " ANTHROPIC_API_KEY GEMINI_API_KEY GOOGLE_API_KEY AZURE_OPENAI_API_KEY COHERE_API_KEY "
				 "CEREBRAS_API_KEY FIREWORKS_API_KEY PERPLEXITY_API_KEY XAI_API_KEY HF_TOKEN "
				 "HUGGINGFACE_API_KEY NVIDIA_API_KEY";
/* What opens Muster itself, or its database. */
static const char never[] = "MUSTER_* POSTGRES_* PG*";
static const char *const usual_directories[] = {"/run/secrets", NULL /* $CREDENTIALS_DIRECTORY */};

static bool is_in(const char *list, struct slice name)
{
	for (const char *p = list; p && *p;) {
		size_t n = strcspn(p, " ,\t\n");
		struct slice one = {p, n};

		if (n && p[n - 1] == '*' ? slice_starts(name, slice_sub(one, 0, n - 1)) : n && slice_eq(name, one))
			return true;
		p += n + strspn(p + n, " ,\t\n");
	}
	return false;
}

static bool is_a_providers(struct slice name)
{
	for (size_t i = 0; i < n_providers; i++)
		if (providers[i]->api_key_env && slice_eq_str(name, providers[i]->api_key_env))
			return true;
	return false;
}

int secret_env_check(const struct secret_rules *rules, struct slice name, struct err *err)
{
	struct slice shown = slice_sub(name, 0, 100);

	if (is_in(never, name) && !is_in(OURS, name))
		return err_set(err, E_DENIED,
			       "the environment variable " SLICE_FMT
			       " is Muster's own and is never sent to a model: put the model's key into one that is "
			       "called MUSTER_SECRET_...",
			       SLICE_ARG(shown));
	if (is_a_providers(name) || is_in(usual, name) || (rules && is_in(rules->env_allow, name)))
		return 0;
	return err_set(err, E_DENIED,
		       "the environment variable " SLICE_FMT
		       " may not be sent to a model: call it MUSTER_SECRET_..., or have the operator add it to "
		       "secrets.env_allow",
		       SLICE_ARG(shown));
}

/* --- files --- */

/* The i-th directory that keys may lie in; NULL: there are no more. */
static const char *directory_at(const struct secret_rules *rules, size_t i)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");

	if (rules && rules->directory && *rules->directory)
		return i ? NULL : rules->directory;
	if (i == 0)
		return usual_directories[0];
	return i == 1 && credentials && *credentials == '/' ? credentials : NULL;
}

static bool is_below(struct slice path, struct slice directory)
{
	while (directory.n && directory.p[directory.n - 1] == '/')
		directory.n--;
	return directory.n && slice_starts(path, directory) && path.n > directory.n + 1 && path.p[directory.n] == '/';
}

static bool climbs(struct slice path)
{
	struct slice part;

	while (slice_split(&path, '/', &part))
		if (slice_eq_str(part, ".."))
			return true;
	return false;
}

static int refuse_file(const struct secret_rules *rules, struct slice path, struct err *err)
{
	return err_set(err, E_DENIED,
		       "the key file " SLICE_FMT
		       " does not lie below %s: put it there, or have the operator set secrets.directory",
		       SLICE_ARG(slice_sub(path, 0, 200)), directory_at(rules, 0));
}

int secret_file_check(const struct secret_rules *rules, struct slice path, struct err *err)
{
	const char *directory;

	if (climbs(path) || memchr(path.p, 0, path.n))
		return refuse_file(rules, path, err);
	for (size_t i = 0; (directory = directory_at(rules, i)); i++)
		if (is_below(path, slice_from(directory)))
			return 0;
	return refuse_file(rules, path, err);
}

/* Both with their links followed: what lies there may itself be a link to its neighbour. */
static bool really_below(const struct secret_rules *rules, const char *path)
{
	char real[PATH_MAX];
	const char *directory;

	for (size_t i = 0; (directory = directory_at(rules, i)); i++)
		if (realpath(directory, real) && is_below(slice_from(path), slice_from(real)))
			return true;
	return false;
}

int secret_file_open(const struct secret_rules *rules, struct slice path, struct err *err)
{
	char name[PATH_MAX], real[PATH_MAX];
	int fd, rc = secret_file_check(rules, path, err);

	if (rc)
		return rc;
	if (path.n >= sizeof(name))
		return err_set(err, E_IO, "its key file has a name of %zu bytes", path.n);
	memcpy(name, path.p, path.n);
	name[path.n] = 0;
	if (!realpath(name, real))
		return err_set(err, E_IO, "its key file '%s' cannot be read: %s", name, strerror(errno));
	if (!really_below(rules, real))
		return refuse_file(rules, slice_from(real), err);
	fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd < 0 ? err_set(err, E_IO, "its key file '%s' cannot be read: %s", name, strerror(errno)) : fd;
}
