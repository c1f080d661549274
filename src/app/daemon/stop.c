/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end, in order: no new connections; exchanges finish, within the limit; control calls come home; the loops end;
 * the spool is shipped, or kept for the next start.
 */
#include <stdlib.h>

#include "app/daemon/daemon.h"
#include "core/http/tls.h"

#define SHIP_LIMIT_MS 5000

static void on_loop_drained_control(void *arg)
{
	struct data_loop *l = arg;

	l->drained = true;
	l->daemon->n_draining--;
	daemon_drained_check(l->daemon);
}

static void on_loop_drained(void *arg)
{
	struct data_loop *l = arg;

	loop_post(l->daemon->control, on_loop_drained_control, l);
}

static void drain(void *arg)
{
	struct data_loop *l = arg;

	http_server_drain(l->server, l->daemon->config.shutdown_limit_ms, on_loop_drained, l);
}

static void close_loop(void *arg)
{
	struct data_loop *l = arg;

	http_server_free(l->server);
	gateway_free(l->gateway);
	l->server = NULL;
	l->gateway = NULL;
	if (l->loop != l->daemon->control)
		loop_stop(l->loop);
}

static void close_handle(uv_handle_t *h)
{
	(void)h; /* part of struct daemon */
}

static void end_control(struct daemon *d)
{
	for (size_t i = 0; i < COUNT_OF(d->signals); i++)
		uv_close((uv_handle_t *)&d->signals[i], close_handle);
	timer_cancel(d->control, &d->health_timer);
	timer_cancel(d->control, &d->rollout_timer);
	timer_cancel(d->control, &d->leader_timer);
	timer_cancel(d->control, &d->lending_timer);
	timer_cancel(d->control, &d->budgets_timer);
	timer_cancel(d->control, &d->retention_timer);
	timer_cancel(d->control, &d->alerts_timer);
	loop_stop(d->control);
}

/* Everybody home? Then the loops can go. */
void daemon_drained_check(struct daemon *d)
{
	if (!d->stopping || d->n_draining || d->n_calls)
		return;
	d->stopping = false;
	for (size_t i = 0; i < d->n_loops + d->has_control_listener; i++)
		loop_post(d->loops[i].loop, close_loop, &d->loops[i]);
	end_control(d);
}

void daemon_stop(struct daemon *d)
{
	if (d->stopping)
		return;
	d->stopping = true;
	d->health.stopping = true;
	db_hurry();
	alerts_stop(d->alerts);
	log_info(&d->log, "stopping: no new connections; %lld s for what is under way",
		 (long long)(d->config.shutdown_limit_ms / 1000));
	d->n_draining = d->n_loops + d->has_control_listener;
	for (size_t i = 0; i < d->n_loops + d->has_control_listener; i++)
		loop_post(d->loops[i].loop, drain, &d->loops[i]);
	retention_stop(d->retention);
	daemon_leave(d);
}

static void free_loops(struct daemon *d)
{
	for (size_t i = 0; i < d->n_loops; i++) {
		struct data_loop *l = &d->loops[i];

		if (l->started && !d->running) /* the start failed: nobody has told it to end */
			loop_post(l->loop, close_loop, l);
		if (l->started)
			loop_join(l->loop);
		if (l->server)
			http_server_free(l->server);
		if (l->gateway)
			gateway_free(l->gateway);
		if (l->loop)
			loop_free(l->loop);
	}
	if (d->loops[d->n_loops].gateway) { /* the control listener, when the start failed */
		http_server_free(d->loops[d->n_loops].server);
		gateway_free(d->loops[d->n_loops].gateway);
	}
}

void daemon_free(struct daemon *d)
{
	free_loops(d);
	daemon_close_budgets(d);
	sim_stop(d->sim);
	if (d->shipper && shipper_stop(d->shipper, SHIP_LIMIT_MS))
		log_warn(&d->log, "some records could not be shipped: they stay in the spool for the next start");
	listener_stop(d->listener); /* when the start failed */
	rollout_free(d->rollout);
	lender_free(d->lender);
	retention_free(d->retention);
	alerts_free(d->alerts);
	free(d->alert_traffic);
	if (d->registry)
		registry_free(d->registry);
	if (d->control)
		loop_free(d->control);
	if (d->store)
		store_free(d->store);
	if (d->spool)
		spool_close(d->spool);
	gateway_settings_unref(d->settings);
	gateway_policy_cache_free(d->prepare.cache);
	gateway_limits_free(d->prepare.limits);
	gateway_series_free(d->prepare.series);
	gateway_memory_free(d->prepare.memory);
	gateway_once_free(d->once);
	gateway_once_free(d->cache);
	tls_context_free(d->client_tls);
	tls_context_free(d->server_tls);
	pthread_mutex_destroy(&d->settings_lock);
	daemon_forget_budgets(d);
	config_release(&d->config);
}
