/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL contexts, and the handshake of one connection.
 *
 * What would break it: a client connection without its host name set before the handshake (any certificate of a trusted
 * authority would do then).  tls_open() fails instead of leaving that out.
 */
#include "core/http/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/http/sock_internal.h"

struct tls_context {
	_Atomic unsigned refs;
	bool server;
	pthread_once_t made;
	SSL_CTX *ctx; /* a client's: NULL until the first connection needs it */
};

/* The innermost reason that OpenSSL gives, in words. */
static const char *tls_reason(void)
{
	unsigned long e = ERR_peek_last_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;

	if (e && ERR_SYSTEM_ERROR(e))
		return strerror((int)ERR_GET_REASON(e));
	return text ? text : "unknown reason";
}

static struct tls_context *context_new(bool server)
{
	struct tls_context *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	atomic_init(&t->refs, 1);
	t->server = server;
	t->made = PTHREAD_ONCE_INIT;
	return t;
}

static void make(struct tls_context *t)
{
	t->ctx = SSL_CTX_new(t->server ? TLS_server_method() : TLS_client_method());
	if (!t->ctx)
		abort();
	SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
	SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					 SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF); /* tickets do it, and need no memory here */
	SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
}

static void make_client(struct tls_context *t)
{
	static const unsigned char alpn[] = "\x08http/1.1";

	make(t);
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_alpn_protos(t->ctx, alpn, sizeof(alpn) - 1);
	if (SSL_CTX_set_default_verify_paths(t->ctx) != 1)
		ERR_clear_error(); /* a system without certificates: ca_file may be all there is */
}

/* What pthread_once() calls has no argument. */
static _Thread_local struct tls_context *being_made;

static void make_client_once(void)
{
	make_client(being_made);
}

void tls_client_prepare(struct tls_context *t)
{
	being_made = t;
	(void)pthread_once(&t->made, make_client_once); /* cannot fail */
}

int tls_client_new(const char *ca_file, struct tls_context **ret, struct err *err)
{
	struct tls_context *t = context_new(false);

	ERR_clear_error();
	if (ca_file)
		tls_client_prepare(t);
	if (ca_file && SSL_CTX_load_verify_locations(t->ctx, ca_file, NULL) != 1) {
		err_set(err, E_INVALID, "cannot read certificates from '%s': %s", ca_file, tls_reason());
		tls_context_free(t);
		return E_INVALID;
	}
	*ret = t;
	return 0;
}

static int choose_http(SSL *ssl, const unsigned char **out, unsigned char *n_out, const unsigned char *in,
		       unsigned n_in, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *chosen;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&chosen, n_out, ours, sizeof(ours) - 1, in, n_in) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

int tls_server_new(const char *cert_file, const char *key_file, struct tls_context **ret, struct err *err)
{
	struct tls_context *t = context_new(true);

	ERR_clear_error();
	make(t);
	SSL_CTX_set_alpn_select_cb(t->ctx, choose_http, NULL);
	if (SSL_CTX_use_certificate_chain_file(t->ctx, cert_file) != 1) {
		err_set(err, E_INVALID, "cannot use the certificate '%s': %s", cert_file, tls_reason());
		tls_context_free(t);
		return E_INVALID;
	}
	if (SSL_CTX_use_PrivateKey_file(t->ctx, key_file, SSL_FILETYPE_PEM) != 1) {
		err_set(err, E_INVALID, "cannot use the key '%s' with the certificate '%s': %s", key_file, cert_file,
			tls_reason());
		tls_context_free(t);
		return E_INVALID;
	}
	*ret = t;
	return 0;
}

struct tls_context *tls_context_ref(struct tls_context *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void tls_context_free(struct tls_context *t)
{
	if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	SSL_CTX_free(t->ctx);
	free(t);
}

static bool is_address(const char *host)
{
	unsigned char addr[16];

	return inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1;
}

static int expect_host(SSL *ssl, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	if (is_address(host))
		return X509_VERIFY_PARAM_set1_ip_asc(param, host);
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	/* What SSL_set_tlsext_host_name() stands for, whose cast clang refuses. */
	return SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)host) &&
	       X509_VERIFY_PARAM_set1_host(param, host, 0);
}

SSL *tls_open(struct tls_context *t, int fd, const char *host)
{
	SSL *ssl;

	if (!t->server)
		tls_client_prepare(t);
	ssl = SSL_new(t->ctx);
	if (!ssl)
		abort();
	if (SSL_set_fd(ssl, fd) != 1 || (!t->server && (!host || expect_host(ssl, host) != 1))) {
		SSL_free(ssl);
		ERR_clear_error();
		return NULL;
	}
	if (t->server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	return ssl;
}

int tls_handshake(SSL *ssl, int *ret_mask, struct err *err)
{
	long verdict;
	int r, e, saved;

	ERR_clear_error();
	errno = 0;
	r = SSL_do_handshake(ssl);
	saved = errno;
	if (r == 1)
		return 0;
	e = SSL_get_error(ssl, r);
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
		*ret_mask = e == SSL_ERROR_WANT_READ ? UV_READABLE : UV_WRITABLE;
		return E_AGAIN;
	}
	verdict = SSL_get_verify_result(ssl);
	if (verdict != X509_V_OK)
		err_set(err, E_UNAVAILABLE, "%s", X509_verify_cert_error_string(verdict));
	else if (e == SSL_ERROR_SYSCALL)
		err_set(err, E_UNAVAILABLE, "%s", saved ? strerror(saved) : "the connection was closed");
	else
		err_set(err, E_UNAVAILABLE, "%s", tls_reason());
	ERR_clear_error();
	return E_UNAVAILABLE;
}
