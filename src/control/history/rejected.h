/* SPDX-License-Identifier: Apache-2.0 */
/* The records that the database refused for themselves, one JSON object a line, for a person to look at. */
#pragma once
#include "domain/record.h"

/* Appends to <directory>/rejected.ndjson, unless the file would grow past max_bytes (E_TOOBIG). E_IO. */
int rejected_write(const char *directory, const struct log_record *r, const char *why, size_t max_bytes,
		   struct err *err);
