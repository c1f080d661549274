/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head parser beside http_parser, on generated heads, good and mutated.
 *
 *  1. What we accept, http_parser accepts, with the same method, target, version, headers, lengths and end.
 *  2. What we refuse and http_parser accepts belongs to a class of strictness listed here, which a predicate over the
 * bytes decides, not our own verdict.
 *  3. What belongs to a class is never accepted by us, and each class is met.
 */
/* Both headers call their methods HTTP_GET and so on: theirs are renamed. */
#define http_method other_method
#define HTTP_GET OTHER_GET
#define HTTP_HEAD OTHER_HEAD
#define HTTP_POST OTHER_POST
#define HTTP_PUT OTHER_PUT
#define HTTP_PATCH OTHER_PATCH
#define HTTP_DELETE OTHER_DELETE
#define HTTP_OPTIONS OTHER_OPTIONS
#include <http_parser.h>
#undef http_method
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_PATCH
#undef HTTP_DELETE
#undef HTTP_OPTIONS

#include "core/base/buf.h"
#include "core/base/rand.h"
#include "core/base/util.h"
#include "core/http/head.h"

#include "t.h"

enum { N_CASES = 60000, MAX_HEAD = 16384 };

/* --- what http_parser makes of a head --- */

struct other {
	bool complete;
	size_t n_bytes, n_headers;
	struct buf url, names, values; /* each name and value followed by LF */
	bool in_value;
	http_parser parser;
};

static int on_url(http_parser *p, const char *at, size_t n)
{
	struct other *o = p->data;

	return buf_append(&o->url, at, n);
}

static int on_field(http_parser *p, const char *at, size_t n)
{
	struct other *o = p->data;

	if (o->in_value)
		(void)buf_addc(&o->values, '\n');
	o->n_headers += o->in_value;
	o->in_value = false;
	return buf_append(&o->names, at, n);
}

static int on_value(http_parser *p, const char *at, size_t n)
{
	struct other *o = p->data;

	if (!o->in_value)
		(void)buf_addc(&o->names, '\n');
	o->in_value = true;
	return buf_append(&o->values, at, n);
}

static int on_headers_complete(http_parser *p)
{
	struct other *o = p->data;

	if (o->in_value)
		(void)buf_addc(&o->values, '\n');
	o->n_headers += o->in_value;
	o->complete = true;
	return 0;
}

/* Byte by byte, so that the end of the head is known. */
static void other_parse(struct other *o, bool request, struct slice in)
{
	http_parser_settings settings;

	http_parser_settings_init(&settings);
	settings.on_url = on_url;
	settings.on_header_field = on_field;
	settings.on_header_value = on_value;
	settings.on_headers_complete = on_headers_complete;
	http_parser_init(&o->parser, request ? HTTP_REQUEST : HTTP_RESPONSE);
	o->parser.data = o;
	o->complete = o->in_value = false;
	o->n_headers = 0;
	buf_clear(&o->url);
	buf_clear(&o->names);
	buf_clear(&o->values);
	for (o->n_bytes = 0; o->n_bytes < in.n && !o->complete; o->n_bytes++) {
		http_parser_execute(&o->parser, &settings, in.p + o->n_bytes, 1);
		if (HTTP_PARSER_ERRNO(&o->parser) != HPE_OK && !o->complete)
			return;
	}
}

/* --- the classes of extra strictness --- */

/* A head cut at its line feeds, first line and header lines without their ends. */
struct lines {
	struct slice all, first, header[512];
	size_t n_headers;
	size_t n_blank_before;
	bool request;
};

static struct slice without_cr(struct slice line)
{
	return line.n > 0 && line.p[line.n - 1] == '\r' ? slice_sub(line, 0, line.n - 1) : line;
}

static void lines_cut(struct lines *l, bool request, struct slice all)
{
	struct slice rest = all, line;

	*l = (struct lines){.all = all, .request = request};
	while (rest.n > 0 && (rest.p[0] == '\r' || rest.p[0] == '\n')) {
		l->n_blank_before += rest.p[0] == '\n';
		rest = slice_sub(rest, 1, rest.n);
	}
	(void)slice_split(&rest, '\n', &line);
	l->first = without_cr(line);
	while (l->n_headers < COUNT_OF(l->header) && slice_split(&rest, '\n', &line) && without_cr(line).n > 0)
		l->header[l->n_headers++] = without_cr(line);
}

static struct slice name_of(struct slice line)
{
	ptrdiff_t colon = slice_chr(line, ':');

	return slice_sub(line, 0, colon < 0 ? line.n : (size_t)colon);
}

static struct slice value_of(struct slice line)
{
	return slice_trim(slice_sub(line, name_of(line).n + 1, line.n));
}

static size_t count_named(const struct lines *l, const char *name, struct slice *ret_value)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n_headers; i++) {
		if (!slice_eq_nocase(name_of(l->header[i]), slice_from(name)))
			continue;
		*ret_value = value_of(l->header[i]);
		n++;
	}
	return n;
}

/* Splits the first line at its first and its last space. */
static void first_line_parts(const struct lines *l, struct slice *first, struct slice *middle, struct slice *last)
{
	size_t a = 0, b = l->first.n;

	while (a < l->first.n && l->first.p[a] != ' ')
		a++;
	while (b > a && l->first.p[b - 1] != ' ')
		b--;
	*first = slice_sub(l->first, 0, a);
	*last = slice_sub(l->first, b, l->first.n);
	*middle = b > a + 1 ? slice_sub(l->first, a + 1, b - a - 2) : (struct slice){"", 0};
}

static bool is_version(struct slice s)
{
	return slice_eq_str(s, "HTTP/1.1") || slice_eq_str(s, "HTTP/1.0");
}

static struct slice version_of(const struct lines *l)
{
	struct slice a, b, c;

	first_line_parts(l, &a, &b, &c);
	return l->request ? c : slice_sub(l->first, 0, 8);
}

static bool has_bare_end(const struct lines *l)
{
	for (size_t i = 0; i < l->all.n; i++) {
		if (l->all.p[i] == '\n' && (i == 0 || l->all.p[i - 1] != '\r'))
			return true;
		if (l->all.p[i] == '\r' && (i + 1 == l->all.n || l->all.p[i + 1] != '\n'))
			return true;
	}
	return false;
}

static bool has_blank_lines_before(const struct lines *l)
{
	return l->n_blank_before > (l->request ? 2 : 0);
}

static bool has_folding(const struct lines *l)
{
	for (size_t i = 0; i < l->n_headers; i++) {
		if (l->header[i].p[0] == ' ' || l->header[i].p[0] == '\t')
			return true;
	}
	return false;
}

static bool has_bad_name(const struct lines *l)
{
	for (size_t i = 0; i < l->n_headers; i++) {
		struct slice name = name_of(l->header[i]);

		for (size_t k = 0; k < name.n; k++) {
			if (name.p[k] <= ' ' || strchr("\"(),/:;<=>?@[\\]{}\x7f", name.p[k]))
				return true;
		}
	}
	return false;
}

static bool has_bad_value(const struct lines *l)
{
	for (size_t i = 0; i < l->n_headers; i++) {
		for (size_t k = name_of(l->header[i]).n; k < l->header[i].n; k++) {
			unsigned char c = (unsigned char)l->header[i].p[k];

			if ((c < ' ' && c != '\t') || c == 0x7f)
				return true;
		}
	}
	return false;
}

static bool has_tab_behind_length_or_coding(const struct lines *l)
{
	for (size_t i = 0; i < l->n_headers; i++) {
		struct slice value = value_of(l->header[i]), name = name_of(l->header[i]), rest;

		if (!slice_eq_nocase(name, SLICE_LIT("content-length")) &&
		    !slice_eq_nocase(name, SLICE_LIT("transfer-encoding")))
			continue;
		rest = slice_sub(l->header[i], (size_t)(value.p + value.n - l->header[i].p), SIZE_MAX);
		if (slice_chr(rest, '\t') >= 0)
			return true;
	}
	return false;
}

static bool has_other_version(const struct lines *l)
{
	return !is_version(version_of(l));
}

static bool has_other_target(const struct lines *l)
{
	struct slice method, target, version;

	if (!l->request)
		return false;
	first_line_parts(l, &method, &target, &version);
	if (slice_eq_str(method, "CONNECT"))
		return true;
	for (size_t i = 0; i < target.n; i++) {
		if (target.p[i] <= ' ' || target.p[i] >= 0x7f || target.p[i] == '#')
			return true;
	}
	if (slice_starts(target, SLICE_LIT("http://a/")) && !slice_eq_str(method, "CONNECT"))
		return false;
	return !slice_starts(target, SLICE_LIT("/")) && !(slice_eq_str(target, "*") && slice_eq_str(method, "OPTIONS"));
}

/* Not "HTTP/1.1 200" with nothing or a space and a reason behind it, or a reason that holds control bytes. */
static bool has_other_status(const struct lines *l)
{
	struct slice s = slice_sub(l->first, 8, l->first.n);

	if (l->request)
		return false;
	if (s.n < 4 || s.p[0] != ' ' || s.p[1] < '1' || s.p[1] > '9' || (s.n > 4 && s.p[4] != ' '))
		return true;
	for (size_t i = 2; i < s.n; i++) {
		if (i < 4 && (s.p[i] < '0' || s.p[i] > '9'))
			return true;
		if (i >= 4 && (((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f))
			return true;
	}
	return false;
}

static bool has_other_host(const struct lines *l)
{
	struct slice host = {"", 0};
	size_t n = count_named(l, "host", &host);

	if (!l->request)
		return false;
	if (n > 1 || (n == 0 && slice_eq_str(version_of(l), "HTTP/1.1")))
		return true;
	for (size_t i = 0; i < host.n; i++) {
		if (host.p[i] <= ' ' || host.p[i] >= 0x7f || strchr("\"#/<>?@\\^`{|}", host.p[i]))
			return true;
	}
	return false;
}

static bool has_other_length(const struct lines *l)
{
	struct slice value = {"", 0};
	size_t n = count_named(l, "content-length", &value);
	uint64_t length;

	return n > 1 || (n == 1 && (value.n > 18 || slice_to_u64(value, &length) < 0));
}

static bool has_other_coding(const struct lines *l)
{
	struct slice value = {"", 0}, length;
	size_t n = count_named(l, "transfer-encoding", &value);

	return n > 1 ||
	       (n == 1 && (!slice_eq_nocase(value, SLICE_LIT("chunked")) || slice_eq_str(version_of(l), "HTTP/1.0") ||
			   count_named(l, "content-length", &length)));
}

static bool has_too_many(const struct lines *l)
{
	return l->n_headers > HTTP_MAX_HEADERS;
}

static struct strictness {
	const char *what;
	bool (*applies)(const struct lines *l);
	int n_alone; /* times this was why we refuse what http_parser accepts */
} classes[] = {
	{"a bare CR or LF", has_bare_end},
	{"blank lines before", has_blank_lines_before},
	{"obsolete folding", has_folding},
	{"a byte in a name that is no token, white space before the colon", has_bad_name},
	{"a control byte in a value", has_bad_value},
	{"a tab behind Content-Length or Transfer-Encoding", has_tab_behind_length_or_coding},
	{"a version that is not HTTP/1.0 or HTTP/1.1", has_other_version},
	{"a target that is no plain path", has_other_target},
	{"a status that is not one space and three digits, control bytes in a reason", has_other_status},
	{"no Host, two, or a malformed one", has_other_host},
	{"a second or malformed Content-Length", has_other_length},
	{"a transfer coding that is not chunked once, alone, in HTTP/1.1", has_other_coding},
	{"too many headers", has_too_many},
};

static bool in_a_class(const struct lines *l, bool count)
{
	bool any = false;

	for (size_t i = 0; i < COUNT_OF(classes); i++) {
		if (!classes[i].applies(l))
			continue;
		any = true;
		classes[i].n_alone += count;
	}
	return any;
}

/* --- generated heads --- */

static const char *pick(struct rng *r, const char *const *from, size_t n)
{
	return from[rng_below(r, n)];
}
#define PICK(r, ...) \
	pick((r), (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static bool once_in(struct rng *r, unsigned n)
{
	return rng_below(r, n) == 0;
}

static const char *line_end(struct rng *r)
{
	return once_in(r, 300) ? PICK(r, "\n", "\r", "\r\r\n", "\n\r\n") : "\r\n";
}

static void add_first_line(struct rng *r, bool request, struct buf *out)
{
	const char *version = once_in(r, 4) ? "HTTP/1.0" : "HTTP/1.1";

	if (once_in(r, 40))
		version = PICK(r, "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/1.10", "http/1.1", "HTTP/11", "");
	if (once_in(r, 30))
		(void)buf_adds(out, PICK(r, "\r\n", "\r\n\r\n", "\r\n\r\n\r\n", "\n", " "));
	if (!request) {
		(void)buf_printf(out, "%s%s%s%s", version, once_in(r, 60) ? PICK(r, "  ", "\t", "") : " ",
				 once_in(r, 30) ? PICK(r, "20", "2000", "99", "099", "2x0", "0", "999")
						: PICK(r, "200", "404", "503", "204"),
				 PICK(r, "", " ", " OK", " Not Found", " gr\xc3\xbc\xc3\x9f dich", " a\tb", " OK"));
		return;
	}
	(void)buf_printf(out, "%s%s",
			 PICK(r, "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "PURGE", "get", "CONNECT",
			      "M-SEARCH", "GE(", "BREW"),
			 once_in(r, 60) ? PICK(r, "  ", "\t", "") : " ");
	(void)buf_printf(
		out, "%s%s%s",
		once_in(r, 20) ? PICK(r, "*", "http://a/b", "a:80", "", "/a#b", "/a\tb", "/\xc3\xa4", "/a b", "?x")
			       : PICK(r, "/", "/v1/chat/completions", "/a?b=c", "/a?b?c", "//x", "/\"<>\\^`{|}~", "*"),
		once_in(r, 60) ? "  " : " ", version);
}

static void add_header(struct rng *r, struct buf *out)
{
	const char *name =
		PICK(r, "Accept", "User-Agent", "X-Request-Id", "Authorization", "a", "!#$%&'*+-.^_`|~", "Expect",
		     "Content-Type", "Connection", "Hosts", "Content-Lengths", "Content-Length", "Transfer-Encoding");
	const char *value = PICK(r, "", "*/*", "text/html; q=0.5, application/json", "\"quoted\"", "a  b", "gr\xfc\xdf",
				 "Bearer sk-0123456789abcdefghijklmnopqrstuvwxyz", "x\ty", "100-continue");

	if (!strcmp(name, "Connection"))
		value = PICK(r, "close", "keep-alive", "Close", "Keep-Alive", "x, close", "keep-alive , y", "close,");
	if (!strcmp(name, "Content-Length"))
		value = once_in(r, 5) ? PICK(r, "", "-1", "+1", "1 2", "1, 1", "0x10", "18446744073709551615",
					     "99999999999999999999999", "1000000000000000000", "999999999999999999")
				      : PICK(r, "0", "5", "12", "007", "1048576");
	if (!strcmp(name, "Transfer-Encoding"))
		value = once_in(r, 3) ? PICK(r, "gzip", "chunked, chunked", "gzip, chunked", "identity", "xchunked", "")
				      : PICK(r, "chunked", "Chunked");
	if (once_in(r, 100))
		name = PICK(r, "a b", "Accept ", "Accept\t", "", "a(", "\xc3\xa4", " folded", "\tfolded", "a\x01");
	(void)buf_printf(out, "%s:%s%s%s%s", name, PICK(r, " ", " ", " ", "", "\t", "   "), value,
			 PICK(r, "", "", " ", "\t "), line_end(r));
}

static void mutate(struct rng *r, struct buf *out)
{
	static const char bytes[] = "\r\n\0 \t:;,/?#a0\x01\x7f\x80\xff";
	size_t at = rng_below(r, out->n);
	char c = bytes[rng_below(r, sizeof(bytes) - 1)];

	switch (rng_below(r, 3)) {
	case 0:
		out->p[at] = c;
		break;
	case 1:
		(void)buf_addc(out, 0);
		memmove(out->p + at + 1, out->p + at, out->n - 1 - at);
		out->p[at] = c;
		break;
	default:
		memmove(out->p + at, out->p + at + 1, out->n - 1 - at);
		out->n--;
		break;
	}
}

static void generate(struct rng *r, bool request, struct buf *out)
{
	uint64_t n = once_in(r, 400) ? 95 + rng_below(r, 10) : rng_below(r, 7);

	buf_clear(out);
	add_first_line(r, request, out);
	(void)buf_adds(out, line_end(r));
	if (request && !once_in(r, 30))
		(void)buf_printf(out, "%s: %s\r\n", PICK(r, "Host", "host", "HOST"),
				 once_in(r, 30) ? PICK(r, "a b", "a/b", "a@b", "\"", "a, b", "\xc3\xa4")
						: PICK(r, "localhost", "127.0.0.1:8080", "[::1]:80", "", "a.b_c"));
	while (n-- > 0) {
		if (n > 20)
			(void)buf_adds(out, "X-Many: 1\r\n");
		else
			add_header(r, out);
	}
	(void)buf_adds(out, line_end(r));
	while (once_in(r, 4))
		mutate(r, out);
	(void)buf_adds(out, "\r\n\r\n"); /* so that both come to an end */
}

/* --- the comparison --- */

static bool same_headers(const struct http_head *h, const struct other *o)
{
	struct slice names = buf_slice(&o->names), values = buf_slice(&o->values), name, value;

	if (h->n_headers != o->n_headers)
		return false;
	for (size_t i = 0; i < h->n_headers; i++) {
		if (!slice_split(&names, '\n', &name) || !slice_split(&values, '\n', &value))
			return false;
		if (!slice_eq(h->header[i].name, name) || !slice_eq(h->header[i].value, slice_trim(value)))
			return false;
	}
	return true;
}

static bool has_option(const struct http_head *h, const char *option)
{
	for (size_t i = 0; i < h->n_headers; i++) {
		struct slice rest = h->header[i].value, token;

		if (!slice_eq_nocase(h->header[i].name, SLICE_LIT("connection")))
			continue;
		while (slice_split(&rest, ',', &token)) {
			if (slice_eq_nocase(slice_trim(token), slice_from(option)))
				return true;
		}
	}
	return false;
}

/* http_parser takes a tab behind an option for a part of it. */
static bool has_tab_behind_option(const struct other *o)
{
	return slice_chr(buf_slice(&o->values), '\t') >= 0;
}

/* http_parser keeps an HTTP/1.0 connection that says both close and keep-alive; RFC 9112 (9.3) says close wins. */
static bool same_connection(const struct http_head *h, const struct other *o, bool request)
{
	if (has_option(h, "close") && has_option(h, "keep-alive"))
		return !h->keep_alive;
	if (!request) /* without a length http_parser counts the end of the connection as the end of the answer */
		return true;
	return has_tab_behind_option(o) || h->keep_alive == (http_should_keep_alive(&o->parser) != 0);
}

static bool same_head(const struct http_head *h, const struct other *o, bool request)
{
	const http_parser *p = &o->parser;
	bool chunked = (p->flags & F_CHUNKED) != 0;
	int64_t length = p->flags & F_CONTENTLENGTH ? (int64_t)p->content_length : -1;

	if (request && (!slice_eq_str(h->method_name, http_method_str((enum other_method)p->method)) ||
			!slice_eq(h->target, buf_slice(&o->url))))
		return false;
	if (!request && h->status != (int)p->status_code)
		return false;
	return h->head_bytes == o->n_bytes && p->http_major == 1 && h->minor == p->http_minor &&
	       h->chunked == chunked && h->content_length == length && same_headers(h, o) &&
	       same_connection(h, o, request);
}

static void print_case(const char *what, struct slice in, const struct err *err, const struct other *o)
{
	printf("# %s (we: %s; http_parser: %s): ", what, err->text, http_errno_name(HTTP_PARSER_ERRNO(&o->parser)));
	for (size_t i = 0; i < in.n; i++)
		printf((unsigned char)in.p[i] < ' ' || in.p[i] == 0x7f ? "\\x%02x" : "%c", (unsigned char)in.p[i]);
	printf("\n");
}

/* What is wrong with how the two see the head, or NULL. */
static const char *compare(struct slice in, bool request, struct other *o, struct err *err)
{
	HTTP_HEAD(h);
	static struct lines l;
	int rc = request ? http_parse_request(in, 0, &h, err) : http_parse_response(in, 0, &h, err);

	other_parse(o, request, in);
	if (rc == 0) {
		lines_cut(&l, request, slice_sub(in, 0, h.head_bytes));
		if (in_a_class(&l, false))
			return "accepted though it belongs to a class of strictness";
		if (!o->complete) /* it knows a list of methods, for us any token is one */
			return h.method == HTTP_OTHER && HTTP_PARSER_ERRNO(&o->parser) == HPE_INVALID_METHOD
				       ? NULL
				       : "accepted by us alone";
		return same_head(&h, o, request) ? NULL : "accepted by both and read differently";
	}
	if (!o->complete)
		return NULL;
	lines_cut(&l, request, slice_sub(in, 0, o->n_bytes));
	return in_a_class(&l, true) ? NULL : "refused by us alone, for no listed reason";
}

TEST(generated_heads_are_read_as_http_parser_reads_them_or_refused_for_a_listed_reason)
{
	struct other o = {.complete = false};
	struct buf in;
	struct rng r;
	int n_wrong = 0, n_accepted = 0;

	rng_seed(&r, 9112);
	buf_init(&in, MAX_HEAD);
	buf_init(&o.url, MAX_HEAD);
	buf_init(&o.names, MAX_HEAD);
	buf_init(&o.values, MAX_HEAD);
	for (int i = 0; i < N_CASES; i++) {
		struct err err = {0};
		const char *what;

		generate(&r, i % 2 == 0, &in);
		what = compare(buf_slice(&in), i % 2 == 0, &o, &err);
		n_accepted += err.code == 0;
		n_wrong += what != NULL;
		if (what && n_wrong <= 10)
			print_case(what, buf_slice(&in), &err, &o);
	}
	CHECK_INT(n_wrong, 0);
	printf("# %d heads, %d accepted\n", N_CASES, n_accepted);
	CHECK(n_accepted > N_CASES / 5 && n_accepted < N_CASES * 4 / 5);
	for (size_t i = 0; i < COUNT_OF(classes); i++) {
		printf("# stricter %5d times: %s\n", classes[i].n_alone, classes[i].what);
		CHECK(classes[i].n_alone > 0);
	}
	buf_release(&in);
	buf_release(&o.url);
	buf_release(&o.names);
	buf_release(&o.values);
}
