/* SPDX-License-Identifier: Apache-2.0 */
/* What /metrics says, read back by a strict checker of the text format. */
#include "control/telemetry/prometheus.h"

#include <ctype.h>
#include <math.h>

#include "control/telemetry/metrics.h"
#include "t.h"

struct checker {
	const char *why; /* NULL: fine so far */
	char family[128], type[16], series[512];
	char seen[64][128];
	size_t n_seen, n_samples;
	double last_bucket, last_le;
	bool saw_inf;
};

static void complain(struct checker *c, const char *why)
{
	if (!c->why)
		c->why = why;
}

static size_t name_length(const char *s)
{
	size_t n = 0;

	while (isalpha((unsigned char)s[n]) || s[n] == '_' || s[n] == ':' || (n && isdigit((unsigned char)s[n])))
		n++;
	return n;
}

/* {a="b",c="d"}: returns what follows; le gets the value of the label le. */
static const char *check_labels(struct checker *c, const char *p, double *le)
{
	if (*p != '{')
		return p;
	for (p++;; p++) {
		size_t n = name_length(p);
		bool is_le = n == 2 && !strncmp(p, "le", 2);

		if (!n || p[n] != '=' || p[n + 1] != '"') {
			complain(c, "label without name or quote");
			return p;
		}
		p += n + 2;
		if (is_le)
			*le = strtod(p, NULL); /* reads +Inf too */
		for (; *p && *p != '"'; p++) {
			if (*p == '\\' && !strchr("\\\"n", *++p))
				complain(c, "unknown escape");
			if (*p == '\n')
				complain(c, "raw newline in a label");
		}
		if (*p++ != '"')
			complain(c, "label is not closed");
		if (*p == '}')
			return p + 1;
		if (*p != ',') {
			complain(c, "labels are not separated");
			return p;
		}
	}
}

static void check_value(struct checker *c, const char *p, double *ret)
{
	char *end;

	if (*p++ != ' ') {
		complain(c, "no space before the value");
		return;
	}
	*ret = strtod(p, &end);
	if (end == p || *end)
		complain(c, "value is not a number");
	if (!strcmp(c->type, "counter") && !(*ret >= 0))
		complain(c, "a counter below zero");
}

static void check_bucket(struct checker *c, double le, double value)
{
	if (c->saw_inf) { /* the next series begins */
		c->saw_inf = false;
		c->last_bucket = 0;
		c->last_le = -INFINITY;
	}
	if (!(le > c->last_le) || value < c->last_bucket)
		complain(c, "buckets do not grow");
	c->last_le = le;
	c->last_bucket = value;
	c->saw_inf = isinf(le);
}

static void check_sample(struct checker *c, const char *line)
{
	size_t n = name_length(line), f = strlen(c->family);
	const char *suffix = line + f;
	double le = NAN, value = 0;

	if (n < f || strncmp(line, c->family, f) != 0 || !f) {
		complain(c, "a sample outside its family");
		return;
	}
	check_value(c, check_labels(c, line + n, &le), &value);
	c->n_samples++;
	if (!strcmp(c->type, "histogram")) {
		if (n - f == 7 && !strncmp(suffix, "_bucket", 7))
			check_bucket(c, le, value);
		else if (n - f == 6 && !strncmp(suffix, "_count", 6))
			(void)(c->saw_inf && value == c->last_bucket
				       ? 0
				       : (complain(c, "count is not the +Inf bucket"), 0));
		else if (n - f != 4 || strncmp(suffix, "_sum", 4) != 0)
			complain(c, "not a histogram's sample");
	} else if (n != f) {
		complain(c, "suffix on a plain sample");
	}
}

static void check_comment(struct checker *c, const char *line)
{
	char name[128];

	if (sscanf(line, "# HELP %127s ", name) == 1) {
		for (size_t i = 0; i < c->n_seen; i++)
			if (!strcmp(c->seen[i], name))
				complain(c, "family twice");
		memcpy(c->seen[c->n_seen++ % 64], name, sizeof(name));
		memcpy(c->family, name, sizeof(name));
		c->type[0] = '\0';
	} else if (sscanf(line, "# TYPE %127s %15s", name, c->type) == 2) {
		if (strcmp(name, c->family) != 0)
			complain(c, "TYPE without HELP");
		if (!strcmp(c->type, "counter") && (strlen(name) < 6 || strcmp(name + strlen(name) - 6, "_total") != 0))
			complain(c, "a counter's name ends in _total");
		c->last_le = -INFINITY;
		c->last_bucket = 0;
		c->saw_inf = false;
	} else {
		complain(c, "a comment that is neither HELP nor TYPE");
	}
}

/* NULL, or what is wrong. */
static const char *check_text(const char *text, size_t *ret_samples)
{
	struct checker c = {0};
	char line[1024];

	if (!*text || text[strlen(text) - 1] != '\n')
		complain(&c, "the last line does not end");
	for (const char *p = text, *nl; (nl = strchr(p, '\n')) && !c.why; p = nl + 1) {
		snprintf(line, sizeof(line), "%.*s", (int)(nl - p), p);
		if (line[0] == '#')
			check_comment(&c, line);
		else
			check_sample(&c, line);
		if (c.why)
			printf("# %s: %s\n", c.why, line);
	}
	if (ret_samples)
		*ret_samples = c.n_samples;
	return c.why;
}

TEST(the_checker_itself_refuses_what_is_wrong)
{
	static const char *const wrong[] = {
		"x 1\n",
		"# HELP a b\n# TYPE a gauge\nb 1\n",
		"# HELP a b\n# TYPE a gauge\na{x=y} 1\n",
		"# HELP a b\n# TYPE a gauge\na one\n",
		"# HELP a b\n# TYPE a gauge\na 1",
		"# HELP a b\n# TYPE a counter\na 1\n",
		"# HELP a b\n# TYPE a gauge\na 1\n# HELP a b\n",
		"# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\n",
		"# HELP a b\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n",
	};

	for (size_t i = 0; i < COUNT_OF(wrong); i++)
		CHECK(check_text(wrong[i], NULL) != NULL);
}

TEST(labels_and_help_are_escaped)
{
	struct prom_label labels[] = {{"a", slice_from("q\"b\\n\nx")}, {"b", slice_from("caf\xc3\xa9 \xff")}};
	struct prom_writer w;
	struct buf out;

	buf_init(&out, 65536);
	prom_init(&w, &out);
	prom_family(&w, "t_total", PROM_COUNTER, "one\ntwo \\ \"three\"");
	prom_count(&w, labels, 2, 18446744073709551615u);
	CHECK_STR(buf_cstr(&out),
		  "# HELP t_total one\\ntwo \\\\ \"three\"\n# TYPE t_total counter\n"
		  "t_total{a=\"q\\\"b\\\\n\\nx\",b=\"caf\xc3\xa9 \xef\xbf\xbd\"} 18446744073709551615\n");
	CHECK(check_text(buf_cstr(&out), NULL) == NULL);
	buf_release(&out);
}

static const struct {
	double v;
	const char *want;
} numbers[] = {
	{0, "0"},
	{1, "1"},
	{-2.5, "-2.5"},
	{0.1, "0.1"},
	{1e300, "1e+300"},
	{INFINITY, "+Inf"},
	{-INFINITY, "-Inf"},
	{NAN, "NaN"},
	{1.0 / 3, "0.33333333333333331"},
};

TEST(numbers_read_back_the_same)
{
	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		struct prom_writer w;
		struct buf out;
		char want[200];

		buf_init(&out, 65536);
		prom_init(&w, &out);
		prom_family(&w, "g", PROM_GAUGE, "h");
		prom_sample(&w, NULL, 0, numbers[i].v);
		snprintf(want, sizeof(want), "# HELP g h\n# TYPE g gauge\ng %s\n", numbers[i].want);
		CHECK_STR(buf_cstr(&out), want);
		buf_release(&out);
	}
}

TEST(histograms_of_several_loops_are_summed_and_cumulative)
{
	struct prom_label label = {"use_case", SLICE_LIT("foundation_layer")};
	struct histogram a = {0}, b = {0};
	const struct histogram *both[] = {&a, &b};
	struct prom_writer w;
	struct buf out;

	histogram_observe(&a, &histogram_durations, 100);
	histogram_observe(&a, &histogram_durations, 900000);
	histogram_observe(&b, &histogram_durations, 900000);
	histogram_observe(&b, &histogram_durations, 500000000);
	buf_init(&out, 65536);
	prom_init(&w, &out);
	prom_family(&w, "d_seconds", PROM_HISTOGRAM, "h");
	prom_histogram(&w, &label, 1, &(struct prom_histograms){&histogram_durations, both, 2});
	prom_histogram(&w, NULL, 0, &(struct prom_histograms){&histogram_durations, both, 1});
	CHECK(check_text(buf_cstr(&out), NULL) == NULL);
	CHECK(strstr(buf_cstr(&out), "d_seconds_bucket{use_case=\"foundation_layer\",le=\"0.00025\"} 1\n") != NULL);
	CHECK(strstr(buf_cstr(&out), "d_seconds_bucket{use_case=\"foundation_layer\",le=\"1.28\"} 3\n") != NULL);
	CHECK(strstr(buf_cstr(&out), "d_seconds_bucket{use_case=\"foundation_layer\",le=\"+Inf\"} 4\n") != NULL);
	CHECK(strstr(buf_cstr(&out), "d_seconds_sum{use_case=\"foundation_layer\"} 501.8001\n") != NULL);
	CHECK(strstr(buf_cstr(&out), "d_seconds_count 2\n") != NULL);
	buf_release(&out);
}

TEST(the_control_planes_own_families_are_well_formed)
{
	struct http_server_stats server = {0};
	struct http_client_stats client = {0};
	struct counter generation = {0};
	struct telemetry_loop loops[] = {{"0", &server, &client, &generation}, {"control", &server, NULL, NULL}};
	struct health health;
	struct telemetry_sources src = {.health = &health, .now_us = 5000000, .loops = loops, .n_loops = 2};
	struct prom_writer w;
	struct buf out;
	size_t n;

	counter_add(&server.requests, 7);
	counter_set(&generation, 3);
	health_init(&health, "0.1.0", 2000000);
	health_set(&health, HEALTH_GATEWAY, HEALTH_OK, 3000000, "fine");
	buf_init(&out, 1 << 20);
	prom_init(&w, &out);
	telemetry_metrics_write(&w, &src);
	CHECK(check_text(buf_cstr(&out), &n) == NULL);
	CHECK(n > 40);
	CHECK(strstr(buf_cstr(&out), "muster_http_requests_total{loop=\"0\"} 7\n") != NULL);
	CHECK(strstr(buf_cstr(&out), "muster_http_requests_total{loop=\"control\"} 7\n") != NULL);
	CHECK(strstr(buf_cstr(&out), "muster_snapshot_generation{loop=\"0\"} 3\n") != NULL);
	CHECK(strstr(buf_cstr(&out), "muster_snapshot_generation{loop=\"control\"}") == NULL);
	CHECK(strstr(buf_cstr(&out), "muster_health_state{part=\"gateway\",state=\"ok\"} 1\n") != NULL);
	CHECK(strstr(buf_cstr(&out), "muster_health_state{part=\"database\",state=\"failed\"} 1\n") != NULL);
	CHECK(strstr(buf_cstr(&out), "muster_ready 0\n") != NULL);
	CHECK(strstr(buf_cstr(&out), "muster_uptime_seconds 3\n") != NULL);
	CHECK(strstr(buf_cstr(&out), "muster_build_info{version=\"0.1.0\"} 1\n") != NULL);
	buf_release(&out);
}

TEST(a_buffer_that_is_full_stays_failed)
{
	struct prom_writer w;
	struct buf out;

	buf_init(&out, 20);
	prom_init(&w, &out);
	prom_family(&w, "a_gauge", PROM_GAUGE, "longer than the buffer");
	prom_sample(&w, NULL, 0, 1);
	CHECK(buf_failed(&out));
	buf_release(&out);
}
