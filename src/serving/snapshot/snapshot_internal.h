/* SPDX-License-Identifier: Apache-2.0 */
/* Deep copies into a snapshot's arena.  All return 0 or E_TOOBIG, with words. */
#pragma once
#include "serving/snapshot/snapshot.h"

#define SNAPSHOT_MAX_BYTES ((size_t)512 << 20)

int snapshot_copy_slice(struct arena *a, struct slice from, struct slice *ret,
			struct err *err); /* absent stays absent */
int snapshot_copy_model(struct arena *a, const struct model *from, struct model *ret, struct err *err);
int snapshot_copy_use_case(struct arena *a, const struct use_case *from, struct use_case *ret, struct err *err);
int snapshot_copy_policy(struct arena *a, const struct policy *from, struct policy *ret, struct err *err);
int snapshot_copy_left_out(struct snapshot *s, const struct snapshot_source *src, struct err *err);
int snapshot_fault_parse(struct slice text, enum snapshot_fault_kind *ret);
int snapshot_copy_key(struct arena *a, const struct key *from, struct key *ret, struct err *err);
