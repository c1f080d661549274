/* SPDX-License-Identifier: Apache-2.0 */
/* Keys as values: making, checking, writing and reading them.  No text of a key goes anywhere but to who asked for it.
 */
#include "domain/key.h"

#include <string.h>

#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/base/rand.h"
#include "core/json/writer.h"
#include "domain/model.h"

static const char *const role_names[KEY_N_ROLES] = {
	[KEY_CLIENT] = "client", [KEY_OPERATOR] = "operator", [KEY_ADMIN] = "admin"};

const char *key_role_name(enum key_role r)
{
	return role_names[r];
}

int key_role_parse(struct slice s, enum key_role *ret, struct err *err)
{
	for (unsigned i = 0; i < KEY_N_ROLES; i++) {
		if (slice_eq_str(s, role_names[i])) {
			*ret = (enum key_role)i;
			return 0;
		}
	}
	return err_set(err, E_INVALID, "a role is admin, operator or client, not '" SLICE_FMT "'",
		       SLICE_ARG(slice_sub(s, 0, 64)));
}

static bool is_name_byte(char b)
{
	return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || (b && strchr("._-@", b));
}

int key_name_check(struct slice name, struct err *err)
{
	struct uuid id;
	size_t i = 0;

	while (i < name.n && is_name_byte(name.p[i]))
		i++;
	if (!name.n || i < name.n || name.n > KEY_NAME_MAX)
		return err_set(err, E_INVALID,
			       "a key's name is 1 to %d letters, digits, '.', '_', '-' and '@', not '" SLICE_FMT "'",
			       KEY_NAME_MAX, SLICE_ARG(slice_sub(name, 0, 64)));
	/* The first two stand in the history for those who had no key; the third names a key itself. */
	if (slice_eq_str(name, "anonymous") || slice_eq_str(name, "unknown") || !uuid_parse(name.p, name.n, &id))
		return err_set(err, E_INVALID, "a key cannot be called '" SLICE_FMT "': take a name of its holder",
			       SLICE_ARG(name));
	return 0;
}

static int check_use_cases(const struct key *k, struct err *err)
{
	if (k->n_use_cases && k->role != KEY_CLIENT)
		return err_set(err, E_INVALID,
			       "only a key of role client can be for some use cases: role %s is for all",
			       key_role_name(k->role));
	if (k->n_use_cases > KEY_MAX_USE_CASES)
		return err_set(err, E_TOOBIG, "a key can name %d use cases, not %zu: leave them out for all",
			       KEY_MAX_USE_CASES, k->n_use_cases);
	for (size_t i = 0; i < k->n_use_cases; i++) {
		int rc = use_case_check(k->use_cases[i], err);

		if (rc)
			return rc;
	}
	return 0;
}

int key_check(const struct key *k, int64_t now_us, struct err *err)
{
	int rc = key_name_check(k->name, err);

	if (!rc)
		rc = check_use_cases(k, err);
	if (rc)
		return rc;
	if (k->requests_per_minute < 0 || k->requests_per_minute > KEY_MAX_PER_MINUTE || k->tokens_per_minute < 0 ||
	    k->tokens_per_minute > KEY_MAX_PER_MINUTE)
		return err_set(err, E_INVALID, "a limit per minute is between 1 and %d, or 0 for none",
			       KEY_MAX_PER_MINUTE);
	if (k->expires_us && k->expires_us <= now_us)
		return err_set(err, E_INVALID, "the key would have expired already: say when it ends, from now on");
	if (k->expires_us && k->expires_us - now_us > KEY_MAX_LIFE_US)
		return err_set(err, E_INVALID, "a key lives a hundred years at most: leave its end out for ever");
	return 0;
}

void key_make(char ret_text[KEY_TEXT_SIZE], char ret_digest[KEY_DIGEST_SIZE])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char random[32];

	rand_bytes(random, sizeof(random));
	memcpy(ret_text, "mk_", 3);
	for (size_t i = 0; i < sizeof(random); i++) {
		ret_text[3 + 2 * i] = hex[random[i] >> 4];
		ret_text[4 + 2 * i] = hex[random[i] & 15];
	}
	ret_text[KEY_TEXT_SIZE - 1] = '\0';
	explicit_bzero(random, sizeof(random));
	sha256_hex(slice_from(ret_text), ret_digest);
}

const char *key_status(const struct key *k, int64_t now_us)
{
	return k->revoked_us ? "revoked" : key_expired(k, now_us) ? "expired" : "active";
}

bool key_allows(const struct key *k, struct slice use_case)
{
	for (size_t i = 0; i < k->n_use_cases; i++) {
		if (slice_eq(k->use_cases[i], use_case))
			return true;
	}
	return k->n_use_cases == 0;
}

static void write_time(struct json_writer *w, const char *name, int64_t at_us)
{
	char text[CLOCK_ISO_SIZE];

	jw_kcstr(w, name, at_us ? clock_iso(at_us, text) : NULL);
}

static void write_members(struct json_writer *w, const struct key *k)
{
	char id[UUID_STR_SIZE];

	jw_kcstr(w, "key_id", uuid_format(&k->id, id));
	jw_kstr(w, "name", k->name);
	jw_kcstr(w, "role", key_role_name(k->role));
	jw_key(w, "use_cases");
	jw_array(w);
	for (size_t i = 0; i < k->n_use_cases; i++)
		jw_str(w, k->use_cases[i]);
	jw_array_end(w);
	jw_ki64(w, "requests_per_minute", k->requests_per_minute);
	jw_ki64(w, "tokens_per_minute", k->tokens_per_minute);
	budgets_write(w, &k->budgets);
	jw_kcstr(w, "translation", key_translation(k));
	write_time(w, "created_at", k->created_us);
	write_time(w, "expires_at", k->expires_us);
}

void key_write_open(struct json_writer *w, const struct key *k, const char *text, int64_t now_us)
{
	jw_object(w);
	write_members(w, k);
	if (text)
		jw_kcstr(w, "key", text);
	write_time(w, "revoked_at", k->revoked_us);
	jw_kcstr(w, "status", key_status(k, now_us));
}

void key_write(struct json_writer *w, const struct key *k, int64_t now_us)
{
	key_write_open(w, k, NULL, now_us);
	jw_object_end(w);
}

void key_write_stored(struct json_writer *w, const struct key *k)
{
	jw_object(w);
	write_members(w, k);
	jw_kcstr(w, "sha256", k->digest);
	jw_object_end(w);
}

static int parse_use_cases(struct arena *a, const struct json *list, struct key *ret, struct err *err)
{
	struct slice *names;
	size_t n = 0;

	if (!list || list->type != JSON_ARRAY || list->n_items > KEY_MAX_USE_CASES)
		return err_set(err, E_INVALID, "the use cases of a key are no list of at most %d", KEY_MAX_USE_CASES);
	names = ARENA_ARRAY(a, struct slice, list->n_items + 1);
	if (!names)
		return err_set(err, E_TOOBIG, "too many keys");
	for (const struct json *v = list->first; v; v = v->next) {
		if (v->type != JSON_STRING)
			return err_set(err, E_INVALID, "the use cases of a key have to be names");
		names[n++] = v->str;
	}
	ret->use_cases = names;
	ret->n_use_cases = n;
	return 0;
}

static int parse_time(const struct json *v, const char *name, int64_t *ret_us, struct err *err)
{
	struct slice text = {NULL, 0};
	int rc = json_get_str(v, name, &text, err);

	if (rc || !text.p)
		return rc;
	return clock_parse(text, 0, ret_us) ? err_set(err, E_INVALID, "%s of a key is no time", name) : 0;
}

const char *key_translation(const struct key *k)
{
	return k->translate_strictly ? "strict" : "lenient";
}

int key_translation_parse(struct slice s, bool *ret_strict, struct err *err)
{
	if (s.n && !slice_eq_str(s, "lenient") && !slice_eq_str(s, "strict"))
		return err_set(err, E_INVALID, "translation has to be lenient or strict, not '" SLICE_FMT "'",
			       SLICE_ARG(slice_sub(s, 0, 64)));
	*ret_strict = slice_eq_str(s, "strict");
	return 0;
}

int key_parse_spending(const struct json *v, struct key *ret, struct err *err)
{
	struct slice translation = {NULL, 0};
	int rc = budgets_parse(v, &ret->budgets, err);

	if (!rc)
		rc = json_get_str(v, "translation", &translation, err);
	return rc ? rc : key_translation_parse(translation, &ret->translate_strictly, err);
}

int key_parse(struct arena *a, const struct json *v, struct key *ret, struct err *err)
{
	struct slice id = {NULL, 0}, role = {NULL, 0}, digest = {NULL, 0};
	int rc;

	*ret = (struct key){.role = KEY_CLIENT};
	if ((rc = json_get_str(v, "key_id", &id, err)) || (rc = json_get_str(v, "name", &ret->name, err)) ||
	    (rc = json_get_str(v, "role", &role, err)) || (rc = json_get_str(v, "sha256", &digest, err)) ||
	    (rc = json_get_i64(v, "requests_per_minute", &ret->requests_per_minute, err)) ||
	    (rc = json_get_i64(v, "tokens_per_minute", &ret->tokens_per_minute, err)) ||
	    (rc = parse_time(v, "created_at", &ret->created_us, err)) ||
	    (rc = parse_time(v, "expires_at", &ret->expires_us, err)) ||
	    (rc = parse_use_cases(a, json_get(v, "use_cases"), ret, err)) || (rc = key_parse_spending(v, ret, err)) ||
	    (rc = key_role_parse(role.p ? role : SLICE_LIT(""), &ret->role, err)))
		return rc;
	if (!id.p || uuid_parse(id.p, id.n, &ret->id) || digest.n != KEY_DIGEST_SIZE - 1)
		return err_set(err, E_INVALID, "a key has no id or no digest");
	memcpy(ret->digest, digest.p, digest.n);
	return 0;
}
