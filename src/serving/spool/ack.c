/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acknowledged positions: <dir>/ack, two slots written in turn, each with a generation and a checksum; the newest that
 * checks counts.  The file has its full size from the start, so that a full disk never keeps segments from being freed.
 * It is not synchronised: what a power cut takes from it is shipped again, and the database knows it already.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/digest.h"
#include "serving/spool/spool_internal.h"

#define ACK_MAGIC "MUSTRACK"
#define ACK_VERSION 1u

struct ack_slot {
	char magic[8];
	uint32_t version, crc; /* crc: of all behind it */
	uint64_t generation;
	struct position position[SPOOL_MAX_WRITERS]; /* sequence 0: nothing acknowledged */
};

#define CRC_FROM offsetof(struct ack_slot, generation)

static uint32_t slot_crc(const struct ack_slot *slot)
{
	return crc32c(0, (const char *)slot + CRC_FROM, sizeof(*slot) - CRC_FROM);
}

static void slot_use(struct spool *s, const struct ack_slot *slot)
{
	s->ack_generation = slot->generation;
	for (size_t i = 0; i < SPOOL_MAX_WRITERS; i++) {
		s->tracks[i].ack = slot->position[i];
		if (slot->position[i].sequence >= s->next_sequence)
			s->next_sequence = slot->position[i].sequence + 1;
	}
}

int ack_open(struct spool *s, struct err *err)
{
	struct ack_slot *slot;
	int failure;

	s->ack_fd = openat(s->dir_fd, "ack", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->ack_fd < 0)
		return err_set(err, E_IO, "cannot open %s/ack: %s", s->directory, strerror(errno));
	do
		failure = posix_fallocate(s->ack_fd, 0, 2 * sizeof(*slot));
	while (failure == EINTR);
	/* Full or not: reading works, and writing fails for itself later. */
	slot = malloc(sizeof(*slot));
	if (!slot)
		abort();
	for (int i = 0; i < 2; i++) {
		if (pread(s->ack_fd, slot, sizeof(*slot), i * (off_t)sizeof(*slot)) != (ssize_t)sizeof(*slot) ||
		    memcmp(slot->magic, ACK_MAGIC, sizeof(slot->magic)) != 0 || slot->version != ACK_VERSION ||
		    slot->crc != slot_crc(slot) || slot->generation <= s->ack_generation)
			continue;
		slot_use(s, slot);
	}
	free(slot);
	return 0;
}

int ack_write(struct spool *s, struct err *err)
{
	struct ack_slot slot = {.magic = ACK_MAGIC, .version = ACK_VERSION, .generation = s->ack_generation + 1};
	off_t at = (off_t)(slot.generation % 2) * (off_t)sizeof(slot);

	for (size_t i = 0; i < SPOOL_MAX_WRITERS; i++)
		slot.position[i] = s->tracks[i].ack;
	slot.crc = slot_crc(&slot);
	if (pwrite(s->ack_fd, &slot, sizeof(slot), at) != (ssize_t)sizeof(slot))
		return err_set(err, E_IO, "cannot write %s/ack: %s", s->directory, strerror(errno));
	s->ack_generation = slot.generation;
	return 0;
}
