/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that the command line prints goes through here: it knows whether people read it (a terminal: colour,
 * width, nothing that could move the cursor) or programs.
 */
#pragma once
#include <stdio.h>

#include "core/base/slice.h"
#include "core/base/util.h"

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_WARN, STYLE_BAD };

struct out {
	FILE *to;
	bool terminal; /* control characters are replaced */
	bool colour;
	size_t columns; /* 0: no limit */
};

/* Looks at the file, and at NO_COLOR, TERM and COLUMNS. */
void out_init(struct out *o, FILE *to);
/* Whether everything could be written; flushes. */
bool out_finish(struct out *o);
void out_flush(struct out *o);

void out_printf(struct out *o, const char *fmt, ...) PRINTF_LIKE(2, 3); /* our own words */
void out_text(struct out *o, struct slice s); /* words of others: made harmless on a terminal */
void out_raw(struct out *o, struct slice s);  /* bytes for programs, as they are */
void out_styled(struct out *o, enum style style, struct slice s);
void out_pad(struct out *o, size_t n);
/* Words wrapped at width, the first line continuing where it stands, the others indented. */
void out_wrapped(struct out *o, const char *text, size_t indent, size_t width);

/* Code points, and what is not UTF-8 byte by byte: the width of a text, near enough. */
size_t text_width(struct slice s);

#define TABLE_MAX_COLUMNS 16

struct column {
	const char *title;
	bool right;	  /* numbers */
	size_t min_width; /* 0: never shortened */
};

struct cell {
	struct slice text;
	enum style style;
};

/* Cells row by row, all texts alive until it is printed.  A title of NULL in the first column: no head line. */
void out_table(struct out *o, const struct column *columns, size_t n_columns, const struct cell *cells, size_t n_rows);
