/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was spent and reserved of what this daemon was lent, in a file that is mapped: it is there when the process is
 * killed, and its successor on the same data directory can tell exactly what is left of the loans.  A file that was
 * written before the machine was started is not believed: its last pages may not have been written.
 *
 * One file for each process, in a directory of them; it is locked while its process lives.
 */
#pragma once
#include "core/base/err.h"
#include "core/base/slice.h"
#include "core/base/uuid.h"
#include "serving/resilience/budget.h"

#define BUDGET_BOOK_ENTRIES 8192 /* what has no room is counted in memory alone */

struct budget_book;

/* Makes the file of this process; the directory too. */
int budget_book_open(const char *directory, const struct uuid *self, struct budget_book **ret, struct err *err);
/* is_settled: nothing has to be known of it any more. */
void budget_book_close(struct budget_book *b, bool is_settled);
/* A place for the counts of a term, or NULL.  Any thread. */
struct budget_counts *budget_book_place(struct budget_book *b, struct slice name, int64_t start_us);
void budget_book_leave(struct budget_counts *c);

/* The file of a process that has ended; both are forgotten by budget_book_close. */
struct budget_book_past {
	struct uuid instance;
	char file[64];
};
/* Up to max of them: how many. */
size_t budget_book_list_past(const char *directory, struct budget_book_past *list, size_t max);
/* Another's, to be read.  E_NOTFOUND: its process lives; E_CORRUPT: it cannot be believed. */
int budget_book_open_past(const char *directory, const struct budget_book_past *past, struct budget_book **ret,
			  struct err *err);
/* Spent and reserved; -1: it is not known. */
int64_t budget_book_gone(const struct budget_book *b, struct slice name, int64_t start_us);
