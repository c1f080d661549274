/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which secrets of this machine a model may send to its endpoint.  Whoever may register models names a variable or a
 * file there; without a limit that would be any, and to any host.  Environment variables: those that providers usually
 * have, MUSTER_SECRET_*, and what the operator allows.  Files: below one directory.  Muster's own secrets never.
 */
#pragma once
#include "core/base/err.h"
#include "core/base/slice.h"

struct secret_rules {
	const char *env_allow; /* names between spaces or commas; one that ends in * stands for all that begin so */
	const char *directory; /* "" or NULL: /run/secrets, and $CREDENTIALS_DIRECTORY when systemd has set it */
};

/* Muster's own are not in it, whatever the rules say.  E_DENIED says how to allow it; rules NULL: the defaults. */
int secret_env_check(const struct secret_rules *rules, struct slice name, struct err *err);
/* Of the name alone: absolute, below the directory, without "..". */
int secret_file_check(const struct secret_rules *rules, struct slice path, struct err *err);
/* Opens it for reading; what it links to has to lie below the directory too.  The descriptor, or E_DENIED, E_IO. */
int secret_file_open(const struct secret_rules *rules, struct slice path, struct err *err);
