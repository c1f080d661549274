/* SPDX-License-Identifier: Apache-2.0 */
/* The code of an expression's automaton: what pattern_parse.c writes and pattern_nfa.c runs. Jumps are relative. */
#pragma once
#include "serving/guardrail/pattern_nfa.h"

enum op { OP_SET, OP_SPLIT, OP_JUMP, OP_ASSERT, OP_ACCEPT };
enum assertion { AT_BEGIN, AT_LINE_BEGIN, AT_BORDER, AT_NO_BORDER, AT_LINE_END, AT_END_OR_NEWLINE, AT_END };

struct ins {
	uint8_t op, assertion;
	uint16_t set;
	int32_t x, y; /* OP_SPLIT: both targets, OP_JUMP: x; relative */
};

struct nfa {
	struct ins *code;
	uint32_t n_code;
	struct byte_set *sets;
	uint32_t n_sets;
	uint32_t min_width, max_width;
	unsigned late;
};
