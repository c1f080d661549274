/* SPDX-License-Identifier: Apache-2.0 */
/* What the protocol tests share: an arena and a parser per test, and a text as a decoder gets it. */
#pragma once
#include "core/base/arena.h"
#include "serving/protocol/protocol.h"
#include "t.h"

struct bench {
	struct arena a;
	struct json_parser *jp;
	struct err err;
	const char *param;
	struct buf out;
};

static inline void bench_init(struct bench *b)
{
	*b = (struct bench){0};
	arena_init(&b->a, 64 * 1024, 16u << 20);
	b->jp = json_parser_new();
	buf_init(&b->out, 1u << 20);
}

static inline void bench_done(struct bench *b)
{
	buf_release(&b->out);
	json_parser_free(b->jp);
	arena_release(&b->a);
}

/* The text with padding after it, in the arena. */
static inline struct slice bench_text(struct bench *b, const char *text)
{
	size_t n = strlen(text);
	char *p = arena_zalloc(&b->a, n + JSON_PADDING);

	if (!p)
		return (struct slice){NULL, 0};
	memcpy(p, text, n);
	return (struct slice){p, n};
}

static inline const struct json *bench_json(struct bench *b, const char *text)
{
	struct json *root = NULL;

	CHECK_INT(json_parse(b->jp, &b->a, bench_text(b, text), NULL, &root, NULL), 0);
	return root;
}

static inline int bench_request(struct bench *b, const struct protocol *p, const char *body, struct chat_request *ret)
{
	struct slice text = bench_text(b, body);
	struct json *root = NULL;
	int rc = json_parse(b->jp, &b->a, text, NULL, &root, &b->err);

	b->param = NULL;
	b->err.text[0] = 0;
	return rc < 0 ? rc : p->decode_request(&b->a, root, text, ret, &b->param, &b->err);
}

static inline const char *bench_cstr(struct bench *b, struct slice s)
{
	const char *p = arena_strndup(&b->a, s.p ? s.p : "", s.n);

	return p ? p : "";
}

#define CHECK_SLICE(b, got, want) CHECK_STR(bench_cstr((b), (got)), (want))
#define CHECK_HAS(text, part)                                                                 \
	do {                                                                                  \
		const char *t_ = (text), *p_ = (part);                                        \
		if (!strstr(t_, p_)) {                                                        \
			t_failed = 1;                                                         \
			printf("# %s:%d: \"%s\" lacks \"%s\"\n", __FILE__, __LINE__, t_, p_); \
		}                                                                             \
	} while (0)
