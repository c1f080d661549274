/* SPDX-License-Identifier: Apache-2.0 */
/* What /metrics and /health say of the endpoints of models: whose breakers are not closed, and how often they opened.
 */
#include "app/daemon/daemon.h"
#include "control/telemetry/prometheus.h"
#include "core/base/clock.h"
#include "serving/gateway/memory.h"
#include "serving/gateway/target.h"

#define LISTED_MAX 200 /* endpoints; what comes after them is only counted */

struct upstream_row {
	const struct snapshot_model *model;
	size_t at; /* which of its endpoints */
	const struct upstream_memory *memory;
};

static size_t list_upstreams(const struct snapshot *s, struct upstream_row rows[LISTED_MAX], size_t *ret_unlisted)
{
	size_t n = 0;

	*ret_unlisted = 0;
	for (size_t i = 0; s && i < s->n_models; i++) {
		const struct targets *t = s->models[i].target;

		for (size_t k = 0; t && k < t->n; k++) {
			if (n < LISTED_MAX)
				rows[n++] = (struct upstream_row){&s->models[i], k, t->list[k].memory};
			else
				++*ret_unlisted;
		}
	}
	return n;
}

static enum breaker_mode mode_of(const struct upstream_memory *m)
{
	return breaker_mode((struct breaker_state){atomic_load_explicit(&m->breaker, memory_order_relaxed)});
}

/* Nobody is let through to it now, but for a probe. */
static bool is_shut(const struct upstream_memory *m, int64_t now_ms)
{
	struct breaker_state b = {atomic_load_explicit(&m->breaker, memory_order_relaxed)};

	return breaker_mode(b) == BREAKER_PROBING || breaker_wait_ms(b, now_ms) > 0;
}

static void look_at(const struct upstream_row *r, struct daemon_upstreams *u, int64_t now_ms)
{
	u->n++;
	u->n_resting += upstream_is_resting(r->memory, now_ms);
	if (!is_shut(r->memory, now_ms))
		return;
	if (!u->n_shut++)
		(void)snprintf(u->first, sizeof(u->first), SLICE_FMT " of " SLICE_FMT,
			       SLICE_ARG(slice_sub(r->model->full_name, 0, 60)),
			       SLICE_ARG(slice_sub(r->model->model.use_case, 0, 40))); /* as much as people read */
}

void daemon_observe_upstreams(const struct snapshot *s, struct daemon_upstreams *ret)
{
	int64_t now_ms = clock_mono_ms();

	*ret = (struct daemon_upstreams){0};
	for (size_t i = 0; s && i < s->n_models; i++) {
		const struct targets *t = s->models[i].target;

		for (size_t k = 0; t && k < t->n; k++)
			look_at(&(struct upstream_row){&s->models[i], k, t->list[k].memory}, ret, now_ms);
	}
}

static void write_row(struct prom_writer *w, const struct upstream_row *r, uint64_t value)
{
	char at[24];
	struct prom_label labels[] = {
		{"use_case", r->model->model.use_case}, {"model", r->model->full_name}, {"endpoint", {NULL, 0}}};

	snprintf(at, sizeof(at), "%zu", r->at);
	labels[2].value = slice_from(at);
	prom_count(w, labels, COUNT_OF(labels), value);
}

void daemon_write_upstreams(struct prom_writer *w, const struct snapshot *s)
{
	struct upstream_row rows[LISTED_MAX];
	size_t unlisted, n = list_upstreams(s, rows, &unlisted);

	prom_family(w, "muster_upstream_breaker", PROM_GAUGE,
		    "Circuit breaker of an endpoint: 0 closed, 1 open, 2 probing, 3 ramping.");
	for (size_t i = 0; i < n; i++)
		write_row(w, &rows[i], (uint64_t)mode_of(rows[i].memory));
	prom_family(w, "muster_upstream_breaker_opened_total", PROM_COUNTER,
		    "How often the breaker of an endpoint opened.");
	for (size_t i = 0; i < n; i++)
		write_row(w, &rows[i], atomic_load_explicit(&rows[i].memory->opened, memory_order_relaxed));
	prom_family(w, "muster_upstreams_unlisted", PROM_GAUGE,
		    "Endpoints past the first 200, whose breakers are not listed.");
	prom_count(w, NULL, 0, unlisted);
}
