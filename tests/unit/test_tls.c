/* SPDX-License-Identifier: Apache-2.0 */
/* TLS between our client and our server, with certificates made here: good ones, and each kind of bad one. */
#include "core/http/tls.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "core/http/client.h"
#include "tests/unit/http_test.h"

/* --- certificates --- */

static char dir[64] = "/tmp/muster-tls-XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[4][128];
	static int at;
	char *p = path[at++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

struct identity {
	X509 *cert;
	EVP_PKEY *key;
};

static void add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	CHECK(ext != NULL);
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
}

/* issuer NULL: signs itself, an authority. */
static struct identity make_cert(const char *name, const struct identity *issuer, const char *san, long from_s,
				 long to_s)
{
	struct identity id = {X509_new(), EVP_EC_gen("P-256")};
	X509_NAME *n = X509_get_subject_name(id.cert);
	static long serial = 1;

	X509_set_version(id.cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(id.cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(id.cert), from_s);
	X509_gmtime_adj(X509_getm_notAfter(id.cert), to_s);
	X509_set_pubkey(id.cert, id.key);
	X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(id.cert, issuer ? X509_get_subject_name(issuer->cert) : n);
	if (!issuer)
		add_extension(id.cert, NID_basic_constraints, "critical,CA:TRUE");
	if (san)
		add_extension(id.cert, NID_subject_alt_name, san);
	CHECK(X509_sign(id.cert, issuer ? issuer->key : id.key, EVP_sha256()) > 0);
	return id;
}

static void write_pem(const struct identity *id, const char *name)
{
	char file[64];
	FILE *f;

	snprintf(file, sizeof(file), "%s.crt", name);
	f = fopen(in_dir(file), "w");
	PEM_write_X509(f, id->cert);
	fclose(f);
	snprintf(file, sizeof(file), "%s.key", name);
	f = fopen(in_dir(file), "w");
	PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

static void identity_free(struct identity *id)
{
	X509_free(id->cert);
	EVP_PKEY_free(id->key);
}

static const struct {
	const char *name, *san;
	long from_s, to_s;
} leaves[] = {
	{"good", "DNS:localhost,IP:127.0.0.1", -3600, 3600},
	{"expired", "DNS:localhost,IP:127.0.0.1", -7200, -3600},
	{"future", "DNS:localhost,IP:127.0.0.1", 3600, 7200},
	{"wrong", "DNS:elsewhere.example,IP:127.0.0.9", -3600, 3600},
};

static void make_all(void)
{
	struct identity ca = make_cert("Test authority", NULL, NULL, -3600, 3600);
	struct identity other = make_cert("Another authority", NULL, NULL, -3600, 3600);

	write_pem(&ca, "ca");
	write_pem(&other, "other");
	for (size_t i = 0; i < COUNT_OF(leaves); i++) {
		struct identity id = make_cert(leaves[i].name, &ca, leaves[i].san, leaves[i].from_s, leaves[i].to_s);

		write_pem(&id, leaves[i].name);
		identity_free(&id);
	}
	identity_free(&ca);
	identity_free(&other);
}

static void remove_all(void)
{
	static const char *const names[] = {"ca", "other", "good", "expired", "future", "wrong"};
	char file[64];

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		snprintf(file, sizeof(file), "%s.crt", names[i]);
		unlink(in_dir(file));
		snprintf(file, sizeof(file), "%s.key", names[i]);
		unlink(in_dir(file));
	}
	rmdir(dir);
}

__attribute__((constructor)) static void set_up(void)
{
	if (!mkdtemp(dir))
		abort();
	make_all();
	atexit(remove_all);
}

/* --- a call --- */

struct call {
	struct http_call call;
	struct loop *loop;
	struct iovec request[2];
	char body[1 << 20];
	size_t n_body;
	int status, rc, n_done;
};

static int on_head(struct http_call *hc, const struct http_head *h)
{
	((struct call *)hc->user)->status = h->status;
	return 0;
}

static int on_body(struct http_call *hc, struct slice piece, bool last)
{
	struct call *c = hc->user;

	(void)last;
	if (c->n_body + piece.n < sizeof(c->body))
		memcpy(c->body + c->n_body, piece.p, piece.n);
	c->n_body += piece.n;
	return 0;
}

static void on_done(struct http_call *hc, int rc)
{
	struct call *c = hc->user;

	c->rc = rc;
	c->n_done++;
	loop_stop(c->loop);
}

static const struct http_call_ops ops = {on_head, on_body, on_done};

struct side {
	struct loop *loop;
	struct http_client *client;
	struct tls_context *tls;
	struct http_origin origin;
};

static void side_init(struct side *s, const char *ca, const char *host, uint16_t port)
{
	struct http_client_options o;
	struct err err = {0};

	http_client_options_init(&o);
	CHECK_INT(tls_client_new(in_dir(ca), &s->tls, &err), 0);
	o.tls = s->tls;
	CHECK_INT(loop_new("client", &s->loop, &err), 0);
	s->client = http_client_new(s->loop, &o);
	CHECK_INT(http_origin_init(&s->origin, slice_from(host), port, true, &err), 0);
}

static void side_release(struct side *s)
{
	http_client_free(s->client);
	loop_free(s->loop);
	tls_context_free(s->tls);
}

static struct call call;

static void run(struct side *s, const char *head, const char *body, size_t n_body)
{
	http_call_release(&call.call);
	memset(&call, 0, sizeof(call));
	call.loop = s->loop;
	call.request[0] = (struct iovec){(void *)(uintptr_t)head, strlen(head)};
	call.request[1] = (struct iovec){(void *)(uintptr_t)body, n_body};
	call.call = (struct http_call){.ops = &ops,
				       .user = &call,
				       .origin = &s->origin,
				       .request = call.request,
				       .n_request = 2,
				       .timeouts = {HT_WAIT_MS, HT_WAIT_MS, HT_WAIT_MS, HT_WAIT_MS}};
	http_call_start(s->client, &call.call);
	loop_run(s->loop);
	CHECK_INT(call.n_done, 1);
}

static struct tls_context *server_start(struct ht_server *h, const char *name)
{
	struct http_server_options o = ht_options();
	struct tls_context *t = NULL;
	struct err err = {0};
	char crt[64], key[64];

	snprintf(crt, sizeof(crt), "%s.crt", name);
	snprintf(key, sizeof(key), "%s.key", name);
	CHECK_INT(tls_server_new(in_dir(crt), in_dir(key), &t, &err), 0);
	o.tls = t;
	ht_start(h, &o);
	return t;
}

static const struct {
	const char *cert, *ca, *host;
	const char *error; /* NULL: it works */
} trust_cases[] = {
	{"good", "ca.crt", "127.0.0.1", NULL},
	{"good", "ca.crt", "localhost", NULL},
	{"expired", "ca.crt", "localhost", "certificate has expired"},
	{"future", "ca.crt", "localhost", "certificate is not yet valid"},
	{"wrong", "ca.crt", "localhost", "hostname mismatch"},
	{"wrong", "ca.crt", "127.0.0.1", "IP address mismatch"},
	{"good", "other.crt", "localhost", "unable to get local issuer certificate"},
};

TEST(certificates_are_trusted_or_refused_with_the_reason)
{
	for (size_t i = 0; i < COUNT_OF(trust_cases); i++) {
		struct ht_server h;
		struct tls_context *t = server_start(&h, trust_cases[i].cert);
		struct side s;
		char want[200];

		side_init(&s, trust_cases[i].ca, trust_cases[i].host, h.port);
		run(&s, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", "hello", 5);
		if (trust_cases[i].error) {
			CHECK_INT(call.rc, E_UNAVAILABLE);
			CHECK_INT(call.call.stage, HTTP_STAGE_TLS);
			snprintf(want, sizeof(want), "TLS with %s:%u failed: %s", trust_cases[i].host, h.port,
				 trust_cases[i].error);
			CHECK_STR(http_call_why(&call.call), want);
		} else {
			CHECK_INT(call.rc, 0);
			CHECK_INT(call.status, 200);
			CHECK_STR(call.body, "hello");
		}
		side_release(&s);
		ht_stop(&h);
		tls_context_free(t);
	}
}

TEST(connections_are_kept_and_large_bodies_go_both_ways)
{
	static char body[700000];
	struct ht_server h;
	struct tls_context *t = server_start(&h, "good");
	struct side s;
	char head[128];

	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (char)('a' + i % 23);
	side_init(&s, "ca.crt", "localhost", h.port);
	for (int i = 0; i < 4; i++) {
		snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
			 i % 2 ? "/later" : "/echo", sizeof(body));
		run(&s, head, body, sizeof(body));
		CHECK_INT(call.rc, 0);
		CHECK_INT((long long)call.n_body, (long long)sizeof(body));
		CHECK(!memcmp(call.body, body, sizeof(body)));
		run(&s, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n", "", 0);
		CHECK_INT(call.rc, 0);
		CHECK_STR(call.body, "one,two,end");
	}
	CHECK_INT((long long)counter_get(&http_client_stats(s.client)->connects), 1);
	CHECK_INT((long long)counter_get(&http_client_stats(s.client)->reused), 7);
	side_release(&s);
	ht_stop(&h);
	tls_context_free(t);
}

TEST(a_slow_tls_reader_gets_everything)
{
	struct ht_server h;
	struct tls_context *t = server_start(&h, "good");
	struct side s;

	h.flood_left = 8u << 20;
	side_init(&s, "ca.crt", "localhost", h.port);
	run(&s, "GET /flood HTTP/1.1\r\nHost: h\r\n\r\n", "", 0);
	CHECK_INT(call.rc, 0);
	CHECK_INT((long long)call.n_body, 8 << 20);
	side_release(&s);
	ht_stop(&h);
	tls_context_free(t);
}

TEST(an_answer_until_close_is_whole_only_with_the_notice_of_the_end)
{
	static const struct {
		const char *request;
		int rc;
	} cases[] = {{"GET /stream HTTP/1.0\r\n\r\n", 0}, {"GET /cut HTTP/1.0\r\n\r\n", E_CLOSED}};
	struct ht_server h;
	struct tls_context *t = server_start(&h, "good");

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct side s;

		side_init(&s, "ca.crt", "localhost", h.port);
		run(&s, cases[i].request, "", 0);
		CHECK_INT(call.rc, cases[i].rc);
		side_release(&s);
	}
	ht_stop(&h);
	tls_context_free(t);
}

TEST(a_request_split_into_records_at_every_byte_is_understood)
{
	static const char request[] = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
	struct ht_server h;
	struct tls_context *t = server_start(&h, "good");
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int fd = ht_connect(h.port);
	SSL *ssl = SSL_new(ctx);
	char answer[1024];

	SSL_set_fd(ssl, fd);
	CHECK_INT(SSL_connect(ssl), 1);
	for (int at = 1; at < (int)sizeof(request) - 1; at++) {
		size_t n = 0;
		int r;

		CHECK_INT(SSL_write(ssl, request, at), at);
		CHECK(SSL_write(ssl, request + at, (int)sizeof(request) - 1 - at) > 0);
		answer[0] = 0;
		while (!strstr(answer, "hello") && (r = SSL_read(ssl, answer + n, (int)(sizeof(answer) - 1 - n))) > 0) {
			n += (size_t)r;
			answer[n] = 0;
		}
		CHECK(!strncmp(answer, "HTTP/1.1 200 OK\r\n", 17) && strstr(answer, "\r\n\r\nhello"));
	}
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	ht_stop(&h);
	tls_context_free(t);
}

TEST(plain_text_and_silence_on_a_tls_port_end_quietly)
{
	struct ht_server h;
	struct tls_context *t = server_start(&h, "good");
	int fd = ht_connect(h.port);
	char buf[64];

	CHECK(ht_says(fd, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
	while (recv(fd, buf, sizeof(buf), 0) > 0) /* an alert, perhaps */
		;
	close(fd);
	ht_stop(&h);
	tls_context_free(t);
}

TEST(a_plain_server_is_no_tls_server)
{
	struct http_server_options o = ht_options();
	struct ht_server h;
	struct side s;

	ht_start(&h, &o);
	side_init(&s, "ca.crt", "localhost", h.port);
	run(&s, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n", "", 0);
	CHECK_INT(call.rc, E_UNAVAILABLE);
	CHECK_INT(call.call.stage, HTTP_STAGE_TLS);
	side_release(&s);
	ht_stop(&h);
}

TEST(files_that_cannot_be_used_are_named)
{
	struct tls_context *t;
	struct err err = {0};
	char *crt = strdup(in_dir("good.crt"));

	CHECK_INT(tls_client_new("/no/such/file", &t, &err), E_INVALID);
	CHECK(strstr(err.text, "/no/such/file") != NULL);
	CHECK_INT(tls_server_new("/no/such/cert", in_dir("good.key"), &t, &err), E_INVALID);
	CHECK(strstr(err.text, "/no/such/cert") != NULL);
	CHECK_INT(tls_server_new(crt, in_dir("wrong.key"), &t, &err), E_INVALID);
	CHECK(strstr(err.text, "wrong.key") && strstr(err.text, "key values mismatch"));
	free(crt);
}
