/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration: every source, every type, every refusal with its file and line, and that the documents follow the
 * table. */
#include "app/daemon/config.h"

#include <unistd.h>

#include "core/base/log.h"
#include "t.h"

static int load(struct config *c, const char *text, struct err *err)
{
	return config_load_text(c, "muster.yaml", slice_from(text), err);
}

/* The error of a text, or "". */
static const char *refusal(const char *text)
{
	static struct err err;
	struct config c;
	int rc;

	err = (struct err){0};
	config_init(&c);
	rc = load(&c, text, &err);
	CHECK(rc == 0 || err.code == rc);
	config_release(&c);
	return rc < 0 ? err.text : "";
}

static bool check_fails(const char *text, const char *want)
{
	struct err err = {0};
	struct config c;
	int rc;

	config_init(&c);
	CHECK_INT(load(&c, text, &err), 0);
	rc = config_check(&c, &err);
	config_release(&c);
	if (rc < 0 && strstr(err.text, want))
		return true;
	printf("# got \"%s\", want \"%s\"\n", err.text, want);
	return false;
}

TEST(without_any_source_every_key_has_its_default)
{
	char origin[CONFIG_ORIGIN_SIZE];
	struct err err = {0};
	struct config c;

	config_init(&c);
	CHECK_STR(c.listen, "127.0.0.1:8080");
	CHECK_STR(c.control_listen, "");
	CHECK_STR(c.data, "./var");
	CHECK_INT(c.log_level, LOG_INFO);
	CHECK_INT(c.log_format, CONFIG_LOGFMT);
	CHECK_INT(c.limits_body_bytes, 32 * 1024 * 1024);
	CHECK_INT(c.limits_connections, 16384);
	CHECK_INT(c.limits_idle_timeout_ms, 75000);
	CHECK_INT(c.timeouts_total_ms, 600000);
	CHECK_INT(c.spool_max_bytes, 4LL * 1024 * 1024 * 1024);
	CHECK(c.guardrails_enabled && c.history_enabled);
	CHECK_INT(c.fallback_endpoints.n, 0);
	CHECK_STR(c.fallback_content, "I cannot answer right now. Please try again in a moment.");
	CHECK_STR(config_origin_text(&c, "listen", origin), "default");
	CHECK_INT(config_check(&c, &err), 0);
	config_release(&c);
}

TEST(a_file_sets_keys_of_every_type)
{
	char origin[CONFIG_ORIGIN_SIZE];
	struct err err = {0};
	struct config c;

	config_init(&c);
	CHECK_INT(load(&c,
		       "listen: \"[::1]:9000\"\nloops: 4\nlog:\n  level: debug\n  format: json\nlimits:\n  body_bytes: "
		       "64KiB\n"
		       "  header_timeout: 1500ms\ntimeouts.total: 2h\nguardrails: {enabled: no}\nhistory:\n  "
		       "retention: 30d\n"
		       "fallback:\n  endpoints:\n    a_layer: http://localhost:8001/generate\n    b: https://x/y\n"
		       "  content: 'Später, bitte'\ndata:\n",
		       &err),
		  0);
	CHECK_STR(err.text, "");
	CHECK_STR(c.listen, "[::1]:9000");
	CHECK_INT(c.loops, 4);
	CHECK_INT(c.log_level, LOG_DEBUG);
	CHECK_INT(c.log_format, CONFIG_LOG_JSON);
	CHECK_INT(c.limits_body_bytes, 65536);
	CHECK_INT(c.limits_header_timeout_ms, 1500);
	CHECK_INT(c.timeouts_total_ms, 7200000);
	CHECK(!c.guardrails_enabled);
	CHECK_INT(c.history_retention_ms, 30LL * 86400000);
	CHECK_INT(c.fallback_endpoints.n, 2);
	CHECK_STR(c.fallback_endpoints.item[1].use_case, "b");
	CHECK_STR(c.fallback_endpoints.item[1].url, "https://x/y");
	CHECK_STR(c.fallback_content, "Später, bitte");
	CHECK_STR(c.data, "./var");
	CHECK_STR(config_origin_text(&c, "log.level", origin), "from muster.yaml:4");
	CHECK_INT(config_check(&c, &err), 0);
	config_release(&c);
}

static const struct {
	const char *text, *want;
} refusals[] = {
	{"lisen: 127.0.0.1:1\n", "muster.yaml:1: unknown key 'lisen': did you mean 'listen'?"},
	{"\n# x\nlimits:\n  body_byts: 1KiB\n",
	 "muster.yaml:4: unknown key 'limits.body_byts': did you mean 'limits.body_bytes'?"},
	{"level: info\n", "muster.yaml:1: unknown key 'level': did you mean 'log.level'?"},
	{"fallbak:\n  content: x\n", "muster.yaml:1: unknown key 'fallbak': did you mean 'fallback'?"},
	{"alerts:\n  receiver:\n    ops: x\n",
	 "muster.yaml:2: unknown key 'alerts.receiver': did you mean 'alerts.receivers'?"},
	{"completely_different: 1\n",
	 "unknown key 'completely_different'; `muster serve --dump-options` lists all keys"},
	{"listen: a:1\nlisten: b:2\n", "muster.yaml:2: 'listen' is there already, in line 1"},
	{"log:\n  level: info\nloops: 1\nlog:\n  format: json\n", "muster.yaml:4: 'log' is there already, in line 1"},
	{"log.level: info\nlog:\n  level: warn\n", "muster.yaml:3: 'log.level' is there already, in line 1"},
	{"loops: many\n", "muster.yaml:1: loops: 'many' is no whole number"},
	{"loops: -1\n", "loops: -1 is outside 0 to 256"},
	{"loops: 257\n", "loops: 257 is outside 0 to 256"},
	{"loops: 99999999999999999999\n", "is no whole number"},
	{"guardrails:\n  enabled: maybe\n", "muster.yaml:2: guardrails.enabled: 'maybe' is neither true nor false"},
	{"log:\n  level: loud\n", "log.level: 'loud' is not one of debug|info|warn|error|off"},
	{"log:\n  level: ''\n", "log.level: '' is not one of"},
	{"limits:\n  idle_timeout: 75\n", "limits.idle_timeout: 75 of what? Write 75ms, 75s or 75m"},
	{"limits:\n  idle_timeout: 3 parsecs\n", "'3 parsecs' is no duration: write 250ms, 10s, 5m, 2h or 7d"},
	{"limits:\n  idle_timeout: 2d\n", "2d is outside 10ms to 1d"},
	{"limits:\n  body_bytes: 8MB\n", "limits.body_bytes: '8MB' is no size: write 64KiB, 8MiB or 4GiB"},
	{"limits:\n  body_bytes: 1023\n", "1023 is outside 1KiB to 1GiB"},
	{"limits:\n  body_bytes: 99999999999GiB\n", "is no size"},
	{"listen: [a, b]\n", "muster.yaml:1: listen: a single value is wanted, not a list"},
	{"listen:\n  a: b\n", "muster.yaml:1: listen: a single value is wanted, not a mapping"},
	{"log: info\n", "muster.yaml:1: 'log' is a section: write its keys below it, indented"},
	{"log: [level]\n", "'log' is a section"},
	{"log:\n  level:\n    deeper: 1\n", "muster.yaml:2: log.level: a single value is wanted, not a mapping"},
	{"[[[[[[[[[[[[1]]]]]]]]]]]]\n", "muster.yaml:1: lines of KEY: VALUE are wanted"},
	{"{{{{{{{{{{{{", "muster.yaml:1: a key is wanted here"},
	{"? [a]\n: b\n", "muster.yaml:1: a key is wanted here"},
	{"just words\n", "lines of KEY: VALUE are wanted"},
	{"a: &x [l,l]\nb: &y [*x,*x]\n", "muster.yaml:1: unknown key 'a'"},
	{"listen: &x a:1\ndata: *x\n", "muster.yaml:1: anchors and aliases (& and *) are not allowed here"},
	{"listen: *x\n", "anchors and aliases"},
	{"log: &l\n  level: info\n", "muster.yaml:1: anchors and aliases"},
	{"<<: {listen: a:1}\n", "unknown key '<<'"},
	{"listen: a:1\n---\nlisten: b:1\n", "a second document begins here"},
	{"listen: 'a\n", "not YAML"},
	{"log:\n\tlevel: info\n", "muster.yaml:2: not YAML: found character that cannot start any token"},
	{"listen: \xff\xfe\n", "not YAML"},
	{"listen: \"a\\0b\"\n", "listen: holds a NUL byte"},
	{"\"lis\\0ten\": a\n", "unknown key"},
	{"fallback:\n  endpoints: http://x/\n", "fallback.endpoints: lines of USE_CASE: URL are wanted"},
	{"fallback:\n  endpoints: [a]\n", "fallback.endpoints: a single value is wanted, not a list"},
	{"fallback:\n  endpoints:\n    a: [b]\n", "muster.yaml:3: fallback.endpoints: each line is USE_CASE: URL"},
	{"fallback:\n  endpoints:\n    a:\n", "each line is USE_CASE: URL"},
	{"fallback:\n  endpoints:\n    a: http://x/\n    a: http://y/\n",
	 "muster.yaml:4: fallback.endpoints: use case 'a' is there twice"},
	{"fallback:\n  endpoints:\n    \"a\\0\": http://x/\n", "holds a NUL byte"},
	{"alerts:\n  receivers: a\n", "alerts.receivers: names are wanted"},
	{"alerts:\n  receivers: [a]\n", "alerts.receivers: a single value is wanted, not a list"},
	{"alerts:\n  receivers:\n    ops: http://x/\n", "muster.yaml:3: alerts.receivers: each is NAME:"},
	{"alerts:\n  receivers:\n    \"a b\": {url: http://x/}\n", "a receiver's name is 1 to 64 letters"},
	{"alerts:\n  receivers:\n    a: {url: http://x/}\n    a: {}\n", "'a' is there twice"},
	{"alerts:\n  receivers:\n    a:\n      url: [x]\n",
	 "muster.yaml:4: alerts.receivers.a: each line is KEY: VALUE"},
	{"alerts:\n  receivers:\n    a: {ulr: http://x/}\n", "there are url, url_file, url_env, format"},
	{"alerts:\n  receivers:\n    a: {url: http://x/, url: http://y/}\n", "url is there twice"},
	{"alerts:\n  receivers:\n    a: {format: teams}\n", "format is json, slack or alertmanager"},
	{"alerts:\n  receivers:\n    a: {min_severity: low}\n", "min_severity is info, warning or critical"},
	{"alerts:\n  receivers:\n    a: {url: \"x\\0\"}\n", "holds a NUL byte"},
	{"alerts:\n  logging_failures: {percent: 101}\n", "alerts.logging_failures.percent: 101 is outside 0 to 100"},
	{"alerts:\n  critical_violation: {severity: high}\n", "is not one of info|warning|critical"},
};

TEST(a_wrong_file_is_refused_with_file_line_and_key)
{
	for (size_t i = 0; i < COUNT_OF(refusals); i++) {
		const char *got = refusal(refusals[i].text);

		CHECK(strncmp(got, "muster.yaml:", 12) == 0);
		CHECK(strstr(got, refusals[i].want) != NULL);
		if (!strstr(got, refusals[i].want))
			printf("# row %zu got: %s\n", i, got);
	}
}

TEST(empty_files_and_empty_sections_are_fine)
{
	static const char *const fine[] = {"",
					   "# only a comment\n",
					   "---\n",
					   "~\n",
					   "{}\n",
					   "log:\n",
					   "log: {}\n",
					   "fallback:\n  endpoints: {}\n",
					   "fallback:\n  endpoints:\n",
					   "\xef\xbb\xbflisten: 127.0.0.1:1\n"};

	for (size_t i = 0; i < COUNT_OF(fine); i++)
		CHECK_STR(refusal(fine[i]), "");
}

TEST(deep_nesting_and_alias_bombs_end_at_once)
{
	char *deep = malloc(100001);
	struct buf bomb;

	memset(deep, '[', 100000);
	deep[100000] = '\0';
	CHECK(strstr(refusal(deep), "wanted") != NULL);
	memset(deep, '{', 100000);
	CHECK(*refusal(deep));
	free(deep);
	buf_init(&bomb, 1 << 20);
	(void)buf_adds(&bomb, "fallback:\n  endpoints:\n    a0: &a0 x\n"); /* it fits */
	for (int i = 1; i < 30; i++)
		(void)buf_printf(&bomb, "    a%d: &a%d [*a%d, *a%d]\n", i, i, i - 1, i - 1);
	CHECK(strstr(refusal(buf_cstr(&bomb)), "anchors and aliases") != NULL);
	buf_release(&bomb);
}

TEST(sizes_are_bounded_at_the_limit_and_one_past_it)
{
	char *text = malloc(CONFIG_MAX_FILE_BYTES + 2);
	struct err err = {0};
	struct config c;
	struct buf b;

	memset(text, '\n', CONFIG_MAX_FILE_BYTES + 1);
	config_init(&c);
	CHECK_INT(config_load_text(&c, "f", (struct slice){text, CONFIG_MAX_FILE_BYTES}, &err), 0);
	CHECK_INT(config_load_text(&c, "f", (struct slice){text, CONFIG_MAX_FILE_BYTES + 1}, &err), E_TOOBIG);
	free(text);
	buf_init(&b, 1 << 20);
	for (int n = 0; n < 2; n++) {
		buf_clear(&b);
		(void)buf_printf(&b, "%0*d", CONFIG_MAX_VALUE_BYTES + n, 1); /* it fits */
		CHECK_INT(config_set(&c, "fallback.content", buf_cstr(&b), &err), n ? E_TOOBIG : 0);
	}
	buf_clear(&b);
	(void)buf_adds(&b, "fallback:\n  endpoints:\n"); /* it fits */
	for (int i = 0; i < CONFIG_MAX_ENDPOINTS; i++)
		(void)buf_printf(&b, "    u%d: http://x/\n", i);
	CHECK_STR(refusal(buf_cstr(&b)), "");
	(void)buf_adds(&b, "    one_more: http://x/\n"); /* it fits */
	CHECK(strstr(refusal(buf_cstr(&b)), "more than 256 endpoints") != NULL);
	buf_release(&b);
	config_release(&c);
}

TEST(flag_wins_over_environment_over_file_over_default_in_any_order)
{
	char env_listen[] = "MUSTER_LISTEN=127.0.0.1:2", env_level[] = "MUSTER_LOG_LEVEL=warn",
	     other[] = "MUSTER_URL=http://x";
	char env_endpoints[] = "MUSTER_FALLBACK_ENDPOINTS=a=http://x/?q=1, b=http://y/";
	char *const env[] = {other, env_listen, env_level, env_endpoints, NULL};
	char origin[CONFIG_ORIGIN_SIZE];
	struct err err = {0};
	struct config c;

	config_init(&c);
	CHECK_INT(config_set(&c, "listen", "127.0.0.1:3", &err), 0);
	CHECK_INT(config_load_env(&c, env, &err), 0);
	CHECK_INT(load(&c,
		       "listen: 127.0.0.1:1\nlog: {level: error}\nloops: 2\nfallback: {endpoints: {z: http://z/}}\n",
		       &err),
		  0);
	CHECK_STR(c.listen, "127.0.0.1:3");
	CHECK_STR(config_origin_text(&c, "listen", origin), "from --listen");
	CHECK_INT(c.log_level, LOG_WARN);
	CHECK_STR(config_origin_text(&c, "log.level", origin), "from MUSTER_LOG_LEVEL");
	CHECK_INT(c.loops, 2);
	CHECK_INT(c.fallback_endpoints.n, 2);
	CHECK_STR(c.fallback_endpoints.item[0].url, "http://x/?q=1");
	CHECK_STR(c.fallback_endpoints.item[1].use_case, "b");
	config_release(&c);
}

TEST(a_wrong_flag_or_variable_is_named)
{
	char bad[] = "MUSTER_LOOPS=x", bad_map[] = "MUSTER_FALLBACK_ENDPOINTS=http";
	char *const env[] = {bad, NULL}, *const env_map[] = {bad_map, NULL};
	struct err err = {0};
	struct config c;
	bool is_bool;

	config_init(&c);
	CHECK_INT(config_set(&c, "lisen", "x", &err), E_NOTFOUND);
	CHECK_STR(err.text, "unknown option '--lisen': did you mean 'listen'?");
	CHECK_INT(config_set(&c, "log-level", "debug", &err), 0);
	CHECK_INT(config_set(&c, "limits.idle-timeout", "9", &err), E_INVALID);
	CHECK(strstr(err.text, "--limits.idle_timeout: 9 of what?") != NULL);
	CHECK_INT(config_load_env(&c, env, &err), E_INVALID);
	CHECK_STR(err.text, "MUSTER_LOOPS: 'x' is no whole number");
	CHECK_INT(config_load_env(&c, env_map, &err), E_INVALID);
	CHECK(strstr(err.text, "'http' is no USE_CASE=URL") != NULL);
	CHECK(config_has("guardrails-enabled", &is_bool) && is_bool);
	CHECK(config_has("listen", &is_bool) && !is_bool);
	CHECK(!config_has("demo", NULL));
	config_release(&c);
}

static const struct {
	const char *listen, *control_listen, *open;
} addresses[] = {
	{"127.0.0.1:8080", "", ""},
	{"localhost:1", "[::1]:2", ""},
	{"0.0.0.0:8080", "", "0.0.0.0:8080"},
	{":8080", "", ":8080"},
	{"127.0.0.1:8080", "192.168.0.1:9", "192.168.0.1:9"},
};

TEST(an_address_beyond_loopback_is_seen_on_both_listeners)
{
	for (size_t i = 0; i < COUNT_OF(addresses); i++) {
		const char *open;
		struct config c;

		config_init(&c);
		CHECK_INT(config_set(&c, "listen", addresses[i].listen, NULL), 0);
		CHECK_INT(config_set(&c, "control_listen", addresses[i].control_listen, NULL), 0);
		open = config_open_address(&c);
		CHECK_STR(open ? open : "", addresses[i].open);
		config_release(&c);
	}
}

TEST(what_does_not_fit_together_is_refused)
{
	CHECK(check_fails("listen: nonsense\n", "listen (from muster.yaml:1)"));
	CHECK(check_fails("control_listen: 127.0.0.1:8080\n", "listen and control_listen are both 127.0.0.1:8080"));
	CHECK(check_fails("tls: {cert_file: /a}\n", "tls.cert_file is set, but tls.key_file is not"));
	CHECK(check_fails("tls: {key_file: /a}\n", "tls.key_file is set, but tls.cert_file is not"));
	CHECK(check_fails("\ntls: {ca_file: /nowhere/ca.pem}\n",
			  "tls.ca_file (from muster.yaml:2): cannot read /nowhere/ca.pem: No such file"));
	CHECK(check_fails("auth: {key_file: /nowhere/keys}\n",
			  "auth.key_file (from muster.yaml:1): cannot read /nowhere/keys"));
	CHECK(check_fails("fallback: {endpoints: {a: 'ftp://x'}}\n", "fallback.endpoints (from muster.yaml:1)"));
	CHECK(check_fails("fallback: {endpoints: {'Not A Name': 'http://x'}}\n",
			  "fallback.endpoints (from muster.yaml:1)"));
	CHECK(check_fails("data: ''\n", "data is empty"));
	CHECK(check_fails("alerts: {receivers: {a: {format: slack}}}\n",
			  "alerts.receivers.a: set one of url, url_file"));
	CHECK(check_fails("alerts: {receivers: {a: {url: 'http://a/', url_env: X}}}\n", "alerts.receivers.a: set one"));
	CHECK(check_fails("alerts: {receivers: {a: {url: 'gopher://x'}}}\n", "alerts.receivers.a.url is no http://"));
	CHECK(check_fails("alerts: {receivers: {a: {url_file: /nowhere/u}}}\n",
			  "alerts.receivers.a.url_file: cannot read /nowhere/u"));
	CHECK(check_fails("alerts: {performance_degraded: {window: 1m, baseline: 25m}}\n",
			  "alerts.performance_degraded.baseline is more than 24 times"));
	CHECK(check_fails("history: {retention: 30m}\n",
			  "history.retention (from muster.yaml:1): it is less than an hour"));
	CHECK(check_fails("history: {content_retention: 59m}\n",
			  "history.content_retention (from muster.yaml:1): it is less than an hour"));
	CHECK(check_fails("history: {retention: 7d, content_retention: 8d}\n",
			  "history.content_retention (from muster.yaml:1): texts cannot be kept for longer"));
}

TEST(listening_anywhere_is_fine_with_keys)
{
	struct err err = {0};
	struct config c;

	config_init(&c);
	CHECK_INT(load(&c, "listen: 0.0.0.0:8080\nauth: {key_file: /dev/null}\n", &err), 0);
	CHECK_INT(config_check(&c, &err), 0);
	config_release(&c);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	CHECK(f && fputs(text, f) >= 0);
	if (f)
		fclose(f);
}

TEST(reload_changes_what_can_be_changed_or_nothing)
{
	char path[] = "/tmp/muster-config-XXXXXX";
	int fd = mkstemp(path);
	struct config_notes notes;
	struct config old, fresh;
	struct err err = {0};

	close(fd);
	write_file(path, "listen: 127.0.0.1:1\ntimeouts: {connect: 1s}\n");
	config_init(&old);
	CHECK_INT(config_set(&old, "log.level", "error", &err), 0);
	CHECK_INT(config_load_file(&old, path, &err), 0);

	write_file(path, "listen: 127.0.0.1:2\nlog: {level: debug}\ntimeouts: {connect: 2s}\n");
	CHECK_INT(config_reload(&old, path, &fresh, &notes, &err), 0);
	CHECK_INT(fresh.timeouts_connect_ms, 2000);
	CHECK_STR(fresh.listen, "127.0.0.1:1");
	CHECK_INT(fresh.log_level, LOG_ERROR); /* the flag holds */
	CHECK_INT(notes.n, 1);
	CHECK_STR(notes.key[0], "listen");
	config_release(&fresh);

	write_file(path, "timeouts: {connect: 3s}\nlog: {level: nonsense}\n");
	fresh = (struct config){.loops = 77};
	CHECK_INT(config_reload(&old, path, &fresh, &notes, &err), E_INVALID);
	CHECK_INT(fresh.loops, 77);
	write_file(path, "timeouts: {connect: 3s}\nfallback: {endpoints: {a: nonsense}}\n");
	CHECK_INT(config_reload(&old, path, &fresh, &notes, &err), E_INVALID);
	unlink(path);
	CHECK_INT(config_reload(&old, path, &fresh, &notes, &err), E_NOTFOUND);
	CHECK_INT(old.timeouts_connect_ms, 1000);
	config_release(&old);
}

TEST(derived_places_are_below_data_unless_named)
{
	struct err err = {0};
	struct config c;
	char *s;

	config_init(&c);
	CHECK_INT(config_set(&c, "data", "/d", &err), 0);
	CHECK_STR(s = config_spool_directory(&c), "/d/spool");
	free(s);
	CHECK_STR(s = config_database_url(&c), "sqlite:/d/muster.db");
	free(s);
	CHECK_INT(config_set(&c, "database.url", "sqlite:/x", &err), 0);
	CHECK_INT(config_set(&c, "spool.directory", "/y", &err), 0);
	CHECK_STR(s = config_database_url(&c), "sqlite:/x");
	free(s);
	CHECK_STR(s = config_spool_directory(&c), "/y");
	free(s);
	config_release(&c);
}

static const struct {
	const char *env[6];
	const char *url; /* NULL: refused with the text of why */
	const char *why;
} postgres_cases[] = {
	{{"POSTGRES_HOST=h"}, "postgres://h/", NULL},
	{{"POSTGRES_HOST=", "POSTGRES_PORT=1"}, "sqlite:./var/muster.db", NULL},
	{{"POSTGRES_PORT=1", "POSTGRES_DB=d"}, "sqlite:./var/muster.db", NULL},
	{{"POSTGRES_HOST=localhost", "POSTGRES_PORT=5443", "POSTGRES_DB=gaming_system", "POSTGRES_USER=postgres",
	  "POSTGRES_PASSWORD=your_password"},
	 "postgres://postgres:your_password@localhost:5443/gaming_system",
	 NULL},
	{{"POSTGRES_HOST=h", "POSTGRES_USER=a@b", "POSTGRES_PASSWORD=:/@?#%&= \xc3\xa4"},
	 "postgres://a%40b:%3A%2F%40%3F%23%25%26%3D%20%C3%A4@h/",
	 NULL},
	{{"POSTGRES_HOST=/run/postgresql", "POSTGRES_DB=a b"}, "postgres://%2Frun%2Fpostgresql/a%20b", NULL},
	{{"POSTGRES_HOST=::1", "POSTGRES_PORT=6"}, "postgres://[::1]:6/", NULL},
	{{"POSTGRES_HOST=a,b"}, "postgres://a,b/", NULL},
	{{"POSTGRES_HOST=h", "POSTGRES_PASSWORD_FILE=/run/s t", "POSTGRES_SSLMODE=verify-full",
	  "POSTGRES_SSLROOTCERT=/ca&.pem"},
	 "postgres://h/?password_file=/run/s%20t&sslmode=verify-full&sslrootcert=/ca%26.pem",
	 NULL},
	{{"POSTGRES_HOST=h", "MUSTER_DATABASE_URL=sqlite:/x"}, "sqlite:/x", NULL},
	{{"POSTGRES_HOST=h", "POSTGRES_PORT=x"}, NULL, "POSTGRES_PORT: 'x' is no port"},
	{{"POSTGRES_HOST=h", "POSTGRES_PORT=65536"}, NULL, "POSTGRES_PORT: '65536' is no port"},
	{{"POSTGRES_HOST=h", "POSTGRES_PASSWORD=p", "POSTGRES_PASSWORD_FILE=/f"}, NULL, "keep one"},
};

TEST(the_variables_of_postgres_name_the_database)
{
	for (size_t i = 0; i < COUNT_OF(postgres_cases); i++) {
		char *env[COUNT_OF(postgres_cases[i].env) + 1] = {NULL};
		struct err err = {0};
		struct config c;
		char *url;
		int rc;

		for (size_t k = 0; postgres_cases[i].env[k]; k++)
			env[k] = slice_dup(slice_from(postgres_cases[i].env[k]));
		config_init(&c);
		rc = config_load_env(&c, env, &err);
		CHECK_INT(rc, postgres_cases[i].url ? 0 : E_INVALID);
		url = config_database_url(&c);
		if (postgres_cases[i].url)
			CHECK_STR(url, postgres_cases[i].url);
		else
			CHECK(strstr(err.text, postgres_cases[i].why));
		free(url);
		config_release(&c);
		for (size_t k = 0; env[k]; k++)
			free(env[k]);
	}
}

TEST(a_password_of_the_database_is_not_shown)
{
	char host[] = "POSTGRES_HOST=h", user[] = "POSTGRES_USER=u", password[] = "POSTGRES_PASSWORD=hunter2";
	char *const env[] = {host, user, password, NULL};
	char origin[CONFIG_ORIGIN_SIZE];
	struct err err = {0};
	struct config c;
	struct buf out;

	buf_init(&out, 65536);
	config_init(&c);
	CHECK_INT(load(&c, "database: {url: 'postgres://u:hunter3@file/'}\n", &err), 0);
	CHECK_INT(config_dump_values(&c, &out), 0);
	CHECK_INT(config_load_env(&c, env, &err), 0);
	CHECK_INT(config_dump_values(&c, &out), 0);
	CHECK(!strstr(buf_cstr(&out), "hunter"));
	CHECK(strstr(buf_cstr(&out), "database.url: \"postgres://u@h/\"   (from POSTGRES_HOST)"));
	CHECK_STR(config_origin_text(&c, "database.url", origin), "from POSTGRES_HOST");
	config_release(&c);
	buf_release(&out);
}

static void read_whole(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "r");
	size_t n;
	char *p;

	CHECK(f != NULL);
	if (!f)
		return;
	while ((p = buf_reserve(out, 4096)) && (n = fread(p, 1, 4096, f)) > 0)
		out->n += n;
	fclose(f);
}

TEST(the_documentation_is_what_dump_options_prints)
{
	struct buf want, have;

	buf_init(&want, 1 << 20);
	buf_init(&have, 1 << 20);
	CHECK_INT(config_dump_options(&want), 0);
	read_whole("docs/CONFIG.md", &have);
	CHECK(slice_eq(buf_slice(&want), buf_slice(&have)));
	buf_release(&want);
	buf_release(&have);
}

/* Takes the '#' off every setting ("#key:", "#  key:", "#    key:"); prose and examples (an odd indent) stay comments.
 */
static void switch_on(const struct buf *in, struct buf *out)
{
	struct slice rest = buf_slice(in), line;

	while (slice_split(&rest, '\n', &line)) {
		size_t indent = 1;

		while (indent < line.n && line.p[indent] == ' ')
			indent++;
		if (line.n > 2 && line.p[0] == '#' && indent % 2)
			line = slice_sub(line, 1, line.n);
		(void)buf_add(out, line); /* they fit */
		(void)buf_addc(out, '\n');
	}
}

TEST(the_example_file_names_every_key_with_its_default)
{
	struct buf text, on, have, want;
	struct err err = {0};
	struct config c;

	buf_init(&text, 1 << 20);
	buf_init(&on, 1 << 20);
	buf_init(&have, 1 << 20);
	buf_init(&want, 1 << 20);
	read_whole("etc/muster.yaml", &text);
	switch_on(&text, &on);
	config_init(&c);
	CHECK_INT(config_load_text(&c, "example", buf_slice(&on), &err), 0);
	CHECK_STR(err.text, "");
	for (int i = 0; i < CONFIG_N_KEYS; i++) {
		CHECK_INT(c.origin[i].from, CONFIG_FILE);
		c.origin[i].from = CONFIG_DEFAULT;
	}
	CHECK_INT(config_dump_values(&c, &have), 0);
	config_release(&c);
	config_init(&c);
	CHECK_INT(config_dump_values(&c, &want), 0);
	CHECK_STR(buf_cstr(&have), buf_cstr(&want));
	config_release(&c);
	buf_release(&text);
	buf_release(&on);
	buf_release(&have);
	buf_release(&want);
}
