/* SPDX-License-Identifier: Apache-2.0 */
/* The control plane's own families.  Names are a promise: dashboards and alert rules are written against them. */
#include "control/telemetry/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum source { FROM_SERVER, FROM_CLIENT, FROM_LOOP };

static const struct family {
	const char *name, *help;
	enum prom_type type;
	enum source source;
	size_t offset; /* of the struct counter in the source's struct */
} families[] = {
#define SERVER(field) FROM_SERVER, offsetof(struct http_server_stats, field)
#define CLIENT(field) FROM_CLIENT, offsetof(struct http_client_stats, field)
	{"muster_http_connections_accepted_total", "Client connections accepted.", PROM_COUNTER, SERVER(accepted)},
	{"muster_http_connections_open", "Client connections open now.", PROM_GAUGE, SERVER(open)},
	{"muster_http_requests_total", "Requests received whole.", PROM_COUNTER, SERVER(requests)},
	{"muster_http_requests_refused_total",
	 "Requests refused before a handler saw them: malformed, too large, too slow.", PROM_COUNTER, SERVER(refused)},
	{"muster_http_requests_aborted_total", "Requests whose client left before the answer was out.", PROM_COUNTER,
	 SERVER(aborted)},
	{"muster_http_received_bytes_total", "Bytes received from clients.", PROM_COUNTER, SERVER(received_bytes)},
	{"muster_http_sent_bytes_total", "Bytes sent to clients.", PROM_COUNTER, SERVER(sent_bytes)},
	{"muster_http_send_queue_full_total", "Times that a client's send queue reached its limit.", PROM_COUNTER,
	 SERVER(send_queue_full)},
	{"muster_upstream_connects_total", "Connections opened to models.", PROM_COUNTER, CLIENT(connects)},
	{"muster_upstream_connect_errors_total", "Connections to models that could not be opened.", PROM_COUNTER,
	 CLIENT(connect_errors)},
	{"muster_upstream_connections_reused_total", "Calls that went over a kept connection.", PROM_COUNTER,
	 CLIENT(reused)},
	{"muster_upstream_connections_replaced_total", "Kept connections found closed and replaced.", PROM_COUNTER,
	 CLIENT(replaced)},
	{"muster_upstream_connections_open", "Connections to models open now.", PROM_GAUGE, CLIENT(open)},
	{"muster_upstream_connections_idle", "Connections to models kept for the next call.", PROM_GAUGE, CLIENT(idle)},
	{"muster_snapshot_generation", "Generation of the registry snapshot that a loop serves.", PROM_GAUGE, FROM_LOOP,
	 0},
#undef SERVER
#undef CLIENT
};

static const struct counter *counter_of(const struct family *f, const struct telemetry_loop *l)
{
	const char *base = NULL;

	switch (f->source) {
	case FROM_SERVER:
		base = (const char *)l->server;
		break;
	case FROM_CLIENT:
		base = (const char *)l->client;
		break;
	case FROM_LOOP:
		base = (const char *)l->generation;
		break;
	}
	return base ? (const struct counter *)(const void *)(base + f->offset) : NULL;
}

static void write_loops(struct prom_writer *w, const struct telemetry_sources *src)
{
	for (size_t i = 0; i < COUNT_OF(families); i++) {
		prom_family(w, families[i].name, families[i].type, families[i].help);
		for (size_t l = 0; l < src->n_loops; l++) {
			const struct counter *c = counter_of(&families[i], &src->loops[l]);
			struct prom_label label = {"loop", slice_from(src->loops[l].name)};

			if (c)
				prom_count(w, &label, 1, counter_get(c));
		}
	}
}

static void write_health(struct prom_writer *w, const struct health *h)
{
	struct prom_label build = {"version", slice_from(h->version)};

	prom_family(w, "muster_build_info", PROM_GAUGE, "1, labelled with the version.");
	prom_sample(w, &build, 1, 1);
	prom_family(w, "muster_ready", PROM_GAUGE, "1 when traffic may come, as /health/ready says.");
	prom_sample(w, NULL, 0, health_ready(h));
	prom_family(w, "muster_health_state", PROM_GAUGE, "1 for the state that a part is in, 0 for the others.");
	for (int part = 0; part < HEALTH_N_PARTS; part++) {
		for (int state = HEALTH_OK; state <= HEALTH_FAILED; state++) {
			struct prom_label labels[] = {
				{"part", slice_from(health_part_name((enum health_part)part))},
				{"state", slice_from(health_state_name((enum health_state)state))},
			};

			prom_sample(w, labels, 2, h->part[part].state == (enum health_state)state);
		}
	}
	prom_family(w, "muster_use_cases", PROM_GAUGE, "Use cases that are known.");
	prom_count(w, NULL, 0, h->n_use_cases);
	prom_family(w, "muster_use_cases_usable", PROM_GAUGE, "Use cases that a model or a fallback can serve.");
	prom_count(w, NULL, 0, h->n_usable);
}

static uint64_t resident_bytes(void)
{
	unsigned long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%*u %llu", &pages) != 1) /* NOLINT(cert-err34-c): the kernel's own number */
		pages = 0;
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint64_t n = 0;

	if (!d)
		return 0;
	for (const struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n - 1; /* not the one that reads the directory */
}

/* The names that every Prometheus client library uses for these. */
static void write_process(struct prom_writer *w, const struct telemetry_sources *src)
{
	struct timespec cpu = {0};

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	prom_family(w, "process_cpu_seconds_total", PROM_COUNTER, "CPU time of all threads.");
	prom_sample(w, NULL, 0, (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
	prom_family(w, "process_resident_memory_bytes", PROM_GAUGE, "Resident memory.");
	prom_count(w, NULL, 0, resident_bytes());
	prom_family(w, "process_open_fds", PROM_GAUGE, "Open file descriptors.");
	prom_count(w, NULL, 0, open_files());
	prom_family(w, "process_start_time_seconds", PROM_GAUGE, "Start, in seconds since 1970 UTC.");
	prom_sample(w, NULL, 0, (double)src->health->start_us / 1e6);
	prom_family(w, "muster_uptime_seconds", PROM_GAUGE, "Time since the start.");
	prom_sample(w, NULL, 0, (double)(src->now_us - src->health->start_us) / 1e6);
}

void telemetry_metrics_write(struct prom_writer *w, const struct telemetry_sources *src)
{
	write_health(w, src->health);
	write_process(w, src);
	write_loops(w, src);
}
