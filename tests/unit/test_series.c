/* SPDX-License-Identifier: Apache-2.0 */
/* Models and their places in the counters: bounded, and each its own for ever. */
#include "serving/gateway/series.h"

#include <pthread.h>
#include <stdio.h>

#include "core/base/util.h"
#include "t.h"

static struct gateway_series_labels labels(const char *model, enum gateway_operation operation)
{
	return (struct gateway_series_labels){SLICE_LIT("npc_dialogue"), slice_from(model), SLICE_LIT("sim"),
					      SLICE_LIT("tiny"), operation};
}

TEST(the_same_model_has_the_same_place_and_another_one_another)
{
	struct gateway_series *s = gateway_series_new();
	struct gateway_series_labels a = labels("a@1", OPERATION_CHAT), b = labels("b@1", OPERATION_CHAT);
	struct gateway_series_labels other = labels("a@1", OPERATION_TEXT_COMPLETION);
	char text[] = "c@1";
	struct gateway_series_labels moved = labels(text, OPERATION_CHAT);

	CHECK_INT(gateway_series_slot(s, &a), 0);
	CHECK_INT(gateway_series_slot(s, &b), 1);
	CHECK_INT(gateway_series_slot(s, &a), 0);
	CHECK_INT(gateway_series_slot(s, &other), 2);
	CHECK_INT(gateway_series_slot(s, &moved), 3);
	text[0] = 'x'; /* it keeps its own copy */
	CHECK(slice_eq_str(gateway_series_at(s, 3)->model, "c@1"));
	a.request_model = (struct slice){0};
	CHECK_INT(gateway_series_slot(s, &a), 4);
	CHECK_INT(gateway_series_count(s), 5);
	CHECK_INT(gateway_series_folded(s), 0);
	gateway_series_free(s);
}

TEST(at_the_limit_each_has_its_own_and_one_past_it_shares_the_last)
{
	struct gateway_series *s = gateway_series_new();
	char name[32];

	for (int i = 0; i < GATEWAY_MODEL_SLOTS + 1; i++) {
		struct gateway_series_labels l;
		int want = i < GATEWAY_MODEL_SLOTS - 1 ? i : GATEWAY_MODEL_SLOTS - 1;

		(void)snprintf(name, sizeof(name), "m@%d", i);
		l = labels(name, OPERATION_CHAT);
		CHECK_INT(gateway_series_slot(s, &l), want);
		CHECK_INT(gateway_series_folded(s), i < GATEWAY_MODEL_SLOTS - 1 ? 0 : i - GATEWAY_MODEL_SLOTS + 2);
	}
	CHECK_INT(gateway_series_count(s), GATEWAY_MODEL_SLOTS - 1);
	gateway_series_free(s);
}

TEST(without_a_table_all_share_the_last)
{
	struct gateway_series_labels a = labels("a@1", OPERATION_CHAT);

	CHECK_INT(gateway_series_slot(NULL, &a), GATEWAY_MODEL_SLOTS - 1);
	gateway_series_free(NULL);
}

static void *add_many(void *arg)
{
	char name[32];

	for (int i = 0; i < 2000; i++) {
		struct gateway_series_labels l;

		(void)snprintf(name, sizeof(name), "m@%d", i % 200);
		l = labels(name, OPERATION_CHAT);
		(void)gateway_series_slot(arg, &l);
	}
	return NULL;
}

TEST(readers_see_whole_entries_while_others_come)
{
	struct gateway_series *s = gateway_series_new();
	pthread_t writer[2];

	for (size_t i = 0; i < COUNT_OF(writer); i++)
		CHECK(!pthread_create(&writer[i], NULL, add_many, s));
	for (unsigned seen = 0; seen < 200;) {
		seen = gateway_series_count(s);
		for (unsigned i = 0; i < seen; i++)
			if (!slice_starts(gateway_series_at(s, i)->model, SLICE_LIT("m@")))
				CHECK(false);
	}
	for (size_t i = 0; i < COUNT_OF(writer); i++)
		pthread_join(writer[i], NULL);
	CHECK_INT(gateway_series_count(s), 200);
	gateway_series_free(s);
}
