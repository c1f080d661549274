/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl, and the more than twenty libraries behind it, come into the process when something is sent with it. */
#pragma once
#include "core/base/err.h"

/* Before the first use: whether it is there.  E_UNSUPPORTED says what to install. */
int libcurl_load(struct err *err) MUST_CHECK;
