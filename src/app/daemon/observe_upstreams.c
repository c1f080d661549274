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

size_t daemon_count_shut(const struct snapshot *s, size_t *ret_all)
{
	size_t shut = 0;

	*ret_all = 0;
	for (size_t i = 0; s && i < s->n_models; i++) {
		const struct targets *t = s->models[i].target;

		for (size_t k = 0; t && k < t->n; k++) {
			enum breaker_mode mode = mode_of(t->list[k].memory);

			shut += mode == BREAKER_OPEN || mode == BREAKER_PROBING;
			++*ret_all;
		}
	}
	return shut;
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
