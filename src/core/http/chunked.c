/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunked decoder: a state machine over the bytes between payloads, and runs of payload handed out where they
 * stand.
 *
 * What would break it: finding the end of the message anywhere else than another implementation does.  So lines end in
 * CR LF only, a size is hexadecimal digits only, white space is allowed only in front of an extension's ';', and a
 * trailer begins with neither white space nor a control byte.
 */
#include "core/http/chunked.h"

#include "core/base/util.h"

#define PLAIN_DIGITS 8 /* of a size that no limit refuses */

enum chunked_state {
	CHUNKED_SIZE_FIRST, /* the first digit of a size */
	CHUNKED_SIZE,
	CHUNKED_SPACE, /* white space that an extension has to follow */
	CHUNKED_EXTENSION,
	CHUNKED_SIZE_LF,
	CHUNKED_DATA,
	CHUNKED_DATA_CR,
	CHUNKED_DATA_LF,
	CHUNKED_TRAILER_FIRST, /* the first byte of a trailer line, or the CR of the blank line */
	CHUNKED_TRAILER,
	CHUNKED_TRAILER_LF,
	CHUNKED_LAST_LF,
	CHUNKED_DONE,
	CHUNKED_INVALID,
	CHUNKED_TOOBIG,
};

void chunked_init(struct chunked *c)
{
	*c = (struct chunked){.state = CHUNKED_SIZE_FIRST};
}

static int invalid(struct chunked *c, struct err *err, const char *what, unsigned char byte)
{
	c->state = CHUNKED_INVALID;
	return err_set(err, E_INVALID, "chunked body: %s expected, the byte 0x%02x found", what, byte);
}

static int too_big(struct chunked *c, struct err *err, const char *what)
{
	c->state = CHUNKED_TOOBIG;
	return err_set(err, E_TOOBIG, "chunked body: %s", what);
}

static int hex_digit(unsigned char b)
{
	if (b >= '0' && b <= '9')
		return b - '0';
	b |= 0x20;
	return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

static bool is_text(unsigned char b)
{
	return (b >= ' ' && b != 0x7f) || b == '\t';
}

/* A byte of the size line, up to its CR. */
static int step_size(struct chunked *c, unsigned char b, struct err *err)
{
	int digit = hex_digit(b);

	if (digit >= 0) {
		c->left = c->left * 16 + (unsigned)digit;
		if (c->left > CHUNKED_MAX_CHUNK_BYTES)
			return too_big(c, err, "a chunk is larger than 2^40 bytes");
		c->state = CHUNKED_SIZE;
		return 0;
	}
	if (c->state == CHUNKED_SIZE_FIRST)
		return invalid(c, err, "a chunk size", b);
	if (b == '\r')
		c->state = CHUNKED_SIZE_LF;
	else if (b == ';')
		c->state = CHUNKED_EXTENSION;
	else if (b == ' ' || b == '\t')
		c->state = CHUNKED_SPACE;
	else
		return invalid(c, err, "the end of a chunk size", b);
	return 0;
}

static int step_extension(struct chunked *c, unsigned char b, struct err *err)
{
	if (c->state == CHUNKED_SPACE) {
		if (b == ';')
			c->state = CHUNKED_EXTENSION;
		else if (b != ' ' && b != '\t')
			return invalid(c, err, "a chunk extension", b);
		return 0;
	}
	if (b == '\r')
		c->state = CHUNKED_SIZE_LF;
	else if (!is_text(b))
		return invalid(c, err, "a chunk extension", b);
	return 0;
}

static int step_trailer(struct chunked *c, unsigned char b, struct err *err)
{
	if (b == '\r')
		c->state = c->state == CHUNKED_TRAILER_FIRST ? CHUNKED_LAST_LF : CHUNKED_TRAILER_LF;
	else if (!is_text(b) || (c->state == CHUNKED_TRAILER_FIRST && (b == ' ' || b == '\t')))
		return invalid(c, err, "a trailer", b);
	else
		c->state = CHUNKED_TRAILER;
	return 0;
}

static int step_line_feed(struct chunked *c, unsigned char b, struct err *err)
{
	if (b != '\n')
		return invalid(c, err, "a line feed after a carriage return", b);
	if (c->state == CHUNKED_LAST_LF) {
		c->state = CHUNKED_DONE;
	} else if (c->state == CHUNKED_TRAILER_LF) {
		c->state = CHUNKED_TRAILER_FIRST;
	} else if (c->state == CHUNKED_SIZE_LF) {
		c->state = c->left > 0 ? CHUNKED_DATA : CHUNKED_TRAILER_FIRST;
		c->line_bytes = 0;
	} else {
		c->state = CHUNKED_SIZE_FIRST;
		c->line_bytes = 0;
	}
	return 0;
}

/* One byte that is no payload. */
static int step(struct chunked *c, unsigned char b, struct err *err)
{
	c->line_bytes++;
	switch ((enum chunked_state)c->state) {
	case CHUNKED_SIZE_FIRST:
	case CHUNKED_SIZE:
		if (c->line_bytes > CHUNKED_MAX_LINE_BYTES)
			return too_big(c, err, "a chunk size is too long");
		return step_size(c, b, err);
	case CHUNKED_SPACE:
	case CHUNKED_EXTENSION:
		if (c->line_bytes > CHUNKED_MAX_LINE_BYTES)
			return too_big(c, err, "the extensions of a chunk are too long");
		return step_extension(c, b, err);
	case CHUNKED_TRAILER_FIRST:
	case CHUNKED_TRAILER:
		if (c->line_bytes > CHUNKED_MAX_TRAILER_BYTES)
			return too_big(c, err, "the trailers are too long");
		return step_trailer(c, b, err);
	case CHUNKED_DATA_CR:
		if (b != '\r')
			return invalid(c, err, "the line end after a chunk", b);
		c->state = CHUNKED_DATA_LF;
		return 0;
	case CHUNKED_SIZE_LF:
		if (c->line_bytes > CHUNKED_MAX_LINE_BYTES)
			return too_big(c, err, "the extensions of a chunk are too long");
		return step_line_feed(c, b, err);
	case CHUNKED_TRAILER_LF:
	case CHUNKED_LAST_LF:
		if (c->line_bytes > CHUNKED_MAX_TRAILER_BYTES)
			return too_big(c, err, "the trailers are too long");
		return step_line_feed(c, b, err);
	case CHUNKED_DATA_LF:
		return step_line_feed(c, b, err);
	case CHUNKED_DATA:
	case CHUNKED_DONE:
	case CHUNKED_INVALID:
	case CHUNKED_TOOBIG:
		break;
	}
	return 0;
}

static struct slice take(struct slice *in, size_t n)
{
	struct slice ret = {in->p, n};

	in->p += n;
	in->n -= n;
	return ret;
}

/*
 * What mostly stands between two payloads, when all of it is there: the line end of one chunk and the plain size of the
 * next.  Anything else is left to the states, which begin where this stops.
 */
static void skip_plain(struct chunked *c, struct slice *in)
{
	uint64_t size = 0;
	size_t i = 0;
	int digit;

	if (c->state == CHUNKED_DATA_CR && in->n >= 2 && in->p[0] == '\r' && in->p[1] == '\n') {
		(void)take(in, 2);
		c->state = CHUNKED_SIZE_FIRST;
		c->line_bytes = 0;
	}
	if (c->state != CHUNKED_SIZE_FIRST || c->line_bytes)
		return;
	for (; i < min_size(in->n, PLAIN_DIGITS) && (digit = hex_digit((unsigned char)in->p[i])) >= 0; i++)
		size = size * 16 + (unsigned)digit;
	if (!size || in->n - i < 2 || in->p[i] != '\r' || in->p[i + 1] != '\n')
		return;
	(void)take(in, i + 2);
	c->left = size;
	c->state = CHUNKED_DATA;
}

int chunked_next(struct chunked *c, struct slice *in, struct slice *ret_data, struct err *err)
{
	*ret_data = (struct slice){in->p, 0};
	if (c->state == CHUNKED_INVALID)
		return err_set(err, E_INVALID, "chunked body: it was refused before");
	if (c->state == CHUNKED_TOOBIG)
		return err_set(err, E_TOOBIG, "chunked body: it was refused before");
	skip_plain(c, in);
	while (in->n > 0 && c->state != CHUNKED_DATA && c->state != CHUNKED_DONE) {
		int rc = step(c, (unsigned char)take(in, 1).p[0], err);

		if (rc < 0)
			return rc;
	}
	if (c->state == CHUNKED_DONE)
		return 1;
	if (in->n > 0) {
		*ret_data = take(in, in->n < c->left ? in->n : (size_t)c->left);
		c->left -= ret_data->n;
		if (c->left == 0)
			c->state = CHUNKED_DATA_CR;
	}
	return 0;
}
