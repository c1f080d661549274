/* SPDX-License-Identifier: Apache-2.0 */
/* Building the daemon, bottom up.  What fails here ends the start with a sentence; a database that is away does not. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/daemon/daemon.h"
#include "core/base/clock.h"
#include "core/base/version.h"
#include "core/http/tls.h"
#include "core/http/url.h"
#include "serving/guardrail/guard.h"

static void raise_file_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return;
	l.rlim_cur = l.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &l); /* what we have is enough to start */
}

static size_t count_loops(const struct config *c)
{
	cpu_set_t set;
	long n = c->loops;

	if (!n && !sched_getaffinity(0, sizeof(set), &set))
		n = CPU_COUNT(&set);
	if (n < 1)
		n = 1;
	return min_size((size_t)n, DAEMON_MAX_LOOPS);
}

static int make_data_directory(const char *path, struct err *err)
{
	if (mkdir(path, 0700) && errno != EEXIST)
		return err_set(err, E_IO, "cannot make the data directory %s: %s", path, strerror(errno));
	if (access(path, W_OK | X_OK))
		return err_set(err, E_IO, "cannot write to the data directory %s: %s (choose another with --data)",
			       path, strerror(errno));
	return 0;
}

static int open_spool(struct daemon *d, struct err *err)
{
	char *directory = config_spool_directory(&d->config);
	struct spool_options o = {.directory = directory,
				  .n_writers = (unsigned)(d->n_loops + d->has_control_listener),
				  .max_bytes = (size_t)d->config.spool_max_bytes};
	int rc = spool_open(&o, &d->spool, err);

	free(directory);
	return rc;
}

/* A database that is away now may come back: only what will not mend itself ends the start. */
static int open_store(struct daemon *d, struct err *err)
{
	char *url = config_database_url(&d->config);
	struct db *db = NULL;
	int rc = store_new(url, &d->store, err);

	free(url);
	if (rc)
		return rc;
	store_migrate_first(d->store);
	rc = store_acquire(d->store, &db, err);
	if (!rc)
		store_release(d->store, db);
	if (rc != E_UNAVAILABLE && rc != E_BUSY)
		return rc;
	log_warn(&d->log, "the database is away, serving without it: %s", err ? err->text : "");
	return 0;
}

/* --- loops --- */

static void client_options(struct daemon *d, struct http_client_options *o)
{
	http_client_options_init(o);
	o->tls = d->client_tls;
}

/* A body, what is read of it, and the same in another protocol, each with room to grow by doubling. */
#define ARENA_OF_BODY 8

static void server_options(struct daemon *d, struct http_server_options *o)
{
	const struct config *c = &d->config;

	http_server_options_init(o);
	o->max_body_bytes = (size_t)c->limits_body_bytes;
	if (o->arena_max_bytes < o->max_body_bytes * ARENA_OF_BODY)
		o->arena_max_bytes = o->max_body_bytes * ARENA_OF_BODY;
	o->max_connections = (unsigned)c->limits_connections;
	o->header_timeout_ms = c->limits_header_timeout_ms;
	o->body_timeout_ms = c->limits_body_timeout_ms;
	o->idle_timeout_ms = c->limits_idle_timeout_ms;
	o->send_timeout_ms = c->limits_send_timeout_ms;
	o->tls = d->server_tls;
}

static int make_loop(struct daemon *d, size_t i, struct loop *loop, struct err *err)
{
	struct data_loop *l = &d->loops[i];
	struct http_server_options so;
	struct gateway_options go = {.once = d->once,
				     .cache = d->cache,
				     .budgets = d->prepare.budgets,
				     .loop = loop,
				     .spool = d->spool,
				     .writer = (unsigned)i,
				     .control = daemon_on_control,
				     .control_arg = l};
	struct http_handler handler = {.on_request = gateway_on_request, .on_refused = gateway_on_refused};

	client_options(d, &go.client);
	l->daemon = d;
	l->loop = loop;
	snprintf(l->name, sizeof(l->name), loop == d->control ? "control" : "%zu", i);
	l->gateway = gateway_new(&go);
	gateway_set_settings(l->gateway, d->settings);
	handler.arg = l->gateway;
	server_options(d, &so);
	return http_server_new(loop, &so, &handler, &l->server, err);
}

static int make_loops(struct daemon *d, struct err *err)
{
	for (size_t i = 0; i < d->n_loops; i++) {
		struct loop *loop;
		char name[32];
		int rc;

		snprintf(name, sizeof(name), "loop %zu", i);
		rc = loop_new(name, &loop, err);
		if (rc)
			return rc;
		d->loops[i].loop = loop; /* daemon_free's, whatever fails from here on */
		rc = make_loop(d, i, loop, err);
		if (rc)
			return rc;
	}
	return d->has_control_listener ? make_loop(d, d->n_loops, d->control, err) : 0;
}

static void write_address(struct daemon *d, struct slice host, uint16_t port)
{
	bool is_v6 = host.n && memchr(host.p, ':', host.n);

	if (!host.n)
		host = SLICE_LIT("0.0.0.0");
	snprintf(d->address, sizeof(d->address), "%s://%s" SLICE_FMT "%s:%u", d->server_tls ? "https" : "http",
		 is_v6 ? "[" : "", SLICE_ARG(host), is_v6 ? "]" : "", port);
}

static int listen_all(struct daemon *d, struct err *err)
{
	struct http_listen where = {.share = d->n_loops > 1, .share_check = true};
	int rc = addr_parse(slice_from(d->config.listen), &where.host, &where.port, err);

	for (size_t i = 0; !rc && i < d->n_loops; i++) {
		rc = http_server_listen(d->loops[i].server, &where, &where.port, err);
		where.share_check = false;
	}
	if (rc)
		return rc;
	write_address(d, where.host, where.port);
	if (!d->has_control_listener)
		return 0;
	where = (struct http_listen){.share_check = true};
	rc = addr_parse(slice_from(d->config.control_listen), &where.host, &where.port, err);
	return rc ? rc : http_server_listen(d->loops[d->n_loops].server, &where, &where.port, err);
}

static int start_loops(struct daemon *d, struct err *err)
{
	for (size_t i = 0; i < d->n_loops; i++) {
		int rc = loop_start(d->loops[i].loop, err);

		if (rc)
			return rc;
		d->loops[i].started = true;
	}
	d->running = true;
	return 0;
}

/* --- the registry --- */

static int prepare(struct snapshot *s, void *arg, struct err *err)
{
	struct daemon *d = arg;

	return gateway_prepare(s, &d->prepare, err);
}

/* What is wrong with the request, not with who makes it. */
static int admit(const struct model_config *config, void *arg, struct err *err)
{
	const struct daemon *d = arg;
	struct err why = {0};
	int rc = 0;

	if (config->api_key_file.n)
		rc = secret_file_check(&d->secrets, config->api_key_file, &why);
	if (!rc && config->api_key_env.n)
		rc = secret_env_check(&d->secrets, config->api_key_env, &why);
	return rc ? err_set(err, E_INVALID, "configuration: %s", why.text) : 0;
}

static int load_registry(struct daemon *d, struct err *err)
{
	struct registry_hooks hooks = {.prepare = prepare,
				       .admit = admit,
				       .publish = daemon_publish,
				       .arg = d,
				       .default_policy = guard_default_policy};
	char path[4096];
	enum registry_origin origin;
	int rc;

	snprintf(path, sizeof(path), "%s/snapshot.json", d->config.data);
	rc = registry_new(d->store, &hooks, path, &d->registry, err);
	if (rc)
		return rc;
	rc = registry_load(d->registry, &origin, err);
	if (!rc && origin == REGISTRY_FROM_DISK)
		log_warn(&d->log, "the database is away: serving what was served last, from %s", path);
	return rc;
}

static int start_shipper(struct daemon *d, struct err *err)
{
	struct shipper_options o = {0};

	return shipper_start(d->spool, d->store, &o, &d->shipper, err);
}

static int make_client_tls(struct daemon *d, struct err *err)
{
	int rc = tls_client_new(d->config.tls_ca_file[0] ? d->config.tls_ca_file : NULL, &d->client_tls, err);

	d->prepare.tls = d->client_tls;
	return rc;
}

static int make_tls(struct daemon *d, struct err *err)
{
	if (!d->config.tls_cert_file[0])
		return 0;
	return tls_server_new(d->config.tls_cert_file, d->config.tls_key_file, &d->server_tls, err);
}

typedef int start_step(struct daemon *d, struct err *err);

static int start_sim(struct daemon *d, struct err *err)
{
	d->secrets = (struct secret_rules){d->config.secrets_env_allow, d->config.secrets_directory};
	d->prepare.secrets = &d->secrets;
	d->prepare.sim_host = "127.0.0.1";
	d->prepare.cache = gateway_policy_cache_new();
	d->prepare.limits = gateway_limits_new();
	d->prepare.series = gateway_series_new();
	d->prepare.memory = gateway_memory_new();
	d->once = gateway_once_new();
	d->cache = gateway_once_new();
	return sim_start(&d->sim, &d->prepare.sim_port, err);
}

static int first_settings(struct daemon *d, struct err *err)
{
	return daemon_make_settings(d, &d->config, &d->settings, err);
}

static int check_keys(struct daemon *d, struct err *err)
{
	return daemon_check_keys(d, &d->config, err);
}

static int make_control(struct daemon *d, struct err *err)
{
	return loop_new("control", &d->control, err);
}

static int data_directory(struct daemon *d, struct err *err)
{
	return make_data_directory(d->config.data, err);
}

/* For the admin API, on a job thread. */
static int list_endpoints(struct arena *a, struct admin_endpoint **ret, size_t *ret_n, void *arg)
{
	struct daemon *d = arg;
	struct gateway_settings *s;
	struct admin_endpoint *list;
	size_t n;

	pthread_mutex_lock(&d->settings_lock);
	s = gateway_settings_ref(d->settings);
	pthread_mutex_unlock(&d->settings_lock);
	n = gateway_settings_n_endpoints(s);
	list = ARENA_ARRAY(a, struct admin_endpoint, n + 1);
	for (size_t i = 0; list && i < n; i++) {
		struct gateway_endpoint e = gateway_settings_endpoint_at(s, i);

		list[i] = (struct admin_endpoint){arena_slice(a, e.use_case), arena_slice(a, e.url)};
	}
	gateway_settings_unref(s);
	*ret = list;
	*ret_n = n;
	return list ? 0 : E_TOOBIG;
}

static void read_figures(struct review_figures *ret, void *arg)
{
	const struct daemon *d = arg;
	const struct spool_stats *spool = spool_stats(d->spool);
	uint64_t records = counter_get(&spool->records), lookups[HISTOGRAM_BUCKETS + 1] = {0};

	*ret = (struct review_figures){.since_us = d->start_us,
				       .records = records,
				       .lost = counter_get(&spool->lost),
				       .rejected = counter_get(&shipper_stats(d->shipper)->rejected)};
	for (size_t i = 0; i < d->n_loops + d->has_control_listener; i++) {
		const struct histogram *h = &gateway_stats(d->loops[i].gateway)->lookup;

		histogram_add(h, lookups);
		ret->lookups += counter_get(&h->count);
	}
	ret->lookup_p99_ms = 1000 * histogram_quantile(&histogram_lookups, lookups, 0.99);
	ret->rejected = ret->rejected < records ? ret->rejected : records; /* an earlier run's are counted too */
}

static int make_admin(struct daemon *d, struct err *err)
{
	(void)err;
	d->retention = retention_new(d->store);
	d->admin = (struct admin){.registry = d->registry,
				  .store = d->store,
				  .shipper = d->shipper,
				  .rollout = d->rollout,
				  .retention = d->retention,
				  .endpoints = list_endpoints,
				  .endpoints_arg = d,
				  .figures = read_figures,
				  .figures_arg = d};
	return 0;
}

/* The loops are to have something to spend before the first request; other daemons are counted already. */
static int first_budgets(struct daemon *d, struct err *err)
{
	(void)err;
	daemon_round_budgets(d);
	return 0;
}

static int seed(struct daemon *d, struct err *err)
{
	return d->demo ? daemon_seed_demo(d, err) : 0;
}

int daemon_start(struct daemon *d, struct err *err)
{
	static start_step *const order[] = {
		data_directory, open_spool,   open_store,    daemon_open_budgets, make_client_tls,
		first_settings, make_control, make_tls,	     start_sim,		  make_loops,
		load_registry,	check_keys,   start_shipper, daemon_make_rollout, daemon_make_lending,
		first_budgets,	make_admin,   seed,	     listen_all,	  daemon_make_alerts,
		start_loops,	daemon_follow};

	raise_file_limit();
	pthread_mutex_init(&d->settings_lock, NULL);
	d->start_us = clock_wall_us();
	d->instance = uuid_v7_now();
	d->n_loops = count_loops(&d->config);
	d->has_control_listener = d->config.control_listen[0] != 0;
	health_init(&d->health, MUSTER_VERSION, d->start_us);
	for (size_t i = 0; i < COUNT_OF(order); i++) {
		int rc = order[i](d, err);

		if (rc)
			return rc;
	}
	return 0;
}
