/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts in the daemon: their options with the secrets that files hold, the figures that all loops have counted, and
 * the clock.  The control loop judges each second; a job talks to the database; neither waits for a receiver.
 */
#include <stdlib.h>
#include <unistd.h>

#include "app/daemon/daemon.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/libcurl.h"
#include "core/http/url.h"

#define TICK_MS 1000
#define SECRET_MAX ((size_t)8 << 10)
#define SILENT_MS (3 * LEADER_EVERY_MS) /* no answer for so long is none */

/* --- options --- */

struct secrets {
	char *url[CONFIG_MAX_RECEIVERS], *authorization[CONFIG_MAX_RECEIVERS], *signing_key[CONFIG_MAX_RECEIVERS];
	struct alert_receiver receiver[CONFIG_MAX_RECEIVERS];
};

static void wipe(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

static void release_secrets(struct secrets *s)
{
	for (size_t i = 0; i < CONFIG_MAX_RECEIVERS; i++) {
		wipe(s->url[i]);
		wipe(s->authorization[i]);
		wipe(s->signing_key[i]);
	}
}

/* The first line of a file. */
static int read_secret(const char *receiver, const char *key, const char *path, char **ret, struct err *err)
{
	struct slice rest, line;
	struct buf text;
	int rc;

	if (!*path) {
		*ret = slice_dup(SLICE_LIT(""));
		return 0;
	}
	buf_init(&text, SECRET_MAX);
	rc = file_read(path, &text, 0, err);
	rest = buf_slice(&text);
	if (!rc && rest.n && slice_split(&rest, '\n', &line)) {
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		line = slice_trim(line);
		*ret = line.n && !memchr(line.p, '\0', line.n) && !memchr(line.p, '\r', line.n) ? slice_dup(line)
												: NULL;
	}
	if (text.n)
		explicit_bzero(text.p, text.n);
	buf_release(&text);
	if (rc)
		return err_prefix(err, "alerts.receivers.%s.%s", receiver, key);
	return *ret ? 0
		    : err_set(err, E_INVALID,
			      "alerts.receivers.%s.%s: the first line of %.200s is wanted, and it is "
			      "empty or no text",
			      receiver, key, path);
}

static int read_url(const struct config_receiver *r, char **ret, struct err *err)
{
	const char *value = *r->url_env ? getenv(r->url_env) : r->url; /* NOLINT(concurrency-mt-unsafe): never set */
	struct url url;
	int rc;

	if (*r->url_file) {
		rc = read_secret(r->name, "url_file", r->url_file, ret, err);
		if (rc)
			return rc;
	} else if (!value) {
		return err_set(err, E_INVALID, "alerts.receivers.%s.url_env: %.100s is not set", r->name, r->url_env);
	} else {
		*ret = slice_dup(slice_from(value));
	}
	if (url_parse(slice_from(*ret), &url, NULL))
		return err_set(err, E_INVALID, "alerts.receivers.%s: what %s is no http:// or https:// URL", r->name,
			       *r->url_file  ? "url_file holds"
			       : *r->url_env ? "url_env holds"
					     : "url says");
	return 0;
}

static int read_receivers(const struct config_receivers *c, struct secrets *s, struct err *err)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct config_receiver *r = &c->item[i];
		int rc;

		if ((rc = read_url(r, &s->url[i], err)) ||
		    (rc = read_secret(r->name, "authorization_file", r->authorization_file, &s->authorization[i],
				      err)) ||
		    (rc = read_secret(r->name, "signing_key_file", r->signing_key_file, &s->signing_key[i], err)))
			return rc;
		s->receiver[i] = (struct alert_receiver){.name = r->name,
							 .url = s->url[i],
							 .format = (enum alert_format)r->format,
							 .min_severity = (enum alert_severity)r->min_severity,
							 .authorization = s->authorization[i],
							 .signing_key = s->signing_key[i]};
	}
	return 0;
}

static struct alert_rule_settings rule_of(const struct config_alert_rule *r)
{
	return (struct alert_rule_settings){r->enabled, r->for_ms, (enum alert_severity)r->severity};
}

static void fill_rules(const struct daemon *d, const struct config_alerts *c, struct alert_settings *ret)
{
	const char *port = strrchr(d->address, ':');
	char host[200] = "localhost";

	*ret = (struct alert_settings){
		.rule = {[ALERT_REGISTRY_UNAVAILABLE] = rule_of(&c->registry),
			 [ALERT_LOGGING_FAILURES] = rule_of(&c->logging),
			 [ALERT_CRITICAL_VIOLATION] = rule_of(&c->violation),
			 [ALERT_DEPLOYMENT_FAILED] = rule_of(&c->deployment),
			 [ALERT_PERFORMANCE_DEGRADED] = rule_of(&c->performance),
			 [ALERT_BUDGET_NEARLY_SPENT] = rule_of(&c->budget_nearly),
			 [ALERT_BUDGET_SPENT] = rule_of(&c->budget_spent)},
		.resolve_after_ms = c->resolve_after_ms,
		.logging = {c->logging_percent, c->logging_window_ms, c->logging_min_count},
		.violation = {c->violation_window_ms},
		.deployment = {c->deployment_window_ms},
		.performance = {c->performance_window_ms, c->performance_baseline_ms, c->performance_min_count,
				c->latency_ratio, c->latency_floor_ms, c->error_ratio, c->error_floor},
		.budget = {c->budget_nearly_percent, c->budget_spent_percent},
	};
	if (*c->instance) {
		(void)snprintf(ret->instance, sizeof(ret->instance), "%.255s", c->instance); /* names are short */
		return;
	}
	(void)gethostname(host, sizeof(host) - 1); /* else it stays localhost */
	(void)snprintf(ret->instance, sizeof(ret->instance), "%.200s%.10s", host, port ? port : "");
}

struct daemon_alerts_options {
	struct alerts_options o;
	struct secrets secrets;
};

static int make_options(const struct daemon *d, const struct config *c, struct daemon_alerts_options *ret,
			struct err *err)
{
	int rc;

	*ret = (struct daemon_alerts_options){.o = {.repeat_ms = c->alerts.repeat_ms,
						    .resend_ms = c->alerts.resend_ms,
						    .timeout_ms = c->alerts.timeout_ms,
						    .give_up_ms = c->alerts.give_up_ms,
						    .ca_file = c->tls_ca_file,
						    .n_receivers = c->alerts.receivers.n}};
	fill_rules(d, &c->alerts, &ret->o.rules);
	rc = read_receivers(&c->alerts.receivers, &ret->secrets, err);
	ret->o.receivers = ret->secrets.receiver;
	return rc;
}

int daemon_make_alerts(struct daemon *d, struct err *err)
{
	struct daemon_alerts_options options;
	int rc = make_options(d, &d->config, &options, err);

	d->database_ok_ms = clock_mono_ms();
	d->alert_traffic = calloc(GATEWAY_SLOTS, sizeof(*d->alert_traffic));
	if (!d->alert_traffic)
		abort();
	if (!rc)
		rc = alerts_start(d->store, &options.o, &d->alerts, err);
	release_secrets(&options.secrets);
	d->admin.alerts = d->alerts;
	return rc;
}

int daemon_check_alerts(struct daemon *d, const struct config *c, struct err *err)
{
	struct daemon_alerts_options options;
	int rc = make_options(d, c, &options, err);

	if (!rc && options.o.n_receivers)
		rc = libcurl_load(err);
	release_secrets(&options.secrets);
	return rc;
}

void daemon_configure_alerts(struct daemon *d)
{
	struct daemon_alerts_options options;
	struct err err = {0};

	if (make_options(d, &d->config, &options, &err) || /* the files have changed since they were checked */
	    alerts_configure(d->alerts, &options.o, &err))
		log_error(&d->log, "alerts go on as they were: %s", err.text);
	release_secrets(&options.secrets);
}

/* --- figures --- */

static void add_hits(const struct gateway_critical_stats *c, struct alert_hits *list, size_t *n)
{
	struct slice use_case = slice_from(c->use_case), rule = slice_from(c->rule);

	for (size_t i = 0; i < *n; i++) {
		if (slice_eq(list[i].use_case, use_case) && slice_eq(list[i].rule, rule)) {
			list[i].n += counter_get(&c->hits);
			return;
		}
	}
	if (*n < ALERT_HITS_MAX)
		list[(*n)++] = (struct alert_hits){use_case, rule, counter_get(&c->hits)};
}

static size_t count_hits(const struct daemon *d, struct alert_hits *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n_loops + d->has_control_listener; i++) {
		const struct gateway_stats *g = gateway_stats(d->loops[i].gateway);
		size_t n_critical = gateway_n_critical(g);

		for (size_t k = 0; k < n_critical; k++)
			add_hits(&g->critical[k], ret, &n);
	}
	return n;
}

static void add_traffic(const struct gateway_use_case_stats *s, struct alert_traffic *into)
{
	for (size_t arm = 0; arm < GATEWAY_N_ARMS; arm++) {
		into->requests += counter_get(&s->arm[arm].requests);
		into->errors += counter_get(&s->arm[arm].errors);
		latency_add(&s->arm[arm].latency, into->latency);
	}
}

static size_t count_traffic(const struct daemon *d, const struct snapshot *s, struct alert_traffic *ret)
{
	size_t n = 0;

	for (size_t u = 0; s && u < s->n_use_cases && n < ALERT_TRAFFIC_MAX; u++) {
		unsigned slot = s->use_cases[u].slot;

		if (slot >= GATEWAY_SLOTS - 1) /* the last is shared by all that come after it */
			continue;
		ret[n] = (struct alert_traffic){.use_case = s->use_cases[u].settings.name};
		for (size_t i = 0; i < d->n_loops + d->has_control_listener; i++)
			add_traffic(&gateway_stats(d->loops[i].gateway)->use_case[slot], &ret[n]);
		n++;
	}
	return n;
}

/* --- the clock --- */

static void judge_figures(struct daemon *d)
{
	const struct spool_stats *spool = spool_stats(d->spool);
	struct snapshot *s = registry_snapshot(d->registry);
	uint64_t lost = counter_get(&spool->lost);
	struct alert_hits hits[ALERT_HITS_MAX];
	struct daemon_budget_figures budgets = {.n = 0};
	struct alert_figures f = {
		.now = {clock_mono_ms(), clock_wall_us()},
		.database_ok_ms = d->database_ok_ms,
		.database_problem = slice_from(d->leader.problem),
		.log_records = counter_get(&spool->records) + lost,
		.log_failed = lost + counter_get(&shipper_stats(d->shipper)->rejected),
		.hits = hits,
		.n_hits = count_hits(d, hits),
		.traffic = d->alert_traffic,
		.n_traffic = count_traffic(d, s, d->alert_traffic),
		.leads = daemon_leads(d, NULL),
	};

	f.database_away = d->leader.problem[0] || f.now.mono_ms - d->database_ok_ms > SILENT_MS;
	if (f.leads)
		daemon_count_budgets(d, f.now.wall_us, &budgets);
	f.budgets = budgets.list;
	f.n_budgets = budgets.n;
	alerts_tick(d->alerts, &f);
	daemon_release_budgets(&budgets);
	snapshot_unref(s);
}

static void sync_alerts(void *arg)
{
	struct daemon *d = arg;

	alerts_sync(d->alerts, d->alerts_lead);
}

static void synced(void *arg)
{
	struct daemon *d = arg;

	d->alerts_sync = false;
	d->n_calls--;
	daemon_drained_check(d);
}

static void on_timer(void *arg)
{
	struct daemon *d = arg;

	if (d->stopping)
		return;
	judge_figures(d);
	if (!d->alerts_sync && alerts_wants_sync(d->alerts, clock_mono_ms())) {
		d->alerts_sync = true;
		d->alerts_lead = daemon_leads(d, NULL);
		d->n_calls++;
		job_submit(d->control, sync_alerts, synced, d);
	}
	timer_set(d->control, &d->alerts_timer, TICK_MS);
}

void daemon_watch_alerts(struct daemon *d)
{
	timer_init(&d->alerts_timer, on_timer, d);
	on_timer(d);
}

/* --- what is told of them --- */

void daemon_observe_alerts(struct daemon *d, int64_t now_us)
{
	struct alerts_status s;
	size_t n_firing = 0;

	alerts_status(d->alerts, &s);
	for (int i = 0; i < ALERT_N_RULES; i++)
		n_firing += s.n_firing[i];
	health_count(&d->health, HEALTH_ALERTS, "firing", n_firing);
	health_count(&d->health, HEALTH_ALERTS, "silenced", s.n_silenced);
	health_count(&d->health, HEALTH_ALERTS, "receivers", s.n_receivers);
	for (size_t i = 0; i < s.n_receivers; i++) {
		const struct alert_receiver_status *r = &s.receiver[i];

		if (!r->failures)
			continue;
		health_set(&d->health, HEALTH_ALERTS, HEALTH_DEGRADED, now_us,
			   "receiver %s does not take alerts: %.150s", r->name, r->error);
		return;
	}
	if (s.n_receivers)
		health_set(&d->health, HEALTH_ALERTS, HEALTH_OK, now_us, "%zu firing, %zu receiver%s", n_firing,
			   s.n_receivers, s.n_receivers == 1 ? "" : "s");
	else
		health_set(&d->health, HEALTH_ALERTS, HEALTH_OK, now_us,
			   "%zu firing, sent to nobody (alerts.receivers)", n_firing);
}

static void write_deliveries(struct prom_writer *w, const struct alerts_status *s)
{
	prom_family(w, "muster_alert_deliveries_total", PROM_COUNTER,
		    "Attempts to deliver an alert: delivered or failed; and alerts that were given up.");
	for (size_t i = 0; i < s->n_receivers; i++) {
		const struct alert_receiver_status *r = &s->receiver[i];
		const struct {
			const char *result;
			uint64_t n;
		} rows[] = {{"delivered", r->n_delivered}, {"failed", r->n_failed}, {"gave_up", r->n_gave_up}};

		for (size_t k = 0; k < COUNT_OF(rows); k++) {
			struct prom_label labels[] = {{"receiver", slice_from(r->name)},
						      {"result", slice_from(rows[k].result)}};

			prom_count(w, labels, 2, rows[k].n);
		}
	}
}

void daemon_write_alerts(struct daemon *d, struct prom_writer *w)
{
	struct alerts_status s;

	alerts_status(d->alerts, &s);
	prom_family(w, "muster_alerts_firing", PROM_GAUGE, "Alerts that fire now, by rule.");
	for (int i = 0; i < ALERT_N_RULES; i++) {
		struct prom_label label = {"rule", slice_from(alert_rule_name((enum alert_rule)i))};

		prom_count(w, &label, 1, s.n_firing[i]);
	}
	prom_family(w, "muster_alerts_silenced", PROM_GAUGE, "Of these, the ones that a silence covers.");
	prom_count(w, NULL, 0, s.n_silenced);
	prom_family(w, "muster_alerts_dropped_total", PROM_COUNTER, "Alerts for which there was no room.");
	prom_count(w, NULL, 0, s.n_dropped);
	write_deliveries(w, &s);
}
