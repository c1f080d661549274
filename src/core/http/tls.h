/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL contexts.  Clients verify the chain against the system's certificates (and ca_file) and the host name;
 * TLS 1.2 and up. */
#pragma once
#include "core/base/err.h"

struct tls_context;

/* ca_file: a PEM file of more authorities to trust, or NULL. */
int tls_client_new(const char *ca_file, struct tls_context **ret, struct err *err);
/* The system's authorities are read when they are first needed: 1.5 MB that a daemon without https upstreams never has.
 * That takes some 20 ms, so whoever knows of such an upstream calls this before a loop has to. Any thread. */
void tls_client_prepare(struct tls_context *t);
int tls_server_new(const char *cert_file, const char *key_file, struct tls_context **ret, struct err *err);
/* Contexts are counted: a server holds its own, and connections hold what they were opened with. Any thread. */
struct tls_context *tls_context_ref(struct tls_context *t);
void tls_context_free(struct tls_context *t); /* gives one reference back */
