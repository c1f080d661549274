/* SPDX-License-Identifier: Apache-2.0 */
/* Who can reach the daemon, and with what: keys, addresses, certificates. */
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>

#include "app/cli/check_internal.h"
#include "control/store/entities.h"
#include "core/http/url.h"

#define CERTIFICATE_WARN_DAYS 30
#define KEY_WARN_US (14 * INT64_C(86400000000))

static bool is_loopback(const char *address)
{
	struct slice host;
	uint16_t port;

	return addr_parse(slice_from(address), &host, &port, NULL) == 0 && addr_is_loopback(host);
}

/* --- keys --- */

/* Asked, not looked up: without a key, the registry may not answer. */
static void ask_without_key(struct check_run *k)
{
	struct muster_options o = {.url = muster_url(k->c->client), .api_key = "", .timeout_ms = 10000};
	const struct muster_request r = {.method = "GET", .path = "/api/v1/models?limit=1"};
	struct muster_answer a = {0};
	struct muster *keyless = NULL;
	struct muster_error e = {0};
	int rc = muster_open(&o, &keyless, &e);

	if (!rc)
		rc = muster_send(keyless, &r, &a, &e);
	muster_answer_release(&a);
	muster_close(keyless);
	k->keyless_status = rc < 0 ? e.http_status : 200;
	snprintf(k->keyless_error, sizeof(k->keyless_error), "%.*s", (int)sizeof(k->keyless_error) - 1, e.text);
}

static void check_keys(struct check_run *k)
{
	static const char name[] = "API keys";

	if (check_needs_daemon(k, name))
		return;
	ask_without_key(k);
	if (k->keyless_status == 401 || k->keyless_status == 403)
		check_say(k, name, CHECK_PASS, NULL, "without one it answers %d", k->keyless_status);
	else if (k->keyless_status == 200)
		check_say(k, name, CHECK_WARN, "muster key create --name NAME --role admin --why ...",
			  "it answers whoever asks, without a key");
	else
		check_say(k, name, CHECK_SKIPPED, "see: muster health", "could not be tried: %s", k->keyless_error);
}

/* How many may be used, and which of them end soon. */
static bool read_keys(struct check_run *k, size_t *ret_active, struct check_list *soon)
{
	struct key *keys;
	size_t n;

	*ret_active = 0;
	if (!k->db || !k->level_known || store_key_list(k->db, k->a, &keys, &n, NULL))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (keys[i].revoked_us || key_expired(&keys[i], k->c->now_us))
			continue;
		++*ret_active;
		if (keys[i].expires_us && keys[i].expires_us - k->c->now_us < KEY_WARN_US)
			check_list_add(soon, SLICE_FMT " in %s", SLICE_ARG(keys[i].name),
				       check_span(k, (double)(keys[i].expires_us - k->c->now_us) / 1e6));
	}
	return true;
}

static void check_key_expiry(struct check_run *k)
{
	static const char name[] = "key expiry";
	struct check_list soon;
	size_t n_active;

	check_list_init(k, &soon);
	if (check_needs_database(k, name))
		return;
	if (!read_keys(k, &n_active, &soon))
		check_say(k, name, CHECK_SKIPPED, "see the check 'schema'", "the keys could not be read");
	else if (soon.n)
		check_say(k, name, CHECK_WARN, "muster key create, before they end", "of %zu, these end: %s", n_active,
			  check_list_text(&soon));
	else if (n_active)
		check_say(k, name, CHECK_PASS, NULL, "%zu, and none ends within 14 days", n_active);
	else
		check_say(k, name, CHECK_SKIPPED, "see the check 'API keys'", "the database has none");
}

static bool asks_for_keys(struct check_run *k)
{
	struct check_list soon;
	size_t n_active = 0;

	check_list_init(k, &soon);
	if (k->reachable)
		return k->keyless_status == 401 || k->keyless_status == 403;
	return *k->set.auth_key_file || (read_keys(k, &n_active, &soon) && n_active);
}

/* --- addresses --- */

static void check_listen(struct check_run *k)
{
	static const char name[] = "listen address";
	const char *listen =
		is_loopback(k->set.listen) && *k->set.control_listen ? k->set.control_listen : k->set.listen;

	if (check_needs_setting(k, name))
		return;
	if (is_loopback(listen))
		check_say(k, name, CHECK_PASS, NULL, "%s: this host alone", k->set.listen);
	else if (!asks_for_keys(k))
		check_say(k, name, CHECK_FAIL,
			  "muster key create --name NAME --role admin --why ..., or listen on 127.0.0.1",
			  "%s is open to the network, without keys", listen);
	else if (!*k->set.tls_cert_file)
		check_say(k, name, CHECK_WARN, "set tls.cert_file and tls.key_file, or keep a TLS proxy in front",
			  "%s takes keys and prompts in the clear", listen);
	else
		check_say(k, name, CHECK_PASS, NULL, "%s with keys and TLS", listen);
}

static X509 *read_certificate(const char *path)
{
	FILE *f = fopen(path, "re");
	X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

	if (f)
		fclose(f);
	return x;
}

static void check_certificate(struct check_run *k)
{
	static const char name[] = "TLS certificate";
	int days = 0, seconds = 0;
	X509 *x;

	if (check_needs_setting(k, name))
		return;
	if (!*k->set.tls_cert_file) {
		check_say(k, name, CHECK_SKIPPED, "tls.cert_file and tls.key_file, when others than this host call",
			  "none is configured: it speaks plain HTTP");
		return;
	}
	x = read_certificate(k->set.tls_cert_file);
	if (!x || !ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x)))
		check_say(k, name, CHECK_FAIL, "give it a PEM file whose first certificate is the server's",
			  "%s cannot be read as a certificate", k->set.tls_cert_file);
	else if (days < 0 || seconds < 0)
		check_say(k, name, CHECK_FAIL, "renew it, and send the daemon SIGHUP or restart it", "%s has expired",
			  k->set.tls_cert_file);
	else if (days < CERTIFICATE_WARN_DAYS)
		check_say(k, name, CHECK_WARN, "renew it", "%s ends in %d days", k->set.tls_cert_file, days);
	else
		check_say(k, name, CHECK_PASS, NULL, "%s ends in %d days", k->set.tls_cert_file, days);
	X509_free(x);
}

void check_access(struct check_run *k)
{
	check_keys(k);
	check_key_expiry(k);
	check_listen(k);
	check_certificate(k);
}
