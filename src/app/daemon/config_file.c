/* SPDX-License-Identifier: Apache-2.0 */
/*
 * muster.yaml through libyaml's events, so that every error has its line.  One document, one mapping; anchors, aliases
 * and merge keys are refused (a few lines of them can stand for gigabytes), nesting ends where our keys end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "app/daemon/config_internal.h"

#define MAX_PATH_BYTES 256

struct section {
	char name[64];
	int line;
};

struct loader {
	yaml_parser_t parser;
	struct config *config;
	const char *path; /* for errors */
	struct err *err;
	int seen[CONFIG_N_KEYS]; /* line of each key, 0: not there */
	struct section sections[CONFIG_N_KEYS];
	size_t n_sections;
};

static int line_of(const yaml_event_t *e)
{
	return (int)e->start_mark.line + 1;
}

static int PRINTF_LIKE(3, 4) fail(struct loader *l, int line, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	return err_set(l->err, E_INVALID, "%.200s:%d: %s", l->path, line, text);
}

static int next_event(struct loader *l, yaml_event_t *ev)
{
	if (!yaml_parser_parse(&l->parser, ev)) {
		const yaml_parser_t *p = &l->parser;
		size_t line = p->problem_mark.line ? p->problem_mark.line : p->mark.line;

		return fail(l, (int)line + 1, "not YAML: %s", p->problem ? p->problem : "out of memory");
	}
	if (ev->type == YAML_ALIAS_EVENT || (ev->type == YAML_SCALAR_EVENT && ev->data.scalar.anchor) ||
	    (ev->type == YAML_MAPPING_START_EVENT && ev->data.mapping_start.anchor) ||
	    (ev->type == YAML_SEQUENCE_START_EVENT && ev->data.sequence_start.anchor))
		return fail(l, line_of(ev), "anchors and aliases (& and *) are not allowed here: write the value out");
	return 0;
}

static struct slice scalar_of(const yaml_event_t *ev)
{
	return (struct slice){(const char *)ev->data.scalar.value, ev->data.scalar.length};
}

/* `key:` and `key: ~` leave the default. */
static bool is_null(const yaml_event_t *ev)
{
	struct slice s = scalar_of(ev);

	if (ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	return s.n == 0 || slice_eq_str(s, "~") || slice_eq_str(s, "null");
}

/* The mapping below fallback.endpoints. */
static int load_endpoints(struct loader *l, int key, int line)
{
	CLEANUP(conf_endpoints_release) struct config_endpoints parsed = {0};
	struct err err = {0};

	for (;;) {
		CLEANUP(yaml_event_delete) yaml_event_t name = {0};
		CLEANUP(yaml_event_delete) yaml_event_t url = {0};
		int rc = next_event(l, &name);

		if (rc < 0)
			return rc;
		if (name.type == YAML_MAPPING_END_EVENT)
			break;
		rc = next_event(l, &url);
		if (rc < 0)
			return rc;
		if (name.type != YAML_SCALAR_EVENT || url.type != YAML_SCALAR_EVENT || is_null(&url))
			return fail(l, line_of(&name), "%s: each line is USE_CASE: URL", config_keys[key].name);
		if (scalar_of(&name).n > 128 || scalar_of(&url).n > CONFIG_MAX_VALUE_BYTES)
			return fail(l, line_of(&name), "%s: too long", config_keys[key].name);
		if (memchr(scalar_of(&name).p, '\0', scalar_of(&name).n) ||
		    memchr(scalar_of(&url).p, '\0', scalar_of(&url).n))
			return fail(l, line_of(&name), "%s: holds a NUL byte", config_keys[key].name);
		if (conf_endpoint_add(&parsed, scalar_of(&name), scalar_of(&url), &err) < 0)
			return fail(l, line_of(&name), "%s: %s", config_keys[key].name, err.text);
	}
	if (l->config->origin[key].from <= CONFIG_FILE) {
		struct config scratch = {.fallback_endpoints = parsed};

		scratch.origin[key] = (struct config_origin){CONFIG_FILE, line};
		conf_copy(l->config, &scratch, key);
	}
	return 0;
}

/* The mapping below one receiver's name. */
static int load_receiver(struct loader *l, struct config_receiver *r)
{
	for (;;) {
		CLEANUP(yaml_event_delete) yaml_event_t name = {0};
		CLEANUP(yaml_event_delete) yaml_event_t value = {0};
		struct err err = {0};
		int rc = next_event(l, &name);

		if (rc < 0 || name.type == YAML_MAPPING_END_EVENT)
			return rc;
		rc = next_event(l, &value);
		if (rc < 0)
			return rc;
		if (name.type != YAML_SCALAR_EVENT || value.type != YAML_SCALAR_EVENT)
			return fail(l, line_of(&name), "alerts.receivers.%s: each line is KEY: VALUE", r->name);
		if (is_null(&value))
			continue;
		if (conf_receiver_set(r, scalar_of(&name), scalar_of(&value), &err) < 0)
			return fail(l, line_of(&name), "alerts.receivers.%s: %s", r->name, err.text);
	}
}

/* The mapping below alerts.receivers. */
static int load_receivers(struct loader *l, int key, int line)
{
	CLEANUP(conf_receivers_release) struct config_receivers parsed = {0};
	struct err err = {0};

	for (;;) {
		CLEANUP(yaml_event_delete) yaml_event_t name = {0};
		CLEANUP(yaml_event_delete) yaml_event_t map = {0};
		int rc = next_event(l, &name);

		if (rc < 0)
			return rc;
		if (name.type == YAML_MAPPING_END_EVENT)
			break;
		rc = next_event(l, &map);
		if (rc < 0)
			return rc;
		if (name.type != YAML_SCALAR_EVENT || map.type != YAML_MAPPING_START_EVENT)
			return fail(l, line_of(&name),
				    "alerts.receivers: each is NAME: and, indented below it, url, format, ...");
		if (conf_receiver_add(&parsed, scalar_of(&name), &err) < 0)
			return fail(l, line_of(&name), "alerts.receivers: %s", err.text);
		rc = load_receiver(l, &parsed.item[parsed.n - 1]);
		if (rc < 0)
			return rc;
	}
	if (l->config->origin[key].from <= CONFIG_FILE) {
		struct config scratch = {.alerts.receivers = parsed};

		scratch.origin[key] = (struct config_origin){CONFIG_FILE, line};
		conf_copy(l->config, &scratch, key);
	}
	return 0;
}

static int load_value(struct loader *l, int key, int key_line)
{
	CLEANUP(yaml_event_delete) yaml_event_t ev = {0};
	const struct conf_key *k = &config_keys[key];
	struct err err = {0};
	int rc;

	if (l->seen[key])
		return fail(l, key_line, "'%s' is there already, in line %d", k->name, l->seen[key]);
	l->seen[key] = key_line;
	rc = next_event(l, &ev);
	if (rc < 0)
		return rc;
	if (ev.type == YAML_MAPPING_START_EVENT && k->type == CONF_ENDPOINTS)
		return load_endpoints(l, key, key_line);
	if (ev.type == YAML_MAPPING_START_EVENT && k->type == CONF_RECEIVERS)
		return load_receivers(l, key, key_line);
	if (ev.type != YAML_SCALAR_EVENT)
		return fail(l, key_line, "%s: a single value is wanted, not a %s", k->name,
			    ev.type == YAML_SEQUENCE_START_EVENT ? "list" : "mapping");
	if (is_null(&ev))
		return 0;
	if (k->type == CONF_ENDPOINTS)
		return fail(l, key_line, "%s: lines of USE_CASE: URL are wanted, indented below it", k->name);
	if (k->type == CONF_RECEIVERS)
		return fail(l, key_line, "%s: names are wanted, indented below it, and url, format, ... below each",
			    k->name);
	rc = conf_assign(l->config, key, scalar_of(&ev), (struct config_origin){CONFIG_FILE, key_line}, &err);
	return rc < 0 ? fail(l, key_line, "%s: %s", k->name, err.text) : 0;
}

static bool is_section(const char *name)
{
	size_t n = strlen(name);

	for (int i = 0; i < CONFIG_N_KEYS; i++)
		if (strncmp(config_keys[i].name, name, n) == 0 && config_keys[i].name[n] == '.')
			return true;
	return false;
}

/* There are fewer sections than keys, so the array holds them all. */
static int note_section(struct loader *l, const char *name, int line)
{
	for (size_t i = 0; i < l->n_sections; i++)
		if (strcmp(l->sections[i].name, name) == 0)
			return fail(l, line, "'%s' is there already, in line %d", name, l->sections[i].line);
	snprintf(l->sections[l->n_sections].name, sizeof(l->sections[0].name), "%.63s", name);
	l->sections[l->n_sections++].line = line;
	return 0;
}

static int load_mapping(struct loader *l, const char *prefix);

static int load_section(struct loader *l, const char *name, int line)
{
	CLEANUP(yaml_event_delete) yaml_event_t ev = {0};
	int rc;

	rc = note_section(l, name, line);
	if (rc == 0)
		rc = next_event(l, &ev);
	if (rc < 0)
		return rc;
	if (ev.type == YAML_SCALAR_EVENT && is_null(&ev))
		return 0;
	if (ev.type != YAML_MAPPING_START_EVENT)
		return fail(l, line, "'%s' is a section: write its keys below it, indented", name);
	return load_mapping(l, name);
}

/* Recursion ends: it goes only into sections, and those are as deep as the names in the table. */
static int load_mapping(struct loader *l, const char *prefix)
{
	for (;;) {
		CLEANUP(yaml_event_delete) yaml_event_t ev = {0};
		char name[MAX_PATH_BYTES], nearest[128];
		struct slice word;
		int key, rc;

		rc = next_event(l, &ev);
		if (rc < 0 || ev.type == YAML_MAPPING_END_EVENT)
			return rc;
		if (ev.type != YAML_SCALAR_EVENT)
			return fail(l, line_of(&ev), "a key is wanted here");
		word = scalar_of(&ev);
		if (word.n > 100 || memchr(word.p, '\0', word.n))
			return fail(l, line_of(&ev), "unknown key '" SLICE_FMT "...'",
				    SLICE_ARG(slice_sub(word, 0, 40)));
		snprintf(name, sizeof(name), "%s%s" SLICE_FMT, prefix, *prefix ? "." : "", SLICE_ARG(word));
		key = conf_find(slice_from(name));
		if (key >= 0) {
			rc = load_value(l, key, line_of(&ev));
		} else if (is_section(name)) {
			rc = load_section(l, name, line_of(&ev));
		} else {
			conf_nearest(slice_from(name), nearest, sizeof(nearest));
			rc = fail(l, line_of(&ev), "unknown key '%s'%s", name, nearest);
		}
		if (rc < 0)
			return rc;
	}
}

static int expect(struct loader *l, yaml_event_type_t type, yaml_event_t *ev)
{
	int rc = next_event(l, ev);

	if (rc < 0)
		return rc;
	return ev->type == type ? 0 : 1;
}

/* Stream, one document, one mapping; an empty file is fine. */
static int load_stream(struct loader *l)
{
	static const yaml_event_type_t head[] = {YAML_STREAM_START_EVENT, YAML_DOCUMENT_START_EVENT,
						 YAML_MAPPING_START_EVENT};
	static const yaml_event_type_t tail[] = {YAML_DOCUMENT_END_EVENT, YAML_STREAM_END_EVENT};
	int rc;

	for (size_t i = 0; i < COUNT_OF(head); i++) {
		CLEANUP(yaml_event_delete) yaml_event_t ev = {0};

		rc = expect(l, head[i], &ev);
		if (rc < 0)
			return rc;
		if (rc > 0 && ev.type == YAML_STREAM_END_EVENT)
			return 0;
		if (rc > 0 && ev.type == YAML_SCALAR_EVENT && is_null(&ev))
			return 0;
		if (rc > 0)
			return fail(l, line_of(&ev), "lines of KEY: VALUE are wanted");
	}
	rc = load_mapping(l, "");
	for (size_t i = 0; i < COUNT_OF(tail) && rc == 0; i++) {
		CLEANUP(yaml_event_delete) yaml_event_t ev = {0};

		rc = expect(l, tail[i], &ev);
		if (rc > 0)
			return fail(l, line_of(&ev), "a second document begins here: one is allowed");
	}
	return rc;
}

int config_load_text(struct config *c, const char *name, struct slice text, struct err *err)
{
	struct loader l = {.config = c, .path = name, .err = err};
	int rc;

	if (text.n > CONFIG_MAX_FILE_BYTES)
		return err_set(err, E_TOOBIG, "%.200s: larger than %d bytes", name, CONFIG_MAX_FILE_BYTES);
	if (!yaml_parser_initialize(&l.parser))
		abort();
	yaml_parser_set_encoding(&l.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&l.parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
	free(c->path);
	c->path = slice_dup(slice_from(name));
	rc = load_stream(&l);
	yaml_parser_delete(&l.parser);
	return rc;
}

int config_load_file(struct config *c, const char *path, struct err *err)
{
	struct buf text;
	FILE *f = fopen(path, "re");
	size_t n = 0;
	char *p;
	int rc;

	if (!f)
		return err_set(err, errno == ENOENT ? E_NOTFOUND : E_IO, "cannot read %.300s: %s", path,
			       strerror(errno));
	buf_init(&text, CONFIG_MAX_FILE_BYTES + 8192);
	while (text.n <= CONFIG_MAX_FILE_BYTES && (p = buf_reserve(&text, 4096)) && (n = fread(p, 1, 4096, f)) > 0)
		text.n += n;
	if (ferror(f))
		rc = err_set(err, E_IO, "cannot read %.300s: %s", path, strerror(errno));
	else
		rc = config_load_text(c, path, buf_slice(&text), err);
	fclose(f);
	buf_release(&text);
	return rc;
}
