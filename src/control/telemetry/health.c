/* SPDX-License-Identifier: Apache-2.0 */
/* Health: what each part says, what that makes of the whole, and whether traffic may come. */
#include "control/telemetry/health.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/base/clock.h"
#include "core/json/writer.h"

const char *health_state_name(enum health_state s)
{
	switch (s) {
	case HEALTH_OK:
		return "ok";
	case HEALTH_DEGRADED:
		return "degraded";
	case HEALTH_FAILED:
		return "failed";
	}
	return "";
}

const char *health_part_name(enum health_part p)
{
	switch (p) {
	case HEALTH_REGISTRY:
		return "registry";
	case HEALTH_HISTORICAL_LOG:
		return "historical_log";
	case HEALTH_GUARDRAILS:
		return "guardrails";
	case HEALTH_DEPLOYMENTS:
		return "deployments";
	case HEALTH_GATEWAY:
		return "gateway";
	case HEALTH_DATABASE:
		return "database";
	case HEALTH_LEADER:
		return "leader";
	case HEALTH_RETENTION:
		return "retention";
	case HEALTH_ALERTS:
		return "alerts";
	case HEALTH_N_PARTS:
		break;
	}
	return "";
}

void health_init(struct health *h, const char *version, int64_t now_us)
{
	*h = (struct health){.version = version, .start_us = now_us};
	for (int i = 0; i < HEALTH_N_PARTS; i++)
		h->part[i] = (struct health_status){.state = HEALTH_FAILED, .since_us = now_us, .detail = "starting"};
}

void health_set(struct health *h, enum health_part part, enum health_state state, int64_t now_us, const char *fmt, ...)
{
	struct health_status *s = &h->part[part];
	va_list ap;

	if (s->state != state)
		s->since_us = now_us;
	s->state = state;
	s->n_figures = 0;
	va_start(ap, fmt);
	vsnprintf(s->detail, sizeof(s->detail), fmt, ap);
	va_end(ap);
}

/* What is too much is left out. */
static struct health_figure *add_figure(struct health *h, enum health_part part, const char *name,
					enum health_figure_kind kind)
{
	struct health_status *s = &h->part[part];
	struct health_figure *f =
		&s->figure[s->n_figures < HEALTH_MAX_FIGURES ? s->n_figures++ : HEALTH_MAX_FIGURES - 1];

	*f = (struct health_figure){.name = name, .kind = kind};
	return f;
}

void health_count(struct health *h, enum health_part part, const char *name, uint64_t n)
{
	add_figure(h, part, name, HEALTH_COUNT)->number = (int64_t)(n <= INT64_MAX ? n : INT64_MAX);
}

void health_ms(struct health *h, enum health_part part, const char *name, double ms)
{
	add_figure(h, part, name, HEALTH_MS)->ms = ms;
}

void health_time(struct health *h, enum health_part part, const char *name, int64_t at_us)
{
	add_figure(h, part, name, HEALTH_TIME)->number = at_us;
}

void health_text(struct health *h, enum health_part part, const char *name, const char *text)
{
	struct health_figure *f = add_figure(h, part, name, HEALTH_TEXT);

	(void)snprintf(f->text, sizeof(f->text), "%s", text);
}

static void write_figure(struct json_writer *w, const struct health_figure *f)
{
	char at[CLOCK_ISO_SIZE];

	jw_key(w, f->name);
	if (f->kind == HEALTH_COUNT)
		jw_i64(w, f->number);
	else if (f->kind == HEALTH_MS && f->ms >= 0)
		jw_double(w, f->ms);
	else if (f->kind == HEALTH_TIME && f->number)
		jw_cstr(w, clock_iso(f->number, at));
	else if (f->kind == HEALTH_TEXT && f->text[0])
		jw_cstr(w, f->text);
	else
		jw_null(w);
}

enum health_state health_overall(const struct health *h)
{
	enum health_state worst = HEALTH_OK;

	for (int i = 0; i < HEALTH_N_PARTS; i++) {
		enum health_state s = h->part[i].state;

		if (i == HEALTH_DATABASE && s == HEALTH_FAILED)
			s = HEALTH_DEGRADED;
		if (s > worst)
			worst = s;
	}
	return worst;
}

/* An empty registry is ready: there is nothing that could be asked for and not be served. */
static bool can_serve(const struct health *h)
{
	return h->n_usable > 0 || h->n_use_cases == 0;
}

bool health_ready(const struct health *h)
{
	return h->snapshot_loaded && h->spool_open && !h->stopping && can_serve(h);
}

int health_write(const struct health *h, int64_t now_us, struct buf *out)
{
	char since[CLOCK_ISO_SIZE];
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kcstr(&w, "status", health_state_name(health_overall(h)));
	jw_kcstr(&w, "version", h->version);
	jw_ki64(&w, "uptime_s", (now_us - h->start_us) / 1000000);
	jw_key(&w, "parts");
	jw_object(&w);
	for (int i = 0; i < HEALTH_N_PARTS; i++) {
		jw_key(&w, health_part_name((enum health_part)i));
		jw_object(&w);
		jw_kcstr(&w, "state", health_state_name(h->part[i].state));
		jw_kcstr(&w, "since", clock_iso(h->part[i].since_us, since));
		jw_kcstr(&w, "detail", h->part[i].detail);
		jw_key(&w, "evidence");
		jw_object(&w);
		for (size_t k = 0; k < h->part[i].n_figures; k++)
			write_figure(&w, &h->part[i].figure[k]);
		jw_object_end(&w);
		jw_object_end(&w);
	}
	jw_object_end(&w);
	jw_object_end(&w);
	return health_overall(h) == HEALTH_FAILED ? 503 : 200;
}

int health_write_live(struct buf *out)
{
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kcstr(&w, "status", "live");
	jw_object_end(&w);
	return 200;
}

int health_write_ready(const struct health *h, struct buf *out)
{
	char text[128];
	struct json_writer w;

	jw_init(&w, out);
	jw_object(&w);
	jw_kcstr(&w, "status", health_ready(h) ? "ready" : "not ready");
	jw_key(&w, "reasons");
	jw_array(&w);
	if (h->stopping)
		jw_cstr(&w, "stopping: finishing what has begun");
	if (!h->snapshot_loaded)
		jw_cstr(&w, "no snapshot of the registry is loaded yet");
	if (!h->spool_open)
		jw_cstr(&w, "the spool takes no records: see spool.directory and its disk");
	if (h->snapshot_loaded && !can_serve(h)) {
		snprintf(text, sizeof(text), "none of %zu use cases has a model or fallback that can serve",
			 h->n_use_cases);
		jw_cstr(&w, text);
	}
	jw_array_end(&w);
	jw_object_end(&w);
	return health_ready(h) ? 200 : 503;
}
