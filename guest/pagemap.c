// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tells where memory of this process is in the guest's physical memory, which
 * is what the host and its devices see.
 */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "guest.h"

#define PRESENT 0x8000000000000000ULL
#define FRAME_MASK 0x007fffffffffffffULL

int pagemap_read(const void *start, size_t nb_pages, uint64_t *addrs)
{
	off_t offset = (uintptr_t)start / PAGE * sizeof(*addrs);
	ssize_t size = nb_pages * sizeof(*addrs), got;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0)
		return -1;
	got = pread(fd, addrs, size, offset);
	close(fd);
	if (got != size) {
		errno = got < 0 ? errno : EIO;
		return -1;
	}
	for (size_t i = 0; i < nb_pages; i++)
		addrs[i] = addrs[i] & PRESENT ?
			   (addrs[i] & FRAME_MASK) * PAGE : 0;
	return 0;
}
