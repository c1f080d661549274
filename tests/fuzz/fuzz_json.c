/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes into the JSON reader.  What is accepted has to hold together: every value lies inside its parent, what is
 * decoded is UTF-8, and what is written out from the tree reads back as the same tree.
 */
#include <stdint.h>
#include <stdlib.h>

#include "core/base/utf8.h"
#include "core/json/json.h"
#include "core/json/writer.h"

#define DEPTH 32

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_text(struct slice s)
{
	must(utf8_valid(s));
}

static void check_tree(const struct json *v, struct slice outer)
{
	uint32_t n = 0;

	must(v->raw.n > 0 && v->raw.p >= outer.p && v->raw.p + v->raw.n <= outer.p + outer.n);
	check_text(v->key);
	check_text(v->str);
	for (const struct json *item = v->first; item; item = item->next) {
		check_tree(item, v->raw);
		n++;
	}
	must(n == v->n_items);
}

static void write_tree(struct json_writer *w, const struct json *v)
{
	switch (v->type) {
	case JSON_NULL:
		jw_null(w);
		return;
	case JSON_BOOL:
		jw_bool(w, v->boolean);
		return;
	case JSON_NUMBER:
		if (v->is_integer)
			jw_i64(w, v->integer);
		else
			jw_double(w, v->number);
		return;
	case JSON_STRING:
		jw_str(w, v->str);
		return;
	case JSON_ARRAY:
		jw_array(w);
		break;
	case JSON_OBJECT:
		jw_object(w);
		break;
	}
	for (const struct json *item = v->first; item; item = item->next) {
		if (v->type == JSON_OBJECT)
			jw_key_slice(w, item->key);
		write_tree(w, item);
	}
	if (v->type == JSON_ARRAY)
		jw_array_end(w);
	else
		jw_object_end(w);
}

static void compare(const struct json *a, const struct json *b)
{
	must(a->type == b->type && a->boolean == b->boolean && a->n_items == b->n_items);
	must(slice_eq(a->key, b->key) && slice_eq(a->str, b->str));
	must(a->type != JSON_NUMBER || a->number == b->number);
	a = a->first;
	b = b->first;
	for (; a && b; a = a->next, b = b->next)
		compare(a, b);
	must(!a && !b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_limits limits = {DEPTH, 10000};
	struct json_parser *p = json_parser_new();
	struct json *root, *again;
	struct json_writer w;
	struct err err = {0};
	struct arena a;
	struct buf out;

	arena_init(&a, 4096, (size_t)16 << 20);
	buf_init(&out, (size_t)16 << 20);
	if (!json_parse_copy(p, &a, (struct slice){(const char *)data, size}, &limits, &root, &err)) {
		check_tree(root, (struct slice){root->raw.p, root->raw.n});
		jw_init(&w, &out);
		write_tree(&w, root);
		must(!buf_failed(&out));
		must(!json_parse_copy(p, &a, buf_slice(&out), &limits, &again, &err));
		compare(root, again);
	} else {
		must(err.code < 0 && err.text[0]);
	}
	buf_release(&out);
	arena_release(&a);
	json_parser_free(p);
	return 0;
}
