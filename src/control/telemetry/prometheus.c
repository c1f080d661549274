/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prometheus text.  What would break it: a label value that is not escaped, buckets that do not grow, a count that is
 * not the +Inf bucket.  A histogram's numbers are read one by one while its owner writes, so the count is the sum of
 * the buckets read.
 */
#include "control/telemetry/prometheus.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/utf8.h"

/* All appends here share the buffer's one failure flag, which who asked for the text checks at the end. */
static void add(struct prom_writer *w, const char *s)
{
	(void)buf_adds(w->out, s);
}

static const char *type_name(enum prom_type t)
{
	switch (t) {
	case PROM_COUNTER:
		return "counter";
	case PROM_GAUGE:
		return "gauge";
	case PROM_HISTOGRAM:
		return "histogram";
	}
	return "untyped";
}

static void add_char(struct prom_writer *w, struct slice c, bool quoted)
{
	if (c.n == 1 && c.p[0] == '\\')
		add(w, "\\\\");
	else if (c.n == 1 && c.p[0] == '\n')
		add(w, "\\n");
	else if (c.n == 1 && c.p[0] == '"' && quoted)
		add(w, "\\\"");
	else
		(void)buf_add(w->out, c);
}

static void add_escaped(struct prom_writer *w, struct slice s, bool quoted)
{
	while (s.n) {
		uint32_t cp;
		size_t n = utf8_decode(s, &cp);

		if (n)
			add_char(w, slice_sub(s, 0, n), quoted);
		else
			add(w, "\xef\xbf\xbd");
		s = slice_sub(s, n ? n : 1, s.n);
	}
}

static void add_number(struct prom_writer *w, double v)
{
	char text[40];

	if (isnan(v)) {
		add(w, "NaN");
		return;
	}
	if (isinf(v)) {
		add(w, v > 0 ? "+Inf" : "-Inf");
		return;
	}
	snprintf(text, sizeof(text), "%.15g", v);
	if (strtod(text, NULL) != v)
		snprintf(text, sizeof(text), "%.17g", v);
	add(w, text);
}

/* name_suffix{labels,le="..."} and a space */
static void add_series(struct prom_writer *w, const char *suffix, const struct prom_label *labels, size_t n_labels,
		       const double *le)
{
	const char *sep = "{";

	assert(w->n_families);
	add(w, w->families[w->n_families - 1]);
	add(w, suffix);
	for (size_t i = 0; i < n_labels; i++) {
		add(w, sep);
		add(w, labels[i].name);
		add(w, "=\"");
		add_escaped(w, labels[i].value, true);
		add(w, "\"");
		sep = ",";
	}
	if (le) {
		add(w, sep);
		add(w, "le=\"");
		add_number(w, *le);
		add(w, "\"");
	}
	add(w, n_labels || le ? "} " : " ");
}

void prom_init(struct prom_writer *w, struct buf *out)
{
	*w = (struct prom_writer){.out = out};
}

void prom_family(struct prom_writer *w, const char *name, enum prom_type type, const char *help)
{
	assert(w->n_families < PROM_MAX_FAMILIES);
	for (size_t i = 0; i < w->n_families; i++)
		assert(strcmp(w->families[i], name) != 0);
	w->families[w->n_families++] = name;
	w->type = type;
	(void)buf_printf(w->out, "# HELP %s ", name);
	add_escaped(w, slice_from(help), false);
	(void)buf_printf(w->out, "\n# TYPE %s %s\n", name, type_name(type));
}

void prom_sample(struct prom_writer *w, const struct prom_label *labels, size_t n_labels, double value)
{
	assert(w->type != PROM_HISTOGRAM);
	add_series(w, "", labels, n_labels, NULL);
	add_number(w, value);
	add(w, "\n");
}

void prom_count(struct prom_writer *w, const struct prom_label *labels, size_t n_labels, uint64_t value)
{
	assert(w->type != PROM_HISTOGRAM);
	add_series(w, "", labels, n_labels, NULL);
	(void)buf_printf(w->out, "%" PRIu64 "\n", value);
}

void prom_histogram(struct prom_writer *w, const struct prom_label *labels, size_t n_labels,
		    const struct prom_histograms *of)
{
	const struct histogram_bounds *bounds = of->bounds;
	uint64_t total = 0, sum = 0;

	assert(w->type == PROM_HISTOGRAM);
	for (size_t b = 0; b <= bounds->n; b++) {
		double le = b < bounds->n ? (double)bounds->upper[b] / bounds->unit : INFINITY;

		for (size_t i = 0; i < of->n; i++)
			total += counter_get(&of->h[i]->bucket[b]);
		add_series(w, "_bucket", labels, n_labels, &le);
		(void)buf_printf(w->out, "%" PRIu64 "\n", total);
	}
	for (size_t i = 0; i < of->n; i++)
		sum += counter_get(&of->h[i]->sum);
	add_series(w, "_sum", labels, n_labels, NULL);
	add_number(w, (double)sum / bounds->unit);
	add(w, "\n");
	add_series(w, "_count", labels, n_labels, NULL);
	(void)buf_printf(w->out, "%" PRIu64 "\n", total);
}
