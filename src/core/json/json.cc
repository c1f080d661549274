/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one C++ file: simdjson behind a C header.  Only its first stage is used, through the implementation that it picks
 * for this processor at run time; parse.c walks the offsets, so that no recursion and no exception is ever in play.
 * What would break it: a simdjson whose stage1() no longer leaves structural_indexes behind (the unit tests notice).
 */
#define SIMDJSON_EXCEPTIONS 0
#include "core/json/json_internal.h"

#include <charconv>
#include <cmath>
#include <memory>
#include <new>
#include <simdjson.h>

namespace
{
constexpr size_t capacity_min = size_t{16} * 1024;
constexpr size_t text_max = 0xfffff000;

size_t capacity_for(size_t n)
{
	size_t capacity = capacity_min;

	while (capacity < n)
		capacity *= 2;
	return capacity < text_max ? capacity : text_max;
}
} // namespace

/* JSON_PADDING of json.h, which cannot be included here. */
static_assert(simdjson::SIMDJSON_PADDING <= 64, "simdjson reads further past the text than json.h promises");

struct json_index {
	std::unique_ptr<simdjson::internal::dom_parser_implementation> impl;
};

extern "C" struct json_index *json_index_new(void)
{
	auto *x = new (std::nothrow) json_index();

	if (!x)
		std::abort();
	return x;
}

extern "C" void json_index_free(struct json_index *x)
{
	delete x;
}

extern "C" size_t json_index_capacity(const struct json_index *x)
{
	return x->impl ? x->impl->capacity() : 0;
}

extern "C" void json_index_shrink(struct json_index *x)
{
	x->impl.reset();
}

static simdjson::error_code make_room(struct json_index *x, size_t n)
{
	if (x->impl && n <= x->impl->capacity())
		return simdjson::SUCCESS;
	x->impl.reset();
	return simdjson::get_active_implementation()->create_dom_parser_implementation(capacity_for(n), 1, x->impl);
}

extern "C" enum json_index_result json_index_run(struct json_index *x, const char *p, size_t n, const uint32_t **ret_at,
						 size_t *ret_n)
{
	simdjson::error_code error;

	if (n == 0)
		return JSON_INDEX_EMPTY;
	if (n > text_max || make_room(x, n) != simdjson::SUCCESS) {
		x->impl.reset();
		return JSON_INDEX_FULL;
	}
	error = x->impl->stage1(reinterpret_cast<const uint8_t *>(p), n, simdjson::stage1_mode::regular);
	if (error == simdjson::EMPTY)
		return JSON_INDEX_EMPTY;
	if (error != simdjson::SUCCESS)
		return JSON_INDEX_BAD;
	/* Each parser has room for some more than one index a byte. */
	x->impl->structural_indexes[x->impl->n_structural_indexes] = static_cast<uint32_t>(n);
	*ret_at = x->impl->structural_indexes.get();
	*ret_n = x->impl->n_structural_indexes;
	return JSON_INDEX_OK;
}

extern "C" bool json_double_read(const char *p, const char *end, double *ret)
{
	double v = 0;

	/* Out of range says both too large and too near to zero; simdjson's own tells them apart: infinity or zero. */
	if (std::from_chars(p, end, v).ec == std::errc::result_out_of_range)
		v = simdjson::internal::from_chars(p, end);
	if (!std::isfinite(v))
		return false;
	*ret = v;
	return true;
}

/* 0.7, 1 or 12.25, which is what callers mostly say, without a search for the shortest form; 0 for any other. */
static size_t write_short(double v, char out[JSON_DOUBLE_SIZE])
{
	unsigned scale = 1;
	size_t decimals = 0, n;
	unsigned hundredths;

	if (!(v >= 0.01 && v < 1000))
		return 0;
	hundredths = static_cast<unsigned>(v * 100 + 0.5);
	if (hundredths / 100.0 != v)
		return 0;
	for (decimals = 2, scale = 100; decimals > 0 && hundredths % 10 == 0; decimals--, scale /= 10)
		hundredths /= 10;
	n = static_cast<size_t>(std::to_chars(out, out + JSON_DOUBLE_SIZE, hundredths / scale).ptr - out);
	if (decimals > 0)
		out[n++] = '.';
	for (unsigned rest = hundredths % scale; decimals > 0; decimals--, rest = rest * 10 % scale)
		out[n++] = static_cast<char>('0' + rest * 10 / scale);
	return n;
}

extern "C" size_t json_double_write(double v, char out[JSON_DOUBLE_SIZE])
{
	size_t n = write_short(v, out);

	if (n > 0)
		return n;
	return static_cast<size_t>(std::to_chars(out, out + JSON_DOUBLE_SIZE, v).ptr - out);
}
