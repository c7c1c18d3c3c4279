// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fills the page cache: "mount" makes a file system of a disk's available,
 * "cache" reads a file through the cache and leaves it there.
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest.h"

int do_mount(char **argv)
{
	mkdir(argv[2], 0755);
	if (mount(argv[1], argv[2], argv[0], MS_RDONLY, NULL))
		return answer(false, "%s on %s: %s", argv[1], argv[2],
			      strerror(errno));
	return answer(true, "");
}

int do_cache(char **argv)
{
	static char buffer[1 << 20];
	int fd = open(argv[0], O_RDONLY);
	size_t bytes = 0;
	ssize_t got = -1;

	if (fd >= 0)
		while ((got = read(fd, buffer, sizeof(buffer))) > 0)
			bytes += got;
	if (got < 0)
		answer(false, "%s: %s", argv[0], strerror(errno));
	if (fd >= 0)
		close(fd);
	return got < 0 ? -1 : answer(true, "%zu", bytes);
}
