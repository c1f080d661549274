/* SPDX-License-Identifier: Apache-2.0 */
/* `muster serve`: flags, configuration, and the life of the daemon. */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "app/daemon/daemon.h"
#include "core/base/clock.h"

extern char **environ;

#define HEALTH_EVERY_MS 2000

struct serve_options {
	const char *config_path;
	bool demo, dump_options, dump_config, help;
};

static int usage_error(const char *text, const char *hint)
{
	fprintf(stderr, "muster: %s\n        %s\n", text, hint);
	return 2;
}

static void print_help(void)
{
	puts("muster serve [--config FILE] [--listen ADDR:PORT] [--data DIR] [--demo] [--KEY VALUE ...]\n\n"
	     "Starts the daemon in the foreground; SIGTERM ends it, SIGHUP reloads the configuration.\n\n"
	     "  --config FILE        muster.yaml to read (default: none)\n"
	     "  --listen ADDR:PORT   where to listen (default 127.0.0.1:8080; port 0: any free one)\n"
	     "  --data DIR           where SQLite and the spool live (default ./var)\n"
	     "  --demo               four use cases, each served by a simulated model\n"
	     "  --dump-options       every key of the configuration, with its default, and exit\n"
	     "  --dump-config        every key with the value it has and where that came from, and exit\n\n"
	     "Every key of the configuration is also a flag (--timeouts.first_byte 30s) and an environment\n"
	     "variable (MUSTER_TIMEOUTS_FIRST_BYTE). A flag wins over the environment, that over the file.\n\n"
	     "Example: muster serve --demo --listen 127.0.0.1:9000 --data /tmp/muster");
}

/* Flags of our own; the rest are keys of the configuration. 1: taken, 0: not ours. */
static int take_own(struct serve_options *o, const char *arg)
{
	static const struct {
		const char *name;
		size_t offset;
	} flags[] = {{"--demo", offsetof(struct serve_options, demo)},
		     {"--dump-options", offsetof(struct serve_options, dump_options)},
		     {"--dump-config", offsetof(struct serve_options, dump_config)},
		     {"--help", offsetof(struct serve_options, help)},
		     {"-h", offsetof(struct serve_options, help)}};

	for (size_t i = 0; i < COUNT_OF(flags); i++)
		if (!strcmp(arg, flags[i].name)) {
			*(bool *)(void *)((char *)o + flags[i].offset) = true;
			return 1;
		}
	return 0;
}

/* "--key=value" or "--key value": calls take(key, value). Returns 0 or the exit status. */
static int for_each_flag(int argc, char **argv, struct serve_options *o, struct config *c)
{
	for (int i = 2; i < argc; i++) { /* muster serve ... */
		const char *value = strchr(argv[i], '=');
		char key[128];
		bool is_bool = false, known;
		struct err err = {0};
		int rc;

		if (take_own(o, argv[i]))
			continue;
		if (strncmp(argv[i], "--", 2) != 0)
			return usage_error("serve takes options only", "see muster serve --help");
		snprintf(key, sizeof(key), "%.*s", value ? (int)(value - argv[i] - 2) : 120, argv[i] + 2);
		known = config_has(key, &is_bool) || !strcmp(key, "config");
		if (value)
			value++;
		else if (i + 1 < argc && (!is_bool || argv[i + 1][0] != '-'))
			value = argv[++i];
		if (!value && !is_bool && known) {
			err_set(&err, E_INVALID, "%s needs a value", argv[i]);
			return usage_error(err.text, "see muster serve --help");
		}
		if (!strcmp(key, "config")) {
			o->config_path = value;
			continue;
		}
		if (!c)
			continue;
		rc = config_set(c, key, value ? value : is_bool ? "true" : "", &err);
		if (rc)
			return usage_error(err.text, "see muster serve --dump-options");
	}
	return 0;
}

static int fail(const struct err *err)
{
	fprintf(stderr, "muster: %s\n", err->text);
	return 1;
}

/* Flag over environment over file over default. Returns 0 or the exit status. */
static int read_config(int argc, char **argv, struct serve_options *o, struct config *c)
{
	struct err err = {0};
	int rc = for_each_flag(argc, argv, o, NULL);

	if (rc)
		return rc;
	if (o->config_path && config_load_file(c, o->config_path, &err))
		return fail(&err);
	if (config_load_env(c, environ, &err))
		return fail(&err);
	return for_each_flag(argc, argv, o, c);
}

static int dump(const struct serve_options *o, const struct config *c)
{
	struct buf out;

	buf_init(&out, (size_t)1024 * 1024);
	if (o->dump_options)
		config_dump_options(&out);
	else
		config_dump_values(c, &out);
	fwrite(out.p, 1, out.n, stdout);
	buf_release(&out);
	return 0;
}

/* --- running --- */

static void on_signal(uv_signal_t *handle, int number)
{
	struct daemon *d = handle->data;

	if (number == SIGHUP) {
		if (!d->stopping) /* the loops read the configuration on their way out */
			daemon_reload(d);
		return;
	}
	if (d->stopping)
		_exit(130); /* asked twice */
	daemon_stop(d);
}

static void on_health_timer(void *arg)
{
	struct daemon *d = arg;

	daemon_update_health(d);
	daemon_mend(d);
	timer_set(d->control, &d->health_timer, HEALTH_EVERY_MS);
}

static void watch(struct daemon *d)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		uv_signal_init(loop_uv(d->control), &d->signals[i]);
		d->signals[i].data = d;
		uv_signal_start(&d->signals[i], on_signal, numbers[i]);
	}
	timer_init(&d->health_timer, on_health_timer, d);
	on_health_timer(d);
	daemon_watch_leader(d);
	daemon_watch_rollout(d);
	daemon_watch_lending(d);
	daemon_watch_budgets(d);
	daemon_watch_retention(d);
	daemon_watch_alerts(d);
	daemon_watch_memory(d);
}

static int run(struct daemon *d)
{
	int64_t start_ms = clock_mono_ms();
	struct err err = {0};

	if (daemon_start(d, &err)) {
		fail(&err);
		return 1;
	}
	watch(d);
	daemon_print_banner(d, clock_mono_ms() - start_ms);
	loop_run(d->control);
	log_info(&d->log, "stopped");
	return 0;
}

int serve_main(int argc, char **argv)
{
	struct serve_options o = {0};
	struct daemon d = {.log = {.module = "daemon"}, .program = argv[0]};
	struct err err = {0};
	int rc;

	config_init(&d.config);
	rc = read_config(argc, argv, &o, &d.config);
	if (!rc && o.help)
		print_help();
	else if (!rc && (o.dump_options || o.dump_config))
		rc = dump(&o, &d.config);
	else if (!rc && config_check(&d.config, &err))
		rc = fail(&err);
	else if (!rc) {
		log_setup((enum log_level)d.config.log_level, d.config.log_format == CONFIG_LOG_JSON);
		d.demo = o.demo;
		d.config_path = o.config_path;
		rc = run(&d);
		daemon_free(&d);
		return rc;
	}
	config_release(&d.config);
	return rc;
}
