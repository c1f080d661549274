/* SPDX-License-Identifier: Apache-2.0 */
/* Small files that are read whole and replaced whole.  All calls block: none may run on a loop's thread. */
#pragma once
#include "core/base/buf.h"
#include "core/base/err.h"

/* Written beside, synced, renamed, the directory synced: afterwards the file is the old one or the new one, whole. */
int file_replace(const char *path, struct slice bytes, struct err *err);
/* E_NOTFOUND when it is not there; E_TOOBIG past the buffer's maximum.  padding: that many bytes stay free behind. */
int file_read(const char *path, struct buf *out, size_t padding, struct err *err);
/* Gone when it returns 0, whether it was there or not. */
int file_remove(const char *path, struct err *err);
