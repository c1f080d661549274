/* SPDX-License-Identifier: Apache-2.0 */
/* rejected.ndjson: everything a refused record holds, so that nothing is lost to a wrong character or a constraint. */
#include "control/history/rejected.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/json/writer.h"

static void write_violations(struct json_writer *w, const struct log_record *r)
{
	jw_key(w, "violations");
	jw_array(w);
	for (size_t i = 0; i < r->n_violations; i++) {
		const struct record_violation *v = &r->violations[i];

		jw_object(w);
		jw_kstr(w, "policy", v->policy);
		jw_kstr(w, "rule", v->rule);
		jw_kstr(w, "category", v->category);
		jw_ki64(w, "action", v->action);
		jw_ki64(w, "severity", v->severity);
		jw_ki64(w, "side", v->side);
		jw_ki64(w, "start", v->start);
		jw_ki64(w, "length", v->length);
		jw_object_end(w);
	}
	jw_array_end(w);
}

/* The JSON texts are written as strings: what made the database refuse the record may be them. */
static void write_record(struct json_writer *w, const struct log_record *r, const char *why)
{
	char id[UUID_STR_SIZE];

	jw_object(w);
	jw_kcstr(w, "refused", why);
	jw_kcstr(w, "id", uuid_format(&r->id, id));
	jw_ki64(w, "created_us", r->created_us);
	jw_kcstr(w, "source", record_source_name(r->source));
	jw_kcstr(w, "status", record_status_name(r->status));
	jw_kcstr(w, "fallback", record_fallback_name(r->fallback));
	jw_kstr(w, "request_id", r->request_id);
	jw_kstr(w, "model_id", r->model_id);
	jw_kstr(w, "model_name", r->model_name);
	jw_kstr(w, "use_case", r->use_case);
	jw_kstr(w, "provider", r->provider);
	jw_kstr(w, "caller", r->caller);
	jw_kstr(w, "prompt", r->prompt);
	jw_kstr(w, "context", r->context);
	jw_kstr(w, "output", r->output);
	jw_kstr(w, "tool_calls", r->tool_calls);
	jw_kstr(w, "parameters", r->parameters);
	jw_kstr(w, "finish_reason", r->finish_reason);
	jw_kstr(w, "error", r->error);
	jw_kstr(w, "attempts", r->attempts);
	jw_ki64(w, "prompt_tokens", r->prompt_tokens);
	jw_ki64(w, "completion_tokens", r->completion_tokens);
	jw_kbool(w, "tokens_estimated", r->tokens_estimated);
	jw_ki64(w, "latency_us", r->latency_us);
	jw_ki64(w, "first_token_us", r->first_token_us);
	jw_ki64(w, "http_status", r->http_status);
	jw_kbool(w, "stream", r->stream);
	jw_ki64(w, "guard_action", r->guard_action);
	jw_kbool(w, "guard_skipped", r->guard_skipped);
	write_violations(w, r);
	jw_object_end(w);
}

static int append_line(const char *path, const struct buf *line, size_t max_bytes, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), rc = 0;
	struct stat st;

	if (fd < 0)
		return err_set(err, E_IO, "cannot open %s: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0)
		rc = err_set(err, E_IO, "cannot look at %s: %s", path, strerror(errno));
	else if ((size_t)st.st_size + line->n > max_bytes)
		rc = err_set(err, E_TOOBIG, "%s is full: look at it, and move it away", path);
	else if (write(fd, line->p, line->n) != (ssize_t)line->n)
		rc = err_set(err, E_IO, "cannot write %s: %s", path, strerror(errno));
	close(fd);
	return rc;
}

int rejected_write(const char *directory, const struct log_record *r, const char *why, size_t max_bytes,
		   struct err *err)
{
	struct json_writer w;
	char path[PATH_MAX];
	struct buf line;
	int rc;

	if (snprintf(path, sizeof(path), "%s/rejected.ndjson", directory) >= (int)sizeof(path))
		return err_set(err, E_IO, "the path of %s is too long", directory);
	buf_init(&line, max_bytes);
	jw_init(&w, &line);
	write_record(&w, r, why);
	(void)buf_addc(&line, '\n'); /* buf_failed tells */
	if (buf_failed(&line))
		rc = err_set(err, E_TOOBIG, "the record is too large for %s", path);
	else
		rc = append_line(path, &line, max_bytes, err);
	buf_release(&line);
	return rc;
}
