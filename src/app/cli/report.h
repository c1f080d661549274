/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A document for people: sections of tables, lists and charts, and three ways to write it.  The words in it come from
 * anywhere; each writer makes them harmless in its own form, and nothing else does.
 */
#pragma once
#include "app/cli/out.h"
#include "core/base/buf.h"

#define REPORT_MAX_SECTIONS 12
#define REPORT_MAX_CHARTS 4

struct report_column {
	const char *title;
	bool right;	  /* numbers */
	size_t min_width; /* a terminal may shorten it to that; 0: never */
	unsigned drop;	  /* a narrow terminal goes without the highest first; 0: never */
};

struct report_table {
	const struct report_column *columns;
	size_t n_columns, n_rows;
	const struct cell *cells; /* row by row */
};

struct report_item { /* of a list */
	enum style style;
	const char *mark; /* a word */
	struct slice about, text, command;
};

struct report_chart {
	const char *title, *unit; /* unit: "" for a number of things */
	const double *values;	  /* NaN: nothing was measured */
	size_t n;
	int64_t start_us, step_us;
	bool line;  /* else bars */
	bool alarm; /* what it counts is bad */
};

struct report_section {
	const char *title;
	const char *none; /* what is said when there is neither a row nor an item */
	struct slice note;
	struct report_table table;
	const struct report_item *items;
	size_t n_items;
	struct report_chart charts[REPORT_MAX_CHARTS];
	size_t n_charts;
};

struct report {
	struct slice title, subtitle;
	struct report_section sections[REPORT_MAX_SECTIONS];
	size_t n;
};

struct report_section *report_add(struct report *r, const char *title, const char *none);

/* utf8: sparklines of blocks, else of ASCII. */
void report_terminal(struct out *o, const struct report *r, bool utf8);
void report_markdown(struct buf *b, const struct report *r);
/* One file that needs no other: no script, nothing loaded; light or dark as the reader has it. */
void report_html(struct buf *b, const struct report *r);

/* The parts of it that are tested alone. */
void report_sparkline(struct buf *b, const struct report_chart *c, bool utf8);
void report_html_text(struct buf *b, struct slice s);
void report_markdown_text(struct buf *b, struct slice s);
void report_svg(struct buf *b, const struct report_chart *c, const char *id);
/* "1,234", "412 ms", "1.24 s", "0.11 %": in a buffer of this size. */
#define REPORT_NUMBER_SIZE 48
char *report_count(double n, char text[REPORT_NUMBER_SIZE]);
char *report_ms(double ms, char text[REPORT_NUMBER_SIZE]);
char *report_percent(double share, char text[REPORT_NUMBER_SIZE]);
char *report_money(double v, char text[REPORT_NUMBER_SIZE]); /* two decimals; below 1, two figures */
/* The largest value, 0 when there is none. */
double report_peak(const struct report_chart *c, size_t *ret_at);
/* A value of the chart with its unit. */
char *report_value(const struct report_chart *c, double v, char text[REPORT_NUMBER_SIZE]);
/* "2026-11-23 14:00" UTC. */
char *report_utc(int64_t at_us, char text[REPORT_NUMBER_SIZE]);
