// SPDX-License-Identifier: GPL-2.0-only
/*
 * Carries memory to a disk and back, past the page cache: the disk's DMA reads
 * and writes the very memory that it is given.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "guest.h"

static int disk_open(char *where)
{
	return open(where, O_RDWR | O_DIRECT);
}

static int disk_carry(int fd, const void *out, void *in, size_t bytes)
{
	ssize_t done = pwrite(fd, out, bytes, 0);

	if (done == (ssize_t)bytes)
		done = pread(fd, in, bytes, 0);
	if (done == (ssize_t)bytes)
		return 0;
	errno = done < 0 ? errno : EIO;
	return -1;
}

const struct carrier disk_carrier = {
	.open = disk_open,
	.carry = disk_carry,
};
