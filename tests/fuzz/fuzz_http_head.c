/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the head of a request and of an answer.  What is accepted must lie inside the bytes, end where it says,
 * and be accepted byte by byte as well; what is refused must never pass when it comes in pieces.
 */
#include <stdint.h>
#include <stdlib.h>

#include "core/http/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef int parse_fn(struct slice in, size_t seen, struct http_head *ret, struct err *err);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void must_be_inside(struct slice part, struct slice in)
{
	must(!part.p || (part.p >= in.p && part.p + part.n <= in.p + in.n));
}

static void check_accepted(parse_fn *parse, struct slice in, const struct http_head *h)
{
	HTTP_HEAD(again);
	struct slice head = slice_sub(in, 0, h->head_bytes);

	must(h->head_bytes >= 4 && h->head_bytes <= in.n && h->head_bytes <= HTTP_MAX_HEAD_BYTES);
	must(slice_ends(head, SLICE_LIT("\r\n\r\n")));
	must(!(h->chunked && h->content_length >= 0));
	must_be_inside(h->method_name, head);
	must_be_inside(h->target, head);
	must_be_inside(h->path, h->target);
	must_be_inside(h->query, h->target);
	must_be_inside(h->reason, head);
	for (size_t i = 0; i < h->n_headers; i++) {
		must_be_inside(h->header[i].name, head);
		must_be_inside(h->header[i].value, head);
		must(h->header[i].name.n > 0 && slice_eq(slice_trim(h->header[i].value), h->header[i].value));
		must(!memchr(h->header[i].value.p, '\r', h->header[i].value.n));
		must(!memchr(h->header[i].value.p, '\n', h->header[i].value.n));
	}
	must(parse(head, 0, &again, NULL) == 0 && again.head_bytes == h->head_bytes);
	must(parse(slice_sub(head, 0, head.n - 1), 0, &again, NULL) == E_AGAIN);
}

static void check_one(parse_fn *parse, struct slice in)
{
	HTTP_HEAD(whole);
	HTTP_HEAD(part);
	struct err err = {0};
	int rc = parse(in, 0, &whole, &err), rc_part = E_AGAIN;
	size_t n = 0;

	must(rc == 0 || rc == E_AGAIN || (whole.refuse_status >= 400 && err.code == rc && err.text[0]));
	if (rc == 0)
		check_accepted(parse, in, &whole);
	while (n < in.n && rc_part == E_AGAIN) {
		n++;
		rc_part = parse(slice_sub(in, 0, n), n - 1, &part, NULL);
	}
	must(rc_part == rc || (rc_part == E_AGAIN && rc != 0));
	if (rc == 0)
		must(n == whole.head_bytes && part.n_headers == whole.n_headers &&
		     part.content_length == whole.content_length && part.keep_alive == whole.keep_alive);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = {(const char *)data, size};

	check_one(http_parse_request, in);
	check_one(http_parse_response, in);
	return 0;
}
