/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 against the vectors of RFC 4648, and against what looks like it. */
#include "core/base/base64.h"
#include "core/base/err.h"
#include "core/base/util.h"
#include "t.h"

static const struct {
	const char *bytes, *text;
} cases[] = {
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
	{"\xff\xfe\xfb", "//77"},
};

TEST(what_is_encoded_is_decoded_to_the_same)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf text, bytes;

		buf_init(&text, 64);
		buf_init(&bytes, 64);
		CHECK_INT(base64_encode(&text, cases[i].bytes, strlen(cases[i].bytes)), 0);
		CHECK_STR(buf_cstr(&text), cases[i].text);
		CHECK_INT(base64_decoded_size(slice_from(cases[i].text)), (long long)strlen(cases[i].bytes));
		CHECK_INT(base64_decode(&bytes, slice_from(cases[i].text)), 0);
		CHECK_STR(buf_cstr(&bytes), cases[i].bytes);
		buf_release(&text);
		buf_release(&bytes);
	}
}

static const char *const wrong[] = {
	"Z", "Zg", "Zg=", "=", "====", "Zg===", "Zh==", "Zm9=", "Zm-v", "Zm_v", "Zm9v\n", "Z g=", "=Zg=", "Zg==Zg=="};

TEST(what_is_no_base64_is_refused_with_nothing_appended)
{
	struct buf bytes;

	buf_init(&bytes, 64);
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		CHECK_INT(base64_decoded_size(slice_from(wrong[i])), -1);
		CHECK_INT(base64_decode(&bytes, slice_from(wrong[i])), E_INVALID);
		CHECK_INT((long long)bytes.n, 0);
	}
	buf_release(&bytes);
}

TEST(no_more_is_written_than_there_is_room)
{
	struct buf out;

	buf_init(&out, 8);
	CHECK_INT(base64_encode(&out, "foobar", 6), 0);
	CHECK_INT(base64_encode(&out, "x", 1), E_TOOBIG);
	buf_release(&out);
	buf_init(&out, 5);
	CHECK_INT(base64_decode(&out, SLICE_LIT("Zm9vYmFy")), E_TOOBIG);
	buf_release(&out);
}
