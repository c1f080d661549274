/* SPDX-License-Identifier: Apache-2.0 */
/* muster generate: one prompt, its answer as it comes. */
#include <stdlib.h>
#include <string.h>

#include "app/cli/cli_internal.h"

#define PROMPT_MAX (16u << 20)

/* A prompt of several words needs no quotes; "-" is standard input. */
static int read_prompt(struct cli *c, size_t from, const char **ret)
{
	struct slice text;
	struct buf b;
	int rc;

	if (c->args.n_operands == from + 1 && !strcmp(c->args.operands[from], "-")) {
		rc = cli_read_file(c, "-", PROMPT_MAX, &text);
		if (rc)
			return rc;
		if (strlen(text.p) != text.n)
			return cli_fail(c, "a prompt is text", "standard input holds a zero byte");
		if (text.n && text.p[text.n - 1] == '\n') /* echo's */
			text.n--;
		*ret = cli_printf(c, SLICE_FMT, SLICE_ARG(text)).p;
		return text.n ? 0
			      : cli_fail(c, "echo \"Once upon a time\" | muster generate foundation -",
					 "standard input is empty");
	}
	buf_init_arena(&b, &c->arena, PROMPT_MAX);
	for (size_t i = from; i < c->args.n_operands; i++) {
		buf_adds(&b, i > from ? " " : "");
		buf_adds(&b, c->args.operands[i]);
	}
	*ret = buf_cstr(&b);
	return buf_failed(&b) ? cli_fail(c, NULL, "the prompt has more than %u bytes", PROMPT_MAX) : 0;
}

/* "tiny@1.0 · 42 tokens · 310 ms · 0198b2..." under the answer, for people. */
static void print_facts(struct cli *c, const struct json *end, const struct muster_answer *a)
{
	const struct json *fallback = json_get(end, "fallback_used");
	struct slice name = slice_from(a->model), id = json_text(end, "log_id");
	struct buf b;

	buf_init_arena(&b, &c->arena, 1024);
	if (!name.n)
		name = json_text(end, "model_name");
	buf_add(&b, name.n ? name : SLICE_LIT("no model"));
	buf_printf(&b, "   %lld tokens   %lld ms", (long long)json_integer(end, "tokens_used", 0),
		   (long long)json_integer(end, "latency_ms", 0));
	if (fallback && fallback->type == JSON_BOOL && fallback->boolean)
		buf_printf(&b, "   fallback %s", a->fallback);
	if (a->guardrail[0] && strcmp(a->guardrail, "allow") != 0)
		buf_printf(&b, "   guardrail %s", a->guardrail);
	buf_printf(&b, "   log " SLICE_FMT, SLICE_ARG(id.n ? id : slice_from(a->log_id)));
	out_flush(&c->out);
	out_styled(&c->err, STYLE_DIM, buf_slice(&b));
	out_printf(&c->err, "\n");
}

/* Said even when nobody looks: this is no model's answer. */
static void print_fallback(struct cli *c, const struct muster_answer *a)
{
	if (strcmp(a->fallback, "content") != 0)
		return;
	out_flush(&c->out);
	out_printf(&c->err,
		   "muster: no model could answer: this is the fallback content\n        why: muster log show %s\n",
		   a->log_id);
}

/* --- as it comes --- */

struct streaming {
	struct cli *c;
	struct arena arena; /* of one event */
	struct slice end;   /* the last event, in the command's arena */
	bool printed, newline;
};

static int on_event(void *context, const char *json, size_t size)
{
	struct streaming *s = context;
	const struct json *done;
	struct json *root;
	struct slice text;

	if (s->c->json) {
		out_raw(&s->c->out, (struct slice){json, size});
		out_printf(&s->c->out, "\n");
		out_flush(&s->c->out);
		return 0;
	}
	arena_reset(&s->arena);
	if (json_parse_copy(s->c->parser, &s->arena, (struct slice){json, size}, NULL, &root, NULL))
		return 0; /* no piece of text: nothing to print */
	done = json_get(root, "done");
	if (done && done->type == JSON_BOOL && done->boolean)
		s->end = arena_slice(&s->c->arena, (struct slice){json, size});
	text = json_text(root, "text");
	if (text.n) {
		out_text(&s->c->out, text);
		out_flush(&s->c->out);
		s->printed = true;
		s->newline = text.p[text.n - 1] == '\n';
	}
	return 0;
}

static int stream(struct cli *c, const struct muster_prompt *prompt)
{
	struct streaming s = {.c = c};
	struct muster_answer a = {0};
	struct json *end = NULL;
	struct muster_error e;
	int rc;

	arena_init(&s.arena, 65536, 16u << 20);
	rc = muster_generate_stream(c->client, prompt, on_event, &s, &a, &e);
	arena_release(&s.arena);
	if (s.printed && !s.newline)
		out_printf(&c->out, "\n");
	if (rc == 0 && s.end.n && c->err.terminal &&
	    json_parse_copy(c->parser, &c->arena, s.end, NULL, &end, NULL) == 0)
		print_facts(c, end, &a);
	if (rc < 0)
		return cli_refused(c, &a, &e);
	print_fallback(c, &a);
	muster_answer_release(&a);
	return EXIT_WORKED;
}

/* --- whole --- */

static int whole(struct cli *c, const struct muster_prompt *prompt)
{
	const struct json *success;
	struct muster_answer a = {0};
	struct muster_error e;
	struct answer answer;
	struct slice text;
	int rc;

	if (muster_generate(c->client, prompt, &a, &e) < 0)
		return cli_refused(c, &a, &e);
	rc = cli_take_answer(c, &a, &answer);
	if (rc)
		return rc;
	if (c->json)
		return cli_print_json(c, &answer);
	text = json_text(answer.root, "text");
	out_text(&c->out, text);
	if (!text.n || text.p[text.n - 1] != '\n')
		out_printf(&c->out, "\n");
	if (c->err.terminal)
		print_facts(c, answer.root, &a);
	print_fallback(c, &a);
	success = json_get(answer.root, "success");
	return success && success->type == JSON_BOOL && !success->boolean
		       ? cli_fail(c, "the text above stands in for it", "the guardrails withheld the answer")
		       : EXIT_WORKED;
}

int generate_run(struct cli *c)
{
	bool named = args_has(&c->args, "model");
	double temperature = args_number(&c->args, "temperature", 0);
	struct muster_prompt prompt = {.model = args_get(&c->args, "model"),
				       .max_tokens = (long)args_integer(&c->args, "max-tokens", 0),
				       .temperature = args_has(&c->args, "temperature") ? &temperature : NULL};
	const struct json *context;
	bool as_it_comes = args_has(&c->args, "stream") || (c->out.terminal && !c->json);
	int rc = cli_json_option(c, "context", &context);

	if (!named && c->args.n_operands < 2)
		return cli_usage(c, "muster generate foundation \"Once upon a time\"",
				 "muster generate needs USE_CASE_OR_LAYER and PROMPT");
	if (!rc)
		rc = read_prompt(c, named ? 0 : 1, &prompt.prompt);
	if (!rc)
		rc = cli_connect(c);
	if (rc)
		return rc;
	if (context)
		prompt.context = cli_printf(c, SLICE_FMT, SLICE_ARG(context->raw)).p;
	if (!named)
		prompt.layer = c->args.operands[0];
	return as_it_comes && !args_has(&c->args, "no-stream") ? stream(c, &prompt) : whole(c, &prompt);
}
