/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chart over time as inline SVG: bars for numbers of things, a line for durations, one y axis from 0 with its unit,
 * times in UTC below.  Where nothing was measured there is a gap.  Its colours are classes of the page.
 */
#include <math.h>

#include "app/cli/report.h"

#define WIDTH 720
#define HEIGHT 150
#define LEFT 70 /* room for the labels of the y axis */
#define TOP 24
#define BOTTOM 24
#define PLOT_WIDTH (WIDTH - LEFT - 10)
#define PLOT_HEIGHT (HEIGHT - TOP - BOTTOM)

/* The end of the axis: 1, 2 or 5 times a power of ten, not below the peak. */
static double axis_end(double peak)
{
	double step = 1;

	if (peak <= 0)
		return 1;
	while (step > peak)
		step /= 10;
	while (step * 10 <= peak)
		step *= 10;
	return peak <= step ? step : peak <= 2 * step ? 2 * step : peak <= 5 * step ? 5 * step : 10 * step;
}

static double x_of(const struct report_chart *c, double i)
{
	return LEFT + PLOT_WIDTH * i / (double)(c->n ? c->n : 1);
}

static double y_of(double v, double end)
{
	return TOP + PLOT_HEIGHT * (1 - v / end);
}

static void add_axes(struct buf *b, const struct report_chart *c, double end)
{
	char text[REPORT_NUMBER_SIZE];

	for (int i = 0; i <= 2; i++) {
		double y = y_of(end * i / 2, end);

		buf_printf(b, "<line class=\"g\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>", LEFT, y,
			   LEFT + PLOT_WIDTH, y);
		if (i == 1 && !*c->unit && end < 2)
			continue; /* there are no halves of things */
		buf_printf(b, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", LEFT - 6, y + 4,
			   i ? report_value(c, end * i / 2, text) : "0");
	}
	for (int i = 0; i <= 2; i++) {
		static const char *const anchors[] = {"start", "middle", "end"};

		buf_printf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\">%s%s</text>\n", LEFT + PLOT_WIDTH * i / 2,
			   HEIGHT - 7, anchors[i], report_utc(c->start_us + c->step_us * (int64_t)c->n * i / 2, text),
			   i == 2 ? " UTC" : "");
	}
}

static void add_bars(struct buf *b, const struct report_chart *c, double end)
{
	double width = fmax(1, PLOT_WIDTH / (double)(c->n ? c->n : 1) - 2);

	for (size_t i = 0; i < c->n; i++) {
		double v = c->values[i];
		char at[REPORT_NUMBER_SIZE], text[REPORT_NUMBER_SIZE];

		if (!(v > 0))
			continue;
		buf_printf(b,
			   "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%s: "
			   "%s</title></rect>\n",
			   c->alarm ? "a" : "b", x_of(c, (double)i) + 1, y_of(v, end), width, PLOT_HEIGHT * v / end,
			   report_utc(c->start_us + c->step_us * (int64_t)i, at), report_value(c, v, text));
	}
}

static void add_line(struct buf *b, const struct report_chart *c, double end)
{
	for (size_t i = 0; i < c->n;) {
		size_t first = i;

		while (i < c->n && !isnan(c->values[i]))
			i++;
		if (i > first + 1) {
			buf_adds(b, "<polyline class=\"l\" points=\"");
			for (size_t k = first; k < i; k++)
				buf_printf(b, "%s%.1f,%.1f", k > first ? " " : "", x_of(c, (double)k + 0.5),
					   y_of(c->values[k], end));
			buf_adds(b, "\"/>\n");
		}
		for (size_t k = first; k < i; k++) {
			char at[REPORT_NUMBER_SIZE], text[REPORT_NUMBER_SIZE];

			buf_printf(
				b,
				"<circle class=\"b\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>%s: %s</title></circle>\n",
				x_of(c, (double)k + 0.5), y_of(c->values[k], end),
				report_utc(c->start_us + c->step_us * (int64_t)k, at),
				report_value(c, c->values[k], text));
		}
		if (i == first)
			i++;
	}
}

/* The unit of a bar: how long it stands for. */
static void add_per(struct buf *b, int64_t minutes)
{
	bool days = minutes % 1440 == 0, hours = minutes % 60 == 0;
	long long n = days ? minutes / 1440 : hours ? minutes / 60 : minutes;
	const char *unit = days ? "day" : hours ? "hour" : "minute";

	if (n == 1)
		buf_printf(b, " per %s", unit);
	else
		buf_printf(b, " per %lld %ss", n, unit);
}

void report_svg(struct buf *b, const struct report_chart *c, const char *id)
{
	char from[REPORT_NUMBER_SIZE], most[REPORT_NUMBER_SIZE], when[REPORT_NUMBER_SIZE];
	size_t at;
	double peak = report_peak(c, &at), end = axis_end(peak);

	buf_printf(
		b,
		"<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"%s-t %s-d\">\n<title id=\"%s-t\">%s</title>",
		WIDTH, HEIGHT, id, id, id, c->title);
	buf_printf(b, "<desc id=\"%s-d\">From %s UTC on, the most is %s at %s UTC.</desc>\n", id,
		   report_utc(c->start_us, from), report_value(c, peak, most),
		   report_utc(c->start_us + c->step_us * (int64_t)at, when));
	buf_printf(b, "<text class=\"t\" x=\"%d\" y=\"14\">%s", LEFT, c->title);
	if (!c->line)
		add_per(b, c->step_us / 60000000);
	buf_adds(b, "</text>\n");
	add_axes(b, c, end);
	if (c->line)
		add_line(b, c, end);
	else
		add_bars(b, c, end);
	buf_adds(b, "</svg>\n");
}
