/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the configuration share: the table, and setting one value. */
#pragma once
#include "app/daemon/config.h"

enum conf_type {
	CONF_STR,
	CONF_ADDR, /* host:port; checked in config_check */
	CONF_INT,
	CONF_BOOL,
	CONF_MSEC,
	CONF_BYTES,
	CONF_ENUM,	/* an index into the names of `choices` */
	CONF_ENDPOINTS, /* use case -> URL */
	CONF_RECEIVERS, /* name -> where and how alerts go to it */
};

struct conf_key {
	const char *name;
	enum conf_type type;
	bool reload;
	size_t offset; /* into struct config */
	const char *def;
	const char *doc;
	int64_t min, max;    /* numbers, durations, sizes: both ends allowed */
	const char *choices; /* "debug|info|..." */
};

extern const struct conf_key config_keys[CONFIG_N_KEYS];

int conf_find(struct slice name); /* index of the key of exactly that name, or -1 */
/* " did you mean 'listen'?" with a colon in front, or "" when nothing is near. */
void conf_nearest(struct slice name, char *ret, size_t size);
/* Parses and stores.  *c is unchanged after an error; the error does not say where the value came from. */
int conf_parse(struct config *c, const struct conf_key *k, struct slice value, struct err *err);
/* Stores when nothing of a higher rank has. Values are parsed either way. */
int conf_assign(struct config *c, int key, struct slice value, struct config_origin origin, struct err *err);
int conf_endpoint_add(struct config_endpoints *e, struct slice use_case, struct slice url, struct err *err);
void conf_endpoints_release(struct config_endpoints *e);
/* config_alerts.c: receivers of alerts; no error says what a URL is. */
int conf_receiver_add(struct config_receivers *r, struct slice name, struct err *err); /* the last one then */
int conf_receiver_set(struct config_receiver *r, struct slice key, struct slice value, struct err *err);
int conf_receivers_parse(struct config_receivers *field, struct slice value, struct err *err);
void conf_receivers_copy(struct config_receivers *to, const struct config_receivers *from);
bool conf_receivers_equal(const struct config_receivers *a, const struct config_receivers *b);
void conf_receivers_release(struct config_receivers *r);
int conf_receivers_check(const struct config *c, struct err *err);
/* POSTGRES_HOST and its companions as a URL, with the password if there is one. E_NOTFOUND: POSTGRES_HOST is not set.
 */
int conf_postgres_url(char *const *env, struct buf *out, struct err *err);
void conf_copy(struct config *to, const struct config *from, int key); /* value and origin */
bool conf_equal(const struct config *a, const struct config *b, int key);
