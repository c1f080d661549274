/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing the Prometheus text format 0.0.4.  A family is opened once and all its samples follow it: opening one twice,
 * or a sample that does not fit the family's type, is our own mistake and asserts.  Failure (the buffer is full) is the
 * buffer's.
 */
#pragma once
#include "core/base/buf.h"
#include "core/base/metric.h"

enum prom_type { PROM_COUNTER, PROM_GAUGE, PROM_HISTOGRAM };

struct prom_label {
	const char *name; /* [a-z_]: ours */
	struct slice value;
};

#define PROM_MAX_FAMILIES 256

struct prom_writer {
	struct buf *out;
	const char *families[PROM_MAX_FAMILIES]; /* names so far: borrowed, literals */
	size_t n_families;
	enum prom_type type;
};

void prom_init(struct prom_writer *w, struct buf *out);
/* Names of counters end in _total; name lives as long as the writer. */
void prom_family(struct prom_writer *w, const char *name, enum prom_type type, const char *help);
/* One sample of the family that was opened last. */
void prom_sample(struct prom_writer *w, const struct prom_label *labels, size_t n_labels, double value);
void prom_count(struct prom_writer *w, const struct prom_label *labels, size_t n_labels, uint64_t value);
/* n histograms (one per loop) of which one set of cumulative buckets is written. */
struct prom_histograms {
	const struct histogram_bounds *bounds;
	const struct histogram *const *h;
	size_t n;
};
void prom_histogram(struct prom_writer *w, const struct prom_label *labels, size_t n_labels,
		    const struct prom_histograms *of);

#define PROM_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
