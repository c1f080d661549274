/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From token offsets to a tree.  json_index_run() has checked the encoding and that every string ends; the grammar, the
 * numbers, the names and the escapes are checked here.  One loop and a stack of open containers: depth costs no C
 * stack. A token reaches from its offset to the white space before the next one, so `raw` is exact without a second
 * scan.
 *
 * Half a surrogate pair ("\ud800" alone) is refused, as simdjson does: it has no UTF-8 form, and what judges the text
 * has to see the same text as whoever gets it.
 */
#include <stdlib.h>

#include "core/base/utf8.h"
#include "core/json/json.h"
#include "core/json/json_internal.h"

#define DEPTH_DEFAULT 64
#define DEPTH_MAX JSON_DEPTH_MAX
#define NODES_DEFAULT 1000000
#define SCRATCH_KEPT ((size_t)1024 * 1024)
#define SLAB_MAX 64

struct frame {
	struct json *node;
	struct json **tail; /* where the next item is hung up */
};

struct json_parser {
	struct json_index *index;
	struct frame frames[DEPTH_MAX];
};

struct walk {
	struct slice text;
	const uint32_t *at; /* offsets of the tokens */
	size_t n, i;
	struct arena *arena;
	struct json *slab; /* nodes allocated ahead */
	size_t n_slab;
	struct frame *frames;
	uint32_t depth, max_depth, n_nodes, max_nodes;
	struct err *err;
};

struct json_parser *json_parser_new(void)
{
	struct json_parser *p = malloc(sizeof(*p));

	if (!p)
		abort();
	p->index = json_index_new();
	return p;
}

void json_parser_free(struct json_parser *p)
{
	if (!p)
		return;
	json_index_free(p->index);
	free(p);
}

/* Where token i begins; the end of the text for the one behind the last. */
static inline size_t token_start(const struct walk *w, size_t i)
{
	return w->at[i];
}

static char peek(const struct walk *w)
{
	if (w->i >= w->n)
		return '\0';
	return w->text.p[w->at[w->i]];
}

static int bad_at(const struct walk *w, size_t offset, const char *what)
{
	return err_set(w->err, E_INVALID, "at byte %zu: %s", offset, what);
}

static int expected(const struct walk *w, const char *what)
{
	if (w->i >= w->n)
		return err_set(w->err, E_INVALID, "at byte %zu: the text ends where %s is expected", w->text.n, what);
	return err_set(w->err, E_INVALID, "at byte %zu: %s is expected here", token_start(w, w->i), what);
}

static int full_at(const struct walk *w, size_t offset)
{
	return err_set(w->err, E_TOOBIG, "at byte %zu: no room left for the parsed text", offset);
}

static inline bool is_space(char c)
{
	return (unsigned char)c <= ' ' && (c == ' ' || c == '\n' || c == '\r' || c == '\t');
}

/* The bytes of the token at w->i, which is there. */
static inline struct slice token(const struct walk *w)
{
	size_t start = token_start(w, w->i), end = token_start(w, w->i + 1);

	while (end > start + 1 && is_space(w->text.p[end - 1]))
		end--;
	return (struct slice){w->text.p + start, end - start};
}

/* NULL, and the error set, is E_TOOBIG. */
static struct json *new_node(struct walk *w)
{
	struct json *node;

	if (UNLIKELY(w->n_nodes >= w->max_nodes)) {
		err_set(w->err, E_TOOBIG, "at byte %zu: more than %u values", token_start(w, w->i), w->max_nodes);
		return NULL;
	}
	if (w->n_slab == 0) {
		size_t n = min_size((w->n - min_size(w->i, w->n)) / 4 + 1, SLAB_MAX);

		w->slab = arena_alloc(w->arena, n * sizeof(*w->slab));
		if (!w->slab) {
			full_at(w, token_start(w, w->i));
			return NULL;
		}
		w->n_slab = n;
	}
	w->n_slab--;
	w->n_nodes++;
	node = w->slab++;
	*node = (struct json){.type = JSON_NULL};
	return node;
}

/* ---- strings ---- */

static int hex4(const char *p, uint32_t *ret)
{
	uint32_t v = 0;

	for (size_t i = 0; i < 4; i++) {
		char c = p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
		else
			return E_INVALID;
	}
	*ret = v;
	return 0;
}

/* p stands behind "\u"; returns how many bytes belong to the character (4 or 10), 0 if it is wrong. */
static size_t read_unicode(const char *p, const char *end, uint32_t *ret_cp)
{
	uint32_t cp, low;

	if (end - p < 4 || hex4(p, &cp))
		return 0;
	if (cp < 0xd800 || cp > 0xdfff) {
		*ret_cp = cp;
		return 4;
	}
	if (cp > 0xdbff || end - p < 10 || p[4] != '\\' || p[5] != 'u' || hex4(p + 6, &low) || low < 0xdc00 ||
	    low > 0xdfff)
		return 0;
	*ret_cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
	return 10;
}

static char simple_escape(char c)
{
	switch (c) {
	case '"':
	case '\\':
	case '/':
		return c;
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	}
	return '\0';
}

/* Decodes the escape behind the backslash at *p; moves *p behind it, and *to behind what it means. */
static int decode_escape(struct walk *w, const char **p, const char *end, char **to)
{
	const char *at = *p + 1;
	uint32_t cp;
	size_t n;

	if (at < end && *at == 'u') {
		n = read_unicode(at + 1, end, &cp);
		if (n == 0)
			return bad_at(w, (size_t)(*p - w->text.p),
				      "\\u needs four hexadecimal digits, and a surrogate its other half");
		*to += utf8_encode(cp, *to);
		*p = at + 1 + n;
		return 0;
	}
	if (at < end)
		**to = simple_escape(*at);
	if (at >= end || !**to)
		return bad_at(w, (size_t)(*p - w->text.p), "no such escape in a string");
	*to += 1;
	*p = at + 1;
	return 0;
}

/* The text between the quotes, decoded.  An escape is never shorter than what it stands for. */
static int decode_string(struct walk *w, struct slice body, const char *slash, struct slice *ret)
{
	const char *p = body.p, *end = body.p + body.n;
	char *start, *to;

	start = to = arena_alloc(w->arena, body.n);
	if (!start)
		return full_at(w, (size_t)(p - w->text.p));
	while (slash) {
		int rc;

		memcpy(to, p, (size_t)(slash - p));
		to += slash - p;
		p = slash;
		rc = decode_escape(w, &p, end, &to);
		if (rc)
			return rc;
		slash = p < end ? (*p == '\\' ? p : memchr(p, '\\', (size_t)(end - p))) : NULL;
	}
	memcpy(to, p, (size_t)(end - p));
	to += end - p;
	*ret = (struct slice){start, (size_t)(to - start)};
	return 0;
}

/* Names are short: where there is no backslash among so few bytes, looking for one costs more than looking at them. */
static inline const char *find_slash(struct slice s)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t word;

	if (s.n > 2 * sizeof(word))
		return memchr(s.p, '\\', s.n);
	for (size_t i = 0; i < s.n; i += sizeof(word)) {
		memcpy(&word, s.p + i, sizeof(word)); /* the text has padding behind it */
		word ^= ones * '\\';
		if ((word - ones) & ~word & (ones << 7))
			return memchr(s.p, '\\', s.n);
	}
	return NULL;
}

static inline int read_string(struct walk *w, struct slice *ret_raw, struct slice *ret_text)
{
	struct slice raw = token(w);
	const char *slash;

	if (UNLIKELY(raw.n < 2 || raw.p[raw.n - 1] != '"'))
		return bad_at(w, token_start(w, w->i), "a string without end");
	*ret_raw = raw;
	*ret_text = (struct slice){raw.p + 1, raw.n - 2};
	w->i++;
	slash = find_slash(*ret_text);
	return LIKELY(!slash) ? 0 : decode_string(w, *ret_text, slash, ret_text);
}

/* ---- numbers and names ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *skip_digits(const char *p, const char *end)
{
	while (p < end && is_digit(*p))
		p++;
	return p;
}

/* Past the fraction and the exponent; NULL if they are wrong or something follows. */
static const char *skip_rest(const char *p, const char *end)
{
	const char *from;

	if (p < end && *p == '.') {
		from = ++p;
		p = skip_digits(p, end);
		if (p == from)
			return NULL;
	}
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		from = p;
		p = skip_digits(p, end);
		if (p == from)
			return NULL;
	}
	return p == end ? p : NULL;
}

static bool small_integer(const char *digits, const char *end, bool negative, int64_t *ret)
{
	uint64_t v = 0;

	if (end - digits > 19) /* 19 digits always fit into 64 bits */
		return false;
	for (; digits < end; digits++)
		v = v * 10 + (uint64_t)(*digits - '0');
	if (v > (uint64_t)INT64_MAX + negative)
		return false;
	*ret = negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

static int read_number(struct walk *w, struct json *node)
{
	struct slice raw = token(w);
	const char *end = raw.p + raw.n, *p = raw.p, *digits;
	bool negative = *p == '-';

	digits = negative ? p + 1 : p;
	p = skip_digits(digits, end);
	if (p == digits || (*digits == '0' && p - digits > 1))
		return bad_at(w, token_start(w, w->i), "not a number");
	node->type = JSON_NUMBER;
	node->raw = raw;
	if (p == end && small_integer(digits, end, negative, &node->integer)) {
		node->is_integer = true;
		node->number = negative && node->integer == 0 ? -0.0 : (double)node->integer;
	} else if (!skip_rest(p, end)) {
		return bad_at(w, token_start(w, w->i), "not a number");
	} else if (!json_double_read(raw.p, end, &node->number)) {
		return bad_at(w, token_start(w, w->i), "the number is too large");
	}
	w->i++;
	return 0;
}

static int read_name(struct walk *w, struct json *node)
{
	struct slice raw = token(w);

	if (slice_eq(raw, SLICE_LIT("null"))) {
		node->type = JSON_NULL;
	} else if (slice_eq(raw, SLICE_LIT("true")) || slice_eq(raw, SLICE_LIT("false"))) {
		node->type = JSON_BOOL;
		node->boolean = *raw.p == 't';
	} else {
		return expected(w, "a value");
	}
	node->raw = raw;
	w->i++;
	return 0;
}

/* ---- structure ---- */

static int open_container(struct walk *w, struct json *node, enum json_type type)
{
	if (w->depth >= w->max_depth)
		return err_set(w->err, E_TOOBIG, "at byte %zu: nested more than %u levels deep", token_start(w, w->i),
			       w->max_depth);
	node->type = type;
	node->raw.p = w->text.p + token_start(w, w->i);
	w->frames[w->depth++] = (struct frame){node, &node->first};
	w->i++;
	return 0;
}

static int read_value(struct walk *w, struct json *node)
{
	switch (peek(w)) {
	case '"':
		node->type = JSON_STRING;
		return read_string(w, &node->raw, &node->str);
	case '{':
		return open_container(w, node, JSON_OBJECT);
	case '[':
		return open_container(w, node, JSON_ARRAY);
	case '-':
	case '0' ... '9':
		return read_number(w, node);
	case 't':
	case 'f':
	case 'n':
		return read_name(w, node);
	}
	return expected(w, "a value");
}

static int read_key(struct walk *w, struct slice *ret)
{
	struct slice raw;
	int rc;

	if (peek(w) != '"')
		return expected(w, "a name in quotes");
	rc = read_string(w, &raw, ret);
	if (rc)
		return rc;
	if (peek(w) != ':')
		return expected(w, "':'");
	w->i++;
	return 0;
}

/* One item or member of the innermost open container, or its end. */
static int read_item(struct walk *w)
{
	struct frame *f = &w->frames[w->depth - 1];
	bool object = f->node->type == JSON_OBJECT;
	struct json *child;
	char c = peek(w);
	int rc;

	if (c == (object ? '}' : ']')) {
		f->node->raw.n = (size_t)(w->text.p + token_start(w, w->i) + 1 - f->node->raw.p);
		w->depth--;
		w->i++;
		return 0;
	}
	if (f->node->n_items) {
		if (c != ',')
			return expected(w, object ? "',' or '}'" : "',' or ']'");
		w->i++;
	}
	child = new_node(w);
	if (!child)
		return E_TOOBIG;
	if (object) {
		rc = read_key(w, &child->key);
		if (rc)
			return rc;
	}
	*f->tail = child;
	f->tail = &child->next;
	f->node->n_items++;
	return read_value(w, child);
}

/* The first stage says only that something is wrong: look again, slowly, for the place. */
static int explain(const struct walk *w)
{
	size_t at = utf8_valid_prefix(w->text), quote = 0;
	bool in_string = false;

	if (at < w->text.n)
		return bad_at(w, at, "not UTF-8");
	for (size_t i = 0; i < w->text.n; i++) {
		char c = w->text.p[i];

		if (c == '"') {
			in_string = !in_string;
			quote = i;
		} else if (in_string && c == '\\') {
			i++;
		} else if (in_string && (unsigned char)c < 0x20) {
			return bad_at(w, i, "a control character in a string has to be escaped");
		}
	}
	return bad_at(w, quote, "a string without end");
}

static int walk(struct walk *w, struct json **ret_root)
{
	struct json *root = new_node(w);
	int rc = root ? read_value(w, root) : E_TOOBIG;

	while (!rc && w->depth)
		rc = read_item(w);
	if (!rc && w->i < w->n)
		rc = bad_at(w, token_start(w, w->i), "something follows the end of the text");
	if (!rc)
		*ret_root = root;
	return rc;
}

static uint32_t limit_or(uint32_t limit, uint32_t otherwise)
{
	return limit ? limit : otherwise;
}

int json_parse(struct json_parser *p, struct arena *a, struct slice text, const struct json_limits *limits,
	       struct json **ret_root, struct err *err)
{
	struct walk w = {.text = text, .arena = a, .frames = p->frames, .err = err};
	int rc = E_INVALID;

	w.max_depth = limit_or(limits ? limits->max_depth : 0, DEPTH_DEFAULT);
	if (w.max_depth > DEPTH_MAX)
		w.max_depth = DEPTH_MAX;
	w.max_nodes = limit_or(limits ? limits->max_nodes : 0, NODES_DEFAULT);
	switch (json_index_run(p->index, text.p, text.n, &w.at, &w.n)) {
	case JSON_INDEX_OK:
		rc = walk(&w, ret_root);
		break;
	case JSON_INDEX_EMPTY:
		rc = bad_at(&w, text.n, "there is no value in the text");
		break;
	case JSON_INDEX_BAD:
		rc = explain(&w);
		break;
	case JSON_INDEX_FULL:
		rc = err_set(err, E_TOOBIG, "no memory to parse %zu bytes of JSON", text.n);
		break;
	}
	if (json_index_capacity(p->index) > SCRATCH_KEPT)
		json_index_shrink(p->index);
	return rc;
}

int json_parse_copy(struct json_parser *p, struct arena *a, struct slice text, const struct json_limits *limits,
		    struct json **ret_root, struct err *err)
{
	char *copy = text.n < SIZE_MAX - JSON_PADDING ? arena_alloc(a, text.n + JSON_PADDING) : NULL;

	if (!copy)
		return err_set(err, E_TOOBIG, "no room for %zu bytes of JSON", text.n);
	if (text.n)
		memcpy(copy, text.p, text.n);
	memset(copy + text.n, ' ', JSON_PADDING);
	return json_parse(p, a, (struct slice){copy, text.n}, limits, ret_root, err);
}
