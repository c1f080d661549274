/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The long texts of records, beside an embedded database: PATH-texts/NNNNNNNN.txt, appended to; the row keeps a
 * reference.  Going through the database, each byte would be copied three times by the kernel (its log, read back, its
 * file), and for texts of 32 KB that is half of what a request costs.  They are written past the page cache, where the
 * file system can: a page that nobody reads soon costs more than all else here.  A database that has no folder for
 * them (db->texts_dir is NULL) keeps all texts in its rows.
 *
 * The end of the last reference is the end of what counts, and the database knows it: where to write is asked in each
 * transaction, under the write lock, so that whatever a kill, a rollback or another process left behind is overwritten.
 * A text that cannot be read back, or is not what was written, is told of (log_record.content_error), never an error of
 * the row.
 */
#pragma once
#include "control/store/db.h"
#include "domain/record.h"

#define TEXTS_MIN 2048u			    /* shorter ones, all of a record together, are cheaper in the row */
#define TEXTS_MIN_OF_MANY 512u		    /* the same where many are written at once */
#define TEXTS_FILE_MAX (UINT32_C(64) << 20) /* a file that has come so far gets no more */
#define TEXTS_REF_SIZE 64
#define TEXTS_CHUNK 32u

/* What keeps a file open between calls; one thread's. */
struct texts_writer {
	uint32_t file; /* 0: none */
	int fd;
	char *block; /* what goes to the file at once; NULL: nothing was written yet */
	size_t n;
	uint64_t at;	  /* where it goes */
	size_t n_at_once; /* since others were let in */
	bool is_huge;	  /* the block is one page */
	/* of the transaction that texts_hold began */
	bool held;
	bool placed;  /* it has written some */
	uint64_t end; /* of them */
};
void texts_writer_release(struct texts_writer *w);
/* Between transactions: gives back what memory it can. */
void texts_writer_rest(struct texts_writer *w);
/* Until texts_settle, which goes before the commit, or texts_drop, what is written may stay in memory. */
void texts_hold(struct texts_writer *w);
int texts_settle(const struct db *db, struct texts_writer *w, struct err *err);
void texts_drop(struct texts_writer *w);

/*
 * Writes the texts of those records (at most TEXTS_CHUNK) that are long, and their references: "" for the others.  To
 * be called inside the transaction that inserts the rows.
 */
int texts_write(struct db *db, struct texts_writer *w, const struct log_record *list, size_t n,
		char ret_refs[][TEXTS_REF_SIZE], struct err *err);
/* Fills the texts of *r, or r->content_error.  E_TOOBIG: they do not fit the arena. */
int texts_read(const struct db *db, struct arena *a, struct slice ref, struct log_record *r);
/* Makes the bytes zero, and gives back their room where the file system can; refs: some absent. */
int texts_erase(const struct db *db, const struct db_rows *refs, struct err *err);
/* Deletes the files that no row refers to.  A transaction of its own. */
int texts_sweep(struct db *db, struct err *err);
/* Of all files, on disk; 0 where there are none. */
int64_t texts_bytes(const struct db *db);
