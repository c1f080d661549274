/* SPDX-License-Identifier: Apache-2.0 */
/* What an application's name for a record makes of it. */
#include "serving/gateway/log_id.h"

#include "core/base/clock.h"
#include "core/base/err.h"
#include "t.h"

#define S(x) SLICE_LIT(x)
#define V7 "019ab3c4-5d6e-7f80-9a0b-1c2d3e4f5061"
#define V4 "6fa459ea-ee8a-4ca4-894e-db77e160355e"
#define V7_US (INT64_C(0x019ab3c45d6e) * 1000)
#define NOW (V7_US + 5000000)
#define AT "2025-01-01T00:00:00Z"

static int take(struct log_name n, struct log_record *r, const char **ret_param)
{
	struct err err = {0};
	int rc;

	*r = (struct log_record){.created_us = NOW};
	if (n.created_at.p)
		CHECK_INT(clock_parse(n.created_at, NOW, &r->created_us), 0);
	rc = log_id_take(&n, NOW, r, ret_param, &err);
	if (rc)
		CHECK(rc == E_INVALID && err.text[0]);
	return rc;
}

static const struct {
	struct log_name name;
	const char *param; /* NULL: it is taken */
} cases[] = {
	{{.id = S(V7)}, NULL},
	{{.key = S(V7)}, NULL},
	{{.id = S(V7), .key = S(V7)}, NULL},
	{{.id = S(V4), .created_at = S(AT)}, NULL},
	{{.key = S("order-17"), .created_at = S(AT)}, NULL},
	{{.id = S(V4)}, "id"},
	{{.key = S("order-17")}, "Idempotency-Key"},
	{{.id = S("order-17"), .created_at = S(AT)}, "id"},
	{{.id = S("")}, "id"},
	{{.key = S("")}, "Idempotency-Key"},
	{{.key = S("two words"), .created_at = S(AT)}, "Idempotency-Key"},
	{{.id = S(V7), .key = S(V4)}, "id"},
	{{.id = S(V7), .created_at = S("5m")}, "created_at"},
	{{.id = S("019ab9c4-5d6e-7f80-9a0b-1c2d3e4f5061")}, "id"}, /* years ahead */
	{{.id = S(V4), .created_at = S("2999-01-01")}, "created_at"},
};

TEST(a_name_is_taken_when_it_says_a_time)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *param = "";
		struct log_record r;
		int rc = take(cases[i].name, &r, &param);

		CHECK_INT(rc, cases[i].param ? E_INVALID : 0);
		if (cases[i].param)
			CHECK_STR(param, cases[i].param);
		CHECK(uuid_is_nil(&r.id) == (rc != 0));
	}
}

TEST(the_same_name_is_the_same_id_and_any_other_another)
{
	const struct log_name names[] = {
		{.id = S(V7), .caller = S("a")},
		{.id = S(V7), .caller = S("b")},
		{.id = S("019ab3c4-5d6e-7f80-9a0b-1c2d3e4f5062"), .caller = S("a")},
		{.id = S(V7), .caller = S("a"), .created_at = S(AT)},
		{.id = S(V7), .caller = S("a"), .created_at = S("2025-01-01T00:00:00.000001Z")},
		{.key = S("x"), .caller = S("a"), .created_at = S(AT)},
		{.key = S("xa"), .caller = S(""), .created_at = S(AT)},
	};
	struct log_record r[COUNT_OF(names)], again;
	const char *param;

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		CHECK_INT(take(names[i], &r[i], &param), 0);
		CHECK_INT(take(names[i], &again, &param), 0);
		CHECK(!memcmp(&r[i].id, &again.id, sizeof(again.id)) && r[i].created_us == again.created_us);
		for (size_t k = 0; k < i; k++)
			CHECK(memcmp(&r[i].id, &r[k].id, sizeof(r[i].id)) != 0);
	}
	/* As a member or a header, in capitals or not. */
	CHECK_INT(take((struct log_name){.key = S("019AB3C4-5D6E-7F80-9A0B-1C2D3E4F5061"), .caller = S("a")}, &again,
		       &param),
		  0);
	CHECK(!memcmp(&r[0].id, &again.id, sizeof(again.id)));
}

TEST(an_id_begins_with_the_moment_of_its_record_and_is_none_of_ours)
{
	struct log_record r;
	const char *param;
	char text[UUID_STR_SIZE];

	CHECK_INT(take((struct log_name){.id = S(V7)}, &r, &param), 0);
	CHECK_INT(r.created_us, V7_US);
	CHECK(!strncmp(uuid_format(&r.id, text), "019ab3c4-5d6e-8", 15));
}

TEST(a_record_without_a_name_keeps_its_own)
{
	struct log_record r = {.created_us = 7}, before = r;
	struct log_name none = {.caller = S("a"), .created_at = S("5m")};
	const char *param;

	CHECK_INT(log_id_take(&none, NOW, &r, &param, NULL), 0);
	CHECK(!memcmp(&r.id, &before.id, sizeof(r.id)) && r.created_us == 7);
}
