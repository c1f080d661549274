/* SPDX-License-Identifier: Apache-2.0 */
/* How callers are divided while a deployment is under way: exact, without return, and other callers each time. */
#include <stdio.h>
#include <unistd.h>

#include "core/base/uuid.h"
#include "serving/snapshot/snapshot.h"
#include "t.h"

#define S(x) SLICE_LIT(x)
#define CALLERS 10000

static struct model model(uint8_t id, const char *name, enum model_status status)
{
	return (struct model){.id = {{0x01, 0x98, [15] = id}},
			      .name = slice_from(name),
			      .version = S("1"),
			      .use_case = S("u"),
			      .provider = S("ollama"),
			      .status = status};
}

static struct snapshot *build(unsigned share, uint8_t seed, uint8_t candidate)
{
	const struct model models[] = {model(1, "old", MODEL_CURRENT), model(2, "new", MODEL_TESTING)};
	const struct snapshot_deployment d = {
		.id = {{seed}}, .use_case = S("u"), .model_id = {{0x01, 0x98, [15] = candidate}}, .share = share};
	const struct snapshot_source src = {.models = models, .n_models = 2, .deployments = &d, .n_deployments = 1};
	struct snapshot *s = NULL;
	struct err err = {0};

	CHECK_INT(snapshot_build(&src, NULL, NULL, &s, &err), 0);
	return s;
}

enum form { FORM_USER, FORM_NUMBER, FORM_UUID, FORM_MAIL, N_FORMS };

static void write_key(char *key, size_t size, enum form form, int i)
{
	switch (form) {
	case FORM_USER:
		(void)snprintf(key, size, "user-%d", i);
		break;
	case FORM_NUMBER:
		(void)snprintf(key, size, "%d", i);
		break;
	case FORM_UUID:
		(void)snprintf(key, size, "019a%04x-%04d-7b1e-9f00-2b6f6c1d8e11", i * 7 % 65536, i % 10000);
		break;
	case FORM_MAIL:
	case N_FORMS:
		(void)snprintf(key, size, "someone.%d@example.org", i);
	}
}

static bool goes(const struct snapshot *s, enum form form, int i)
{
	char key[64];

	write_key(key, sizeof(key), form, i);
	return snapshot_splits_off(snapshot_use_case(s, S("u")), slice_from(key));
}

TEST(shares_are_exact_within_one_percent_of_ten_thousand_callers)
{
	static const unsigned shares[] = {0, 1, 5, 10, 25, 50, 75, 90, 99, 100};

	for (int f = 0; f < N_FORMS; f++)
		for (size_t k = 0; k < COUNT_OF(shares); k++) {
			struct snapshot *s = build(shares[k], 1, 2);
			int n = 0;

			for (int i = 0; i < CALLERS; i++)
				n += goes(s, (enum form)f, i);
			CHECK(n >= (int)shares[k] * 100 - 100 && n <= (int)shares[k] * 100 + 100);
			CHECK((shares[k] != 0 || n == 0) && (shares[k] != 100 || n == CALLERS));
			snapshot_unref(s);
		}
}

TEST(a_caller_who_has_come_stays_while_the_share_grows)
{
	static bool there[CALLERS];

	for (unsigned share = 0; share <= 100; share++) {
		struct snapshot *s = build(share, 1, 2);

		for (int i = 0; i < CALLERS; i++) {
			bool now = goes(s, FORM_USER, i);

			CHECK(now || !there[i]);
			there[i] = now;
		}
		snapshot_unref(s);
	}
}

TEST(another_deployment_begins_with_other_callers)
{
	struct snapshot *a = build(50, 1, 2), *b = build(50, 2, 2);
	int both = 0;

	for (int i = 0; i < CALLERS; i++)
		both += goes(a, FORM_USER, i) && goes(b, FORM_USER, i);
	CHECK(both > 2300 && both < 2700); /* a quarter, as chance has it */
	snapshot_unref(a);
	snapshot_unref(b);
}

TEST(without_the_candidate_nobody_goes)
{
	struct snapshot *s = build(100, 1, 9); /* a model that is not there */

	CHECK(!goes(s, FORM_USER, 1));
	CHECK(snapshot_use_case(s, S("u"))->candidate == NULL);
	CHECK_INT(s->n_deployments, 1); /* it is still under way */
	snapshot_unref(s);
}

TEST(two_deployments_of_a_use_case_are_refused)
{
	const struct model models[] = {model(1, "old", MODEL_CURRENT), model(2, "new", MODEL_TESTING)};
	const struct snapshot_deployment d[] = {
		{.id = {{1}}, .use_case = S("u"), .model_id = models[1].id, .share = 1},
		{.id = {{2}}, .use_case = S("u"), .model_id = models[1].id, .share = 1}};
	const struct snapshot_source src = {.models = models, .n_models = 2, .deployments = d, .n_deployments = 2};
	struct snapshot *s = NULL;
	struct err err = {0};

	CHECK_INT(snapshot_build(&src, NULL, NULL, &s, &err), E_INVALID);
	CHECK(strstr(err.text, "use case u"));
}

TEST(the_share_survives_on_disk)
{
	char dir[] = "/tmp/test_split.XXXXXX", path[64];
	struct snapshot *s = build(37, 1, 2), *back = NULL;
	struct err err = {0};

	CHECK(mkdtemp(dir) != NULL);
	(void)snprintf(path, sizeof(path), "%s/snapshot.json", dir);
	CHECK_INT(snapshot_save(s, path, &err), 0);
	CHECK_INT(snapshot_load(path, NULL, NULL, &back, &err), 0);
	CHECK_INT(snapshot_use_case(back, S("u"))->share, 37);
	for (int i = 0; i < 1000; i++)
		CHECK_INT(goes(back, FORM_USER, i), goes(s, FORM_USER, i));
	CHECK_INT(unlink(path) | rmdir(dir), 0);
	snapshot_unref(s);
	snapshot_unref(back);
}
