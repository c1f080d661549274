/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics that the control plane can read by itself: process, build, health, HTTP of each loop. */
#pragma once
#include "control/telemetry/health.h"
#include "control/telemetry/prometheus.h"
#include "core/http/client.h"
#include "core/http/server.h"

struct telemetry_loop {
	const char *name;			/* label loop: "0", "1", "control" */
	const struct http_server_stats *server; /* NULL: none */
	const struct http_client_stats *client; /* NULL: none */
	const struct counter *generation;	/* of the snapshot that it serves; NULL: none */
};

struct telemetry_sources {
	const struct health *health;
	int64_t now_us;
	const struct telemetry_loop *loops;
	size_t n_loops;
};

/* Writes these families; who else has numbers (spool, shipper, gateway) goes on with the same writer. */
void telemetry_metrics_write(struct prom_writer *w, const struct telemetry_sources *src);
