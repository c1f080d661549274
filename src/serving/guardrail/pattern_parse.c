/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions to Thompson automata.  The parser knows the common part of the
 * library's syntax; what it does not know it refuses (E_UNSUPPORTED), and the
 * caller then uses the library or says so.  The code of a fragment is
 * contiguous and its jumps are relative, so that a repetition copies it.
 */
#include <stdlib.h>

#include "serving/guardrail/pattern_code.h"

#define MAX_CODE 8192
#define MAX_SETS 512
#define MAX_DEPTH 32

struct parser {
	struct nfa *n;
	struct slice rest;
	bool fold_case, dot_all, multi_line;
	unsigned depth;
};

static int emit(struct nfa *n, struct ins ins)
{
	if (n->n_code == MAX_CODE)
		return E_UNSUPPORTED;
	n->code[n->n_code++] = ins;
	return 0;
}

static int insert(struct nfa *n, uint32_t at, struct ins ins)
{
	if (n->n_code == MAX_CODE)
		return E_UNSUPPORTED;
	memmove(&n->code[at + 1], &n->code[at], (n->n_code - at) * sizeof(ins));
	n->code[at] = ins;
	n->n_code++;
	return 0;
}

static void set_invert(struct byte_set *s)
{
	for (unsigned i = 0; i < 4; i++)
		s->bits[i] = ~s->bits[i];
}

static void set_fold(struct byte_set *s)
{
	for (unsigned c = 'a'; c <= 'z'; c++) {
		if (byte_set_has(s, (unsigned char)c) || byte_set_has(s, (unsigned char)(c - 32))) {
			byte_set_add(s, c, c);
			byte_set_add(s, c - 32, c - 32);
		}
	}
}

static int emit_set(struct parser *p, const struct byte_set *s)
{
	struct nfa *n = p->n;

	if (n->n_sets == MAX_SETS)
		return E_UNSUPPORTED;
	n->sets[n->n_sets] = *s;
	return emit(n, (struct ins){.op = OP_SET, .set = (uint16_t)n->n_sets++});
}

static int take(struct parser *p)
{
	int c;

	if (p->rest.n == 0)
		return -1;
	c = (unsigned char)*p->rest.p++;
	p->rest.n--;
	return c;
}

static int peek(const struct parser *p)
{
	return p->rest.n ? (unsigned char)*p->rest.p : -1;
}

static int hex_digit(int c)
{
	if (guard_is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool class_escape(int c, struct byte_set *s)
{
	struct byte_set add = {{0}};

	switch (c) {
	case 'd':
	case 'D':
		byte_set_add(&add, '0', '9');
		break;
	case 'w':
	case 'W':
		byte_set_add(&add, '0', '9');
		byte_set_add(&add, 'a', 'z');
		byte_set_add(&add, 'A', 'Z');
		byte_set_add(&add, '_', '_');
		break;
	case 's':
	case 'S':
		byte_set_add(&add, '\t', '\r');
		byte_set_add(&add, ' ', ' ');
		break;
	case 'h':
		byte_set_add(&add, '\t', '\t');
		byte_set_add(&add, ' ', ' ');
		byte_set_add(&add, 0xa0, 0xa0);
		break;
	default:
		return false;
	}
	if (c == 'D' || c == 'W' || c == 'S')
		set_invert(&add);
	byte_set_union(s, &add);
	return true;
}

/* The byte that an escape stands for, or E_UNSUPPORTED. */
static int byte_escape(struct parser *p, int c)
{
	static const char from[] = "tnrfae", to[] = "\t\n\r\f\a\x1b";
	const char *found;
	int high, low;

	if (c < 0 || c >= 0x80 || guard_is_digit(c))
		return E_UNSUPPORTED;
	if (c == 'x') {
		high = hex_digit(take(p));
		low = hex_digit(take(p));
		return high < 0 || low < 0 ? E_UNSUPPORTED : high * 16 + low;
	}
	if (!guard_is_alpha(c))
		return c;
	found = strchr(from, c);
	return found ? to[found - from] : E_UNSUPPORTED;
}

/* Behind "[:" within a bracket. */
static int posix_class(struct parser *p, struct byte_set *s)
{
	static const struct {
		const char *name;
		const char *ranges; /* pairs */
	} classes[] = {
		{"alpha:]", "azAZ"},	{"digit:]", "09"},	{"alnum:]", "azAZ09"},
		{"upper:]", "AZ"},	{"lower:]", "az"},	{"space:]", "\t\r  "},
		{"xdigit:]", "afAF09"}, {"word:]", "azAZ09__"}, {"punct:]", "!/:@[`{~"},
	};

	for (size_t i = 0; i < COUNT_OF(classes); i++) {
		if (!slice_starts(p->rest, slice_from(classes[i].name)))
			continue;
		p->rest = slice_sub(p->rest, strlen(classes[i].name), p->rest.n);
		for (const char *r = classes[i].ranges; *r; r += 2)
			byte_set_add(s, (unsigned char)r[0], (unsigned char)r[1]);
		return 256;
	}
	return E_UNSUPPORTED;
}

/* One member of a bracket: its byte, 256 when it was a class and is in the set already, or E_UNSUPPORTED. */
static int bracket_member(struct parser *p, struct byte_set *s)
{
	int c = take(p);

	if (c == '[' && peek(p) == ':') {
		take(p);
		return posix_class(p, s);
	}
	if (c < 0 || (c == '[' && (peek(p) == '.' || peek(p) == '=')))
		return E_UNSUPPORTED;
	if (c != '\\')
		return c;
	c = take(p);
	if (c == 'b')
		return '\b';
	return class_escape(c, s) ? 256 : byte_escape(p, c);
}

static int parse_bracket(struct parser *p)
{
	struct byte_set s = {{0}};
	bool inverted = peek(p) == '^', first = true;

	if (inverted)
		take(p);
	for (; peek(p) != ']' || first; first = false) {
		int low = bracket_member(p, &s), high = low;

		if (low < 0)
			return low;
		if (low == 256)
			continue;
		if (peek(p) == '-' && p->rest.n > 1 && p->rest.p[1] != ']') {
			take(p);
			high = bracket_member(p, &s);
			if (high < low || high == 256)
				return E_UNSUPPORTED;
		}
		byte_set_add(&s, (unsigned)low, (unsigned)high);
	}
	take(p);
	if (p->fold_case)
		set_fold(&s);
	if (inverted)
		set_invert(&s);
	return emit_set(p, &s);
}

static int emit_assert(struct parser *p, enum assertion a)
{
	static const uint8_t late[] = {
		[AT_BORDER] = 1, [AT_NO_BORDER] = 1, [AT_LINE_END] = 2, [AT_END_OR_NEWLINE] = 2, [AT_END] = 2};

	if (late[a] > p->n->late)
		p->n->late = late[a];
	return emit(p->n, (struct ins){.op = OP_ASSERT, .assertion = (uint8_t)a});
}

static int emit_byte(struct parser *p, int c)
{
	struct byte_set s = {{0}};

	byte_set_add(&s, (unsigned)c, (unsigned)c);
	if (p->fold_case)
		set_fold(&s);
	return emit_set(p, &s);
}

static int parse_escape(struct parser *p)
{
	struct byte_set s = {{0}};
	int c = take(p);

	switch (c) {
	case 'b':
		return emit_assert(p, AT_BORDER);
	case 'B':
		return emit_assert(p, AT_NO_BORDER);
	case 'A':
		return emit_assert(p, AT_BEGIN);
	case 'Z':
		return emit_assert(p, AT_END_OR_NEWLINE);
	case 'z':
		return emit_assert(p, AT_END);
	default:
		break;
	}
	if (class_escape(c, &s))
		return emit_set(p, &s);
	c = byte_escape(p, c);
	return c < 0 ? c : emit_byte(p, c);
}

static int parse_alternatives(struct parser *p);

/* The flags of (?i) and (?i:...); returns the byte that ended them. */
static int parse_flags(struct parser *p)
{
	bool on = true;
	int c;

	while ((c = take(p)) != ')' && c != ':') {
		if (c == '-')
			on = false;
		else if (c == 'i')
			p->fold_case = on;
		else if (c == 's')
			p->dot_all = on;
		else if (c == 'm')
			p->multi_line = on;
		else
			return E_UNSUPPORTED;
	}
	return c;
}

static int skip_name(struct parser *p)
{
	int c = take(p);

	if (c == 'P')
		c = take(p);
	if (c != '<' || !guard_is_word(peek(p)))
		return E_UNSUPPORTED;
	while ((c = take(p)) != '>') {
		if (c < 0 || !guard_is_word(c))
			return E_UNSUPPORTED;
	}
	return 0;
}

/* Behind the '('.  Flags set inside end with the group; *ret_flags: it was (?i), which is no atom. */
static int parse_group(struct parser *p, bool *ret_flags)
{
	struct parser outer = *p;
	int rc;

	*ret_flags = false;
	if (++p->depth > MAX_DEPTH || peek(p) == '*')
		return E_UNSUPPORTED;
	if (peek(p) == '?') {
		take(p);
		if (peek(p) == 'P' || peek(p) == '<') {
			rc = skip_name(p);
		} else {
			rc = parse_flags(p);
			*ret_flags = rc == ')';
		}
		if (rc < 0)
			return rc;
	}
	if (*ret_flags) {
		p->depth--;
		return 0;
	}
	rc = parse_alternatives(p);
	if (!rc && take(p) != ')')
		rc = E_UNSUPPORTED;
	outer.rest = p->rest;
	*p = outer;
	return rc;
}

static int parse_atom(struct parser *p, bool *ret_flags)
{
	struct byte_set s = {{0}};
	int c = take(p);

	*ret_flags = false;
	switch (c) {
	case '(':
		return parse_group(p, ret_flags);
	case '[':
		return parse_bracket(p);
	case '\\':
		return parse_escape(p);
	case '^':
		return emit_assert(p, p->multi_line ? AT_LINE_BEGIN : AT_BEGIN);
	case '$':
		return emit_assert(p, p->multi_line ? AT_LINE_END : AT_END_OR_NEWLINE);
	case '.':
		byte_set_add(&s, 0, 255);
		if (!p->dot_all)
			s.bits[0] &= ~(1ull << '\n');
		return emit_set(p, &s);
	case '*':
	case '+':
	case '?':
	case '{':
	case -1:
		return E_UNSUPPORTED;
	default:
		return emit_byte(p, c);
	}
}

static int parse_number(struct parser *p, uint32_t *ret)
{
	if (!guard_is_digit(peek(p)))
		return E_UNSUPPORTED;
	for (*ret = 0; guard_is_digit(peek(p));) {
		*ret = *ret * 10 + (uint32_t)(take(p) - '0');
		if (*ret > MAX_CODE)
			return E_UNSUPPORTED;
	}
	return 0;
}

/* 1 when there is a quantifier. */
static int parse_quantifier(struct parser *p, uint32_t *least, uint32_t *most)
{
	int c = peek(p), rc;

	if (c != '*' && c != '+' && c != '?' && c != '{')
		return 0;
	take(p);
	*least = c == '+';
	*most = c == '?' ? 1 : UINT32_MAX;
	if (c == '{') {
		rc = parse_number(p, least);
		*most = *least;
		if (!rc && peek(p) == ',') {
			take(p);
			*most = UINT32_MAX;
			if (peek(p) != '}')
				rc = parse_number(p, most);
		}
		if (rc || take(p) != '}' || *most < *least)
			return E_UNSUPPORTED;
	}
	if (peek(p) == '+')
		return E_UNSUPPORTED;
	if (peek(p) == '?')
		take(p);
	return 1;
}

static int copy_fragment(struct nfa *n, const struct ins *fragment, uint32_t length)
{
	if (n->n_code + length > MAX_CODE)
		return E_UNSUPPORTED;
	memcpy(&n->code[n->n_code], fragment, length * sizeof(*fragment));
	n->n_code += length;
	return 0;
}

/* Replaces the code from `from` on by its repetition. */
static int repeat(struct nfa *n, uint32_t from, uint32_t least, uint32_t most)
{
	uint32_t length = n->n_code - from, optional = most == UINT32_MAX ? 1 : most - least;
	struct ins *fragment = malloc((length + 1) * sizeof(*fragment));
	int rc = fragment ? 0 : E_UNSUPPORTED;

	if (fragment)
		memcpy(fragment, &n->code[from], length * sizeof(*fragment));
	n->n_code = from;
	for (uint32_t i = 0; i < least && !rc; i++)
		rc = copy_fragment(n, fragment, length);
	for (uint32_t i = 0; i < optional && !rc; i++) {
		uint32_t left = most == UINT32_MAX ? length + 2 : (optional - i) * (length + 1);

		rc = emit(n, (struct ins){.op = OP_SPLIT, .x = 1, .y = (int32_t)left});
		if (!rc)
			rc = copy_fragment(n, fragment, length);
	}
	if (!rc && most == UINT32_MAX)
		rc = emit(n, (struct ins){.op = OP_JUMP, .x = -(int32_t)length - 1});
	free(fragment);
	return rc;
}

/* Bytes that the code from pc on consumes, at least and at most. Jumps point forward but for those of endless loops. */
static void measure(struct nfa *n)
{
	uint32_t(*width)[2] = calloc(n->n_code, sizeof(*width));

	n->max_width = UINT32_MAX;
	n->min_width = 0;
	for (uint32_t pc = n->n_code - 1; width && pc-- > 0;) {
		const struct ins *ins = &n->code[pc];
		const uint32_t *next = width[pc + 1], *x, *y;

		if (ins->op == OP_SET) {
			width[pc][0] = next[0] + 1;
			width[pc][1] = next[1] == UINT32_MAX ? UINT32_MAX : next[1] + 1;
			continue;
		}
		if (ins->op == OP_ASSERT || (ins->op == OP_JUMP && ins->x < 0)) {
			/* An endless loop jumps back to its split, whose other way out stands right behind the jump. */
			width[pc][0] = next[0];
			width[pc][1] = ins->op == OP_ASSERT ? next[1] : UINT32_MAX;
			continue;
		}
		x = width[pc + (uint32_t)ins->x];
		y = ins->op == OP_SPLIT ? width[pc + (uint32_t)ins->y] : x;
		width[pc][0] = x[0] < y[0] ? x[0] : y[0];
		width[pc][1] = x[1] > y[1] ? x[1] : y[1];
	}
	if (width) {
		n->min_width = width[0][0];
		n->max_width = width[0][1];
	}
	free(width);
}

static int parse_sequence(struct parser *p)
{
	while (peek(p) >= 0 && peek(p) != '|' && peek(p) != ')') {
		uint32_t from = p->n->n_code, least = 1, most = 1;
		bool flags;
		int rc = parse_atom(p, &flags);

		if (rc)
			return rc;
		if (flags)
			continue;
		rc = parse_quantifier(p, &least, &most);
		if (rc == 1)
			rc = repeat(p->n, from, least, most);
		if (rc)
			return rc;
	}
	return 0;
}

/* a|b|c: SPLIT over a and JUMP behind b|c, each in its turn. */
static int parse_alternatives(struct parser *p)
{
	uint32_t from = p->n->n_code, jump[64], n = 0;
	int rc = parse_sequence(p);

	while (!rc && peek(p) == '|') {
		take(p);
		if (n == COUNT_OF(jump))
			return E_UNSUPPORTED;
		rc = insert(p->n, from, (struct ins){.op = OP_SPLIT, .x = 1});
		if (rc)
			return rc;
		p->n->code[from].y = (int32_t)(p->n->n_code + 1 - from);
		jump[n++] = p->n->n_code;
		rc = emit(p->n, (struct ins){.op = OP_JUMP});
		from = p->n->n_code;
		if (!rc)
			rc = parse_sequence(p);
	}
	for (uint32_t i = 0; i < n && !rc; i++)
		p->n->code[jump[i]].x = (int32_t)(p->n->n_code - jump[i]);
	return rc;
}

static int nfa_parse(struct nfa *n, struct slice expression)
{
	struct parser p = {.n = n, .rest = expression};
	int rc;

	n->code = calloc(MAX_CODE + 1, sizeof(*n->code));
	n->sets = calloc(MAX_SETS, sizeof(*n->sets));
	if (!n->code || !n->sets)
		return E_UNSUPPORTED;
	rc = parse_alternatives(&p);
	if (!rc && p.rest.n)
		rc = E_UNSUPPORTED;
	if (!rc)
		rc = emit(n, (struct ins){.op = OP_ACCEPT});
	if (rc)
		return rc;
	measure(n);
	return 0;
}

static void shrink(struct nfa *n)
{
	struct ins *code = realloc(n->code, n->n_code * sizeof(*code));
	struct byte_set *sets = n->n_sets ? realloc(n->sets, n->n_sets * sizeof(*sets)) : NULL;

	n->code = code ? code : n->code;
	n->sets = sets ? sets : n->sets;
}

int nfa_new(struct slice expression, struct nfa **ret)
{
	struct nfa *n = calloc(1, sizeof(*n));
	int rc = n ? nfa_parse(n, expression) : E_UNSUPPORTED;

	if (rc) {
		nfa_free(n);
		return rc;
	}
	shrink(n);
	*ret = n;
	return 0;
}
