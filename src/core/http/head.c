/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1.1 head parser: one pass over the bytes, driven by a table of byte classes, with header values (the long
 * runs) scanned sixteen bytes at a time.  Every request and every answer goes through here, so nothing is allocated,
 * copied or cleared that need not be.
 *
 * What would break it: accepting anything on which another HTTP implementation in front of or behind us could see a
 * different message (request smuggling).  Where RFC 9112 leaves a choice between repairing and refusing, this refuses;
 * head.h lists it all.
 */
#include "core/http/head.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { MAX_LEADING_BLANK_LINES = 2, MAX_LEADING_BYTES = 4, MAX_LENGTH_DIGITS = 18 };

/* What a byte may be part of. */
enum { TOKEN = 1, TARGET = 2, VALUE = 4, HOST = 8, ALL = TOKEN | TARGET | VALUE | HOST };

/* '?' is left out of TARGET because the scan stops there to note the query, '#' because a fragment is never sent. */
static const uint8_t byte_class[256] = {
	['\t'] = VALUE,
	[' '] = VALUE,
	['!'] = ALL,
	['"'] = TARGET | VALUE,
	['#'] = TOKEN | VALUE,
	['$' ... '\''] = ALL,
	['(' ... ')'] = TARGET | VALUE | HOST,
	['*' ... '+'] = ALL,
	[','] = TARGET | VALUE | HOST,
	['-' ... '.'] = ALL,
	['/'] = TARGET | VALUE,
	['0' ... '9'] = ALL,
	[':' ... ';'] = TARGET | VALUE | HOST,
	['<'] = TARGET | VALUE,
	['='] = TARGET | VALUE | HOST,
	['>'] = TARGET | VALUE,
	['?'] = VALUE,
	['@'] = TARGET | VALUE,
	['A' ... 'Z'] = ALL,
	['['] = TARGET | VALUE | HOST,
	['\\'] = TARGET | VALUE,
	[']'] = TARGET | VALUE | HOST,
	['^'] = TOKEN | TARGET | VALUE,
	['_'] = ALL,
	['`'] = TOKEN | TARGET | VALUE,
	['a' ... 'z'] = ALL,
	['{'] = TARGET | VALUE,
	['|'] = TOKEN | TARGET | VALUE,
	['}'] = TARGET | VALUE,
	['~'] = ALL,
	[0x80 ... 0xff] = VALUE,
};

struct cursor {
	const char *p, *end;
	bool at_limit; /* the end is where the limit is, not where the bytes end */
	struct http_head *head;
	struct err *err;
	unsigned n_hosts, n_codings;
	bool close, keep_alive; /* options of Connection */
};

#define REFUSE(c, code, status, ...) ((c)->head->refuse_status = (status), err_set((c)->err, (code), __VA_ARGS__))
#define BAD(c, ...) REFUSE(c, E_INVALID, 400, __VA_ARGS__)

/* The bytes ended before the head did. */
__attribute__((cold)) static int need_more(struct cursor *c)
{
	if (c->at_limit)
		return REFUSE(c, E_TOOBIG, 431, "the head is longer than %d bytes", HTTP_MAX_HEAD_BYTES);
	return E_AGAIN;
}

static inline const char *scan_class(const char *p, const char *end, unsigned cls)
{
	while (p < end && (byte_class[(unsigned char)*p] & cls))
		p++;
	return p;
}

/* The first byte that no header value may hold. */
static inline const char *scan_value(const char *p, const char *end)
{
#ifdef __SSE2__
	const __m128i last_control = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);

	for (; end - p >= 16; p += 16) {
		__m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, last_control), x);
		int found;

		control = _mm_andnot_si128(_mm_cmpeq_epi8(x, tab), control);
		found = _mm_movemask_epi8(_mm_or_si128(control, _mm_cmpeq_epi8(x, del)));
		if (found)
			return p + __builtin_ctz((unsigned)found);
	}
#endif
	return scan_class(p, end, VALUE);
}

/* The first byte that no name may hold. */
static inline const char *scan_token(const char *p, const char *end)
{
#ifdef __SSE2__
	const __m128i bit = _mm_set1_epi8(0x20), a = _mm_set1_epi8('a'), last = _mm_set1_epi8('z' - 'a');
	const __m128i dash = _mm_set1_epi8('-');

	for (; end - p >= 16; p += 16) {
		__m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i letter = _mm_sub_epi8(_mm_or_si128(x, bit), a);
		unsigned usual; /* letters and dashes: mostly that is all of a name */

		letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, last), letter);
		usual = (unsigned)_mm_movemask_epi8(_mm_or_si128(letter, _mm_cmpeq_epi8(x, dash)));
		if (usual != 0xffff)
			return scan_class(p + __builtin_ctz(~usual), end, TOKEN);
	}
#endif
	return scan_class(p, end, TOKEN);
}

bool http_is_name(struct slice s)
{
	return s.n && scan_token(s.p, s.p + s.n) == s.p + s.n;
}

bool http_is_value(struct slice s)
{
	const char *end = s.p + s.n, *p = s.p;

	if (s.n >= 16) { /* the last sixteen first: nothing is left to look at byte by byte */
		if (scan_value(end - 16, end) != end)
			return false;
		end = p + (s.n - 1) / 16 * 16;
	}
	return scan_value(p, end) == end;
}

__attribute__((cold)) static int refuse_line_end(struct cursor *c, const char *p, const char *what)
{
	if (p == c->end)
		return need_more(c);
	if (*p == '\n')
		return BAD(c, "%s ends in a bare line feed; lines end in CR LF", what);
	if (*p != '\r')
		return BAD(c, "%s holds the byte 0x%02x, which is not allowed there", what, (unsigned char)*p);
	if (p + 1 == c->end)
		return need_more(c);
	return BAD(c, "%s holds a carriage return that no line feed follows", what);
}

/* p is where the line has to end. */
static inline int take_line_end(struct cursor *c, const char *p, const char *what)
{
	if (LIKELY(c->end - p >= 2 && p[0] == '\r' && p[1] == '\n')) {
		c->p = p + 2;
		return 0;
	}
	return refuse_line_end(c, p, what);
}

/* Exact because no token byte but the letter itself and its upper case gives the letter when bit 5 is set. */
static inline bool token_is(struct slice token, struct slice lower)
{
	if (token.n != lower.n)
		return false;
	for (size_t i = 0; i < lower.n; i++) {
		if ((token.p[i] | 0x20) != lower.p[i])
			return false;
	}
	return true;
}

/* Whether a tab is among the white space behind a value: some parsers take it for a part of the value. */
static bool has_tab_behind(struct slice value)
{
	const char *p = value.p + value.n;

	while (*p == ' ')
		p++;
	return *p == '\t';
}

static int note_length(struct cursor *c, struct slice value)
{
	int64_t n = 0;

	if (c->head->content_length >= 0)
		return BAD(c, "there is more than one Content-Length");
	if (has_tab_behind(value))
		return BAD(c, "a tab follows the value of Content-Length");
	if (value.n == 0 || value.n > MAX_LENGTH_DIGITS)
		return BAD(c, "Content-Length must have 1 to %d digits, this one is %zu bytes long", MAX_LENGTH_DIGITS,
			   value.n);
	for (size_t i = 0; i < value.n; i++) {
		unsigned digit = (unsigned)(unsigned char)value.p[i] - '0';

		if (digit > 9)
			return BAD(c, "Content-Length is not a decimal number");
		n = n * 10 + digit;
	}
	c->head->content_length = n;
	return 0;
}

static int note_coding(struct cursor *c, struct slice value)
{
	if (c->n_codings++ > 0)
		return BAD(c, "there is more than one Transfer-Encoding");
	if (has_tab_behind(value))
		return BAD(c, "a tab follows the value of Transfer-Encoding");
	if (value.n == 0)
		return BAD(c, "Transfer-Encoding is empty");
	if (!token_is(value, SLICE_LIT("chunked")))
		return REFUSE(c, E_UNSUPPORTED, 501, "the transfer coding is not 'chunked', the only one spoken here");
	c->head->chunked = true;
	return 0;
}

/* Codings over each other would stand in one list: whoever reads the value refuses those. */
static int note_content_coding(struct cursor *c, struct slice value)
{
	if (c->head->status > 0)
		return 0; /* whoever reads an answer looks at all of them */
	if (c->head->content_coding.p)
		return BAD(c, "there is more than one Content-Encoding");
	c->head->content_coding = value;
	return 0;
}

/* An answer may say Host; it means nothing there. */
static int note_host(struct cursor *c, struct slice value)
{
	if (c->head->status > 0)
		return 0;
	if (c->n_hosts++ > 0)
		return BAD(c, "there is more than one Host");
	if (scan_class(value.p, value.p + value.n, HOST) != value.p + value.n)
		return BAD(c, "Host is not a host name with an optional port");
	return 0;
}

static void note_connection(struct cursor *c, struct slice value)
{
	struct slice option;

	while (slice_split(&value, ',', &option)) {
		option = slice_trim(option);
		if (token_is(option, SLICE_LIT("close")))
			c->close = true;
		else if (token_is(option, SLICE_LIT("keep-alive")))
			c->keep_alive = true;
	}
}

/* The headers that say how the message is framed and packed, and what becomes of the connection. */
static inline int note_header(struct cursor *c, const struct http_header *h)
{
	switch (h->name.n) {
	case 4:
		if (token_is(h->name, SLICE_LIT("host")))
			return note_host(c, h->value);
		break;
	case 6:
		if (token_is(h->name, SLICE_LIT("expect")) && slice_eq_nocase(h->value, SLICE_LIT("100-continue")))
			c->head->expect_continue = c->head->minor == 1;
		break;
	case 10:
		if (token_is(h->name, SLICE_LIT("connection")))
			note_connection(c, h->value);
		break;
	case 14:
		if (token_is(h->name, SLICE_LIT("content-length")))
			return note_length(c, h->value);
		break;
	case 16:
		if (token_is(h->name, SLICE_LIT("content-encoding")))
			return note_content_coding(c, h->value);
		break;
	case 17:
		if (token_is(h->name, SLICE_LIT("transfer-encoding")))
			return note_coding(c, h->value);
		break;
	default:
		break;
	}
	return 0;
}

/* p is where the colon has to be. */
__attribute__((cold)) static int refuse_name(struct cursor *c, const char *name, const char *p)
{
	size_t line = c->head->n_headers + 1;

	if (p == c->end)
		return need_more(c);
	if (p == name && (*p == ' ' || *p == '\t'))
		return BAD(c, "header line %zu begins with white space (obsolete line folding)", line);
	if (p == name && *p == ':')
		return BAD(c, "header line %zu has no name before its colon", line);
	if (p == name && *p == '\n')
		return BAD(c, "header line %zu is a bare line feed; lines end in CR LF", line);
	if (*p == ' ' || *p == '\t')
		return BAD(c, "header line %zu has white space before its colon", line);
	if (*p == '\r' || *p == '\n')
		return BAD(c, "header line %zu has no colon", line);
	return BAD(c, "the name in header line %zu holds the byte 0x%02x, which is not allowed there", line,
		   (unsigned char)*p);
}

static inline int parse_header(struct cursor *c)
{
	struct http_header *h = &c->head->header[c->head->n_headers];
	const char *name = c->p, *p = scan_token(name, c->end), *value;
	int rc;

	if (UNLIKELY(p == c->end || *p != ':' || p == name))
		return refuse_name(c, name, p);
	h->name = (struct slice){name, (size_t)(p - name)};
	for (p++; p < c->end && (*p == ' ' || *p == '\t');)
		p++;
	value = p;
	p = scan_value(p, c->end);
	rc = take_line_end(c, p, "a header value");
	if (UNLIKELY(rc < 0))
		return rc;
	while (p > value && (p[-1] == ' ' || p[-1] == '\t'))
		p--;
	h->value = (struct slice){value, (size_t)(p - value)};
	c->head->n_headers++;
	return note_header(c, h);
}

/* Header lines up to and with the blank line. */
static int parse_headers(struct cursor *c)
{
	while (c->p < c->end && *c->p != '\r') {
		int rc;

		if (UNLIKELY(c->head->n_headers == HTTP_MAX_HEADERS))
			return REFUSE(c, E_TOOBIG, 431, "there are more than %d headers", HTTP_MAX_HEADERS);
		rc = parse_header(c);
		if (UNLIKELY(rc < 0))
			return rc;
	}
	return take_line_end(c, c->p, "the blank line after the headers");
}

/* What the headers say together. */
static int check_framing(struct cursor *c)
{
	struct http_head *h = c->head;

	if (h->chunked && h->content_length >= 0)
		return BAD(c, "Content-Length and Transfer-Encoding are both given");
	if (h->chunked && h->minor == 0)
		return BAD(c, "Transfer-Encoding does not exist in HTTP/1.0");
	h->keep_alive = !c->close && (h->minor == 1 || c->keep_alive);
	return 0;
}

/* "HTTP/1.1" or "HTTP/1.0" at p. */
static inline int parse_version(struct cursor *c, const char *p)
{
	static const char name[] = "HTTP/";
	size_t have = (size_t)(c->end - p);

	if (UNLIKELY(memcmp(p, name, min_size(have, 5)) != 0))
		return BAD(c, "the version of HTTP is missing or malformed");
	if (UNLIKELY(have < 8))
		return need_more(c);
	if (LIKELY(p[5] == '1' && p[6] == '.' && (p[7] == '1' || p[7] == '0'))) {
		c->head->minor = p[7] - '0';
		return 0;
	}
	if (p[5] < '0' || p[5] > '9' || p[6] != '.' || p[7] < '0' || p[7] > '9')
		return BAD(c, "the version of HTTP is missing or malformed");
	return REFUSE(c, E_UNSUPPORTED, 505, "HTTP/%c.%c is not spoken here, use HTTP/1.1", p[5], p[7]);
}

static enum http_method method_from(struct slice name)
{
	switch (name.n) {
	case 3:
		return slice_eq(name, SLICE_LIT("GET"))	  ? HTTP_GET
		       : slice_eq(name, SLICE_LIT("PUT")) ? HTTP_PUT
							  : HTTP_OTHER;
	case 4:
		return slice_eq(name, SLICE_LIT("POST"))   ? HTTP_POST
		       : slice_eq(name, SLICE_LIT("HEAD")) ? HTTP_HEAD
							   : HTTP_OTHER;
	case 5:
		return slice_eq(name, SLICE_LIT("PATCH")) ? HTTP_PATCH : HTTP_OTHER;
	case 6:
		return slice_eq(name, SLICE_LIT("DELETE")) ? HTTP_DELETE : HTTP_OTHER;
	case 7:
		return slice_eq(name, SLICE_LIT("OPTIONS")) ? HTTP_OPTIONS : HTTP_OTHER;
	default:
		return HTTP_OTHER;
	}
}

/* The target from p to the space after it; *ret_end is that space. */
static inline int parse_target(struct cursor *c, const char *p, const char **ret_end)
{
	struct http_head *h = c->head;
	const char *start = p, *mark;

	p = mark = scan_class(p, c->end, TARGET);
	while (p < c->end && *p == '?')
		p = scan_class(p + 1, c->end, TARGET);
	if (p == c->end)
		return need_more(c);
	if (UNLIKELY(*p != ' '))
		return *p == '\r' || *p == '\n' ? BAD(c, "the request line has no version")
						: BAD(c,
						      "the request target holds the byte 0x%02x, which is not allowed "
						      "there",
						      (unsigned char)*p);
	h->target = (struct slice){start, (size_t)(p - start)};
	h->path = (struct slice){start, (size_t)(mark - start)};
	if (mark < p)
		h->query = (struct slice){mark + 1, (size_t)(p - mark - 1)};
	*ret_end = p;
	return 0;
}

/*
 * "http://host/path": what proxies are asked, and servers have to understand too (RFC 9112, section 3.2.2).  Its host
 * takes the place of Host; nothing here goes by either.  Without a path it is "/": the scheme's own last slash.
 */
static int take_absolute(struct cursor *c, size_t scheme)
{
	struct http_head *h = c->head;
	struct slice rest = slice_sub(h->path, scheme, h->path.n);
	ptrdiff_t slash = slice_chr(rest, '/');
	struct slice host = slice_sub(rest, 0, slash < 0 ? rest.n : (size_t)slash);

	if (!host.n || scan_class(host.p, host.p + host.n, HOST) != host.p + host.n)
		return BAD(c, "the request target names no host");
	h->path = slash < 0 ? slice_sub(h->target, scheme - 1, 1) : slice_sub(rest, (size_t)slash, rest.n);
	return 0;
}

static size_t scheme_of(struct slice target)
{
	return slice_eq_nocase(slice_sub(target, 0, 7), SLICE_LIT("http://"))	 ? 7
	       : slice_eq_nocase(slice_sub(target, 0, 8), SLICE_LIT("https://")) ? 8
										 : 0;
}

static int check_target(struct cursor *c)
{
	struct http_head *h = c->head;

	if (LIKELY(h->target.n > 0 && h->target.p[0] == '/' && !slice_eq(h->method_name, SLICE_LIT("CONNECT"))))
		return 0;
	if (slice_eq(h->target, SLICE_LIT("*")) && h->method == HTTP_OPTIONS)
		return 0;
	if (scheme_of(h->target) && !slice_eq(h->method_name, SLICE_LIT("CONNECT")))
		return take_absolute(c, scheme_of(h->target));
	return BAD(c, "the request target must be a path that begins with '/'");
}

static int parse_request_line(struct cursor *c)
{
	struct http_head *h = c->head;
	const char *start = c->p, *p = scan_class(start, c->end, TOKEN);
	int rc;

	if (p == c->end)
		return need_more(c);
	if (UNLIKELY(*p != ' ' || p == start))
		return BAD(c, "the request does not begin with a method and one space");
	h->method_name = (struct slice){start, (size_t)(p - start)};
	h->method = method_from(h->method_name);
	rc = parse_target(c, p + 1, &p);
	if (rc < 0)
		return rc;
	rc = parse_version(c, p + 1);
	if (rc < 0)
		return rc;
	rc = take_line_end(c, p + 9, "the request line");
	return rc < 0 ? rc : check_target(c);
}

static int parse_status_line(struct cursor *c)
{
	struct http_head *h = c->head;
	const char *p = c->p, *reason;
	int rc = parse_version(c, p);

	if (rc < 0)
		return rc;
	p += 8;
	if (p < c->end && *p != ' ')
		return BAD(c, "the status line has no space after its version");
	for (int i = 1; i <= 3; i++) {
		if (p + i >= c->end)
			return need_more(c);
		if (p[i] < '0' || p[i] > '9')
			return BAD(c, "the status is not a number of three digits");
		h->status = h->status * 10 + (p[i] - '0');
	}
	p += 4;
	if (h->status < 100)
		return BAD(c, "the status is below 100");
	if (p < c->end && *p == ' ') {
		reason = p + 1;
		p = scan_value(reason, c->end);
		h->reason = (struct slice){reason, (size_t)(p - reason)};
	}
	return take_line_end(c, p, "the status line");
}

/* Robustness of RFC 9112, section 2.2: blank lines in front of a request, bounded here. */
static int skip_blank_lines(struct cursor *c)
{
	for (int i = 0; c->p < c->end && *c->p == '\r'; i++) {
		int rc;

		if (i == MAX_LEADING_BLANK_LINES)
			return BAD(c, "there are more than %d blank lines before the request", MAX_LEADING_BLANK_LINES);
		rc = take_line_end(c, c->p, "a blank line before the request");
		if (rc < 0)
			return rc;
	}
	return 0;
}

/*
 * Whether it is time to parse, when bytes before `seen` were parsed once and found to be a good beginning: the blank
 * line is there, or a fault that need not wait for it.  Only the new bytes are looked at, so that a head that comes
 * byte by byte costs twice its length and not its square.  A blank line before the request looks like the end as well;
 * that costs one parse.
 */
static bool worth_parsing(struct slice in, size_t seen)
{
	const char *end = in.p + in.n, *p = in.p + seen;

	if (in.n >= HTTP_MAX_HEAD_BYTES || seen <= MAX_LEADING_BYTES)
		return true;
	while ((p = memchr(p, '\n', (size_t)(end - p)))) {
		if (p[-1] != '\r' || (p[-2] == '\n' && p[-3] == '\r'))
			return true;
		p++;
	}
	return false;
}

/* Everything but the array of headers. */
static void head_init(struct http_head *h)
{
	const struct slice absent = {NULL, 0};

	h->method = HTTP_OTHER;
	h->method_name = h->target = h->path = h->query = h->reason = h->content_coding = absent;
	h->status = h->minor = h->refuse_status = 0;
	h->n_headers = h->head_bytes = 0;
	h->content_length = -1;
	h->chunked = h->keep_alive = h->expect_continue = false;
}

static inline void cursor_init(struct cursor *c, struct slice in, struct http_head *ret, struct err *err)
{
	*c = (struct cursor){
		.p = in.p,
		.end = in.p + min_size(in.n, HTTP_MAX_HEAD_BYTES),
		.at_limit = in.n >= HTTP_MAX_HEAD_BYTES,
		.head = ret,
		.err = err,
	};
}

int http_parse_request(struct slice in, size_t seen, struct http_head *ret, struct err *err)
{
	struct cursor c;
	int rc;

	head_init(ret);
	if (in.n == 0 || (seen > 0 && !worth_parsing(in, min_size(seen, in.n))))
		return E_AGAIN;
	cursor_init(&c, in, ret, err);
	if (UNLIKELY(*c.p == '\r')) {
		rc = skip_blank_lines(&c);
		if (rc < 0)
			return rc;
	}
	rc = parse_request_line(&c);
	if (rc < 0)
		return rc;
	rc = parse_headers(&c);
	if (rc < 0)
		return rc;
	if (UNLIKELY(c.n_hosts == 0 && ret->minor == 1))
		return BAD(&c, "a request of HTTP/1.1 needs a Host");
	ret->head_bytes = (size_t)(c.p - in.p);
	return check_framing(&c);
}

int http_parse_response(struct slice in, size_t seen, struct http_head *ret, struct err *err)
{
	struct cursor c;
	int rc;

	head_init(ret);
	if (in.n == 0 || (seen > 0 && !worth_parsing(in, min_size(seen, in.n))))
		return E_AGAIN;
	cursor_init(&c, in, ret, err);
	rc = parse_status_line(&c);
	if (rc < 0)
		return rc;
	rc = parse_headers(&c);
	if (rc < 0)
		return rc;
	ret->head_bytes = (size_t)(c.p - in.p);
	return check_framing(&c);
}

static void move_slice(struct slice *s, const char *from, const char *to)
{
	if (s->p)
		s->p = to + (s->p - from);
}

void http_head_move(struct http_head *h, const char *from, const char *to)
{
	move_slice(&h->method_name, from, to);
	move_slice(&h->target, from, to);
	move_slice(&h->path, from, to);
	move_slice(&h->query, from, to);
	move_slice(&h->reason, from, to);
	move_slice(&h->content_coding, from, to);
	for (size_t i = 0; i < h->n_headers; i++) {
		move_slice(&h->header[i].name, from, to);
		move_slice(&h->header[i].value, from, to);
	}
}

struct slice http_header(const struct http_head *h, const char *name)
{
	struct slice want = slice_from(name);

	for (size_t i = 0; i < h->n_headers; i++) {
		if (token_is(h->header[i].name, want))
			return h->header[i].value;
	}
	return (struct slice){NULL, 0};
}

const char *http_method_name(enum http_method m)
{
	static const char *const names[] = {
		[HTTP_GET] = "GET",	[HTTP_HEAD] = "HEAD",	  [HTTP_POST] = "POST",	      [HTTP_PUT] = "PUT",
		[HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS", [HTTP_OTHER] = "",
	};

	return names[m];
}

const char *http_reason(int status)
{
	static const char *const reasons[] = {
		[100] = "Continue",
		[101] = "Switching Protocols",
		[103] = "Early Hints",
		[200] = "OK",
		[201] = "Created",
		[202] = "Accepted",
		[203] = "Non-Authoritative Information",
		[204] = "No Content",
		[205] = "Reset Content",
		[206] = "Partial Content",
		[207] = "Multi-Status",
		[300] = "Multiple Choices",
		[301] = "Moved Permanently",
		[302] = "Found",
		[303] = "See Other",
		[304] = "Not Modified",
		[307] = "Temporary Redirect",
		[308] = "Permanent Redirect",
		[400] = "Bad Request",
		[401] = "Unauthorized",
		[402] = "Payment Required",
		[403] = "Forbidden",
		[404] = "Not Found",
		[405] = "Method Not Allowed",
		[406] = "Not Acceptable",
		[408] = "Request Timeout",
		[409] = "Conflict",
		[410] = "Gone",
		[411] = "Length Required",
		[412] = "Precondition Failed",
		[413] = "Content Too Large",
		[414] = "URI Too Long",
		[415] = "Unsupported Media Type",
		[416] = "Range Not Satisfiable",
		[417] = "Expectation Failed",
		[421] = "Misdirected Request",
		[422] = "Unprocessable Content",
		[424] = "Failed Dependency",
		[425] = "Too Early",
		[426] = "Upgrade Required",
		[428] = "Precondition Required",
		[429] = "Too Many Requests",
		[431] = "Request Header Fields Too Large",
		[451] = "Unavailable For Legal Reasons",
		[499] = "Client Closed Request",
		[500] = "Internal Server Error",
		[501] = "Not Implemented",
		[502] = "Bad Gateway",
		[503] = "Service Unavailable",
		[504] = "Gateway Timeout",
		[505] = "HTTP Version Not Supported",
		[507] = "Insufficient Storage",
		[529] = "Overloaded",
	};

	if (status < 0 || (size_t)status >= COUNT_OF(reasons) || !reasons[status])
		return "";
	return reasons[status];
}
