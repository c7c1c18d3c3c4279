// SPDX-License-Identifier: GPL-2.0-only
/* System calls that run out of memory, in kernels with fault injection. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

/*
 * Writes a text, and the NTH allocation that this takes fails.  Says how many
 * less it took, 0 if one failed, and the error of the write or 0.
 */
int do_write_failing(char **argv)
{
	int fd = open(argv[1], O_WRONLY);
	int nth = open("/proc/self/fail-nth", O_RDWR);
	char left[16] = "";
	int error = 0;

	if (fd < 0 || nth < 0)
		return answer(false, "%s: %s", argv[1], strerror(errno));
	if (pwrite(nth, argv[0], strlen(argv[0]), 0) < 0)
		return answer(false, "fail-nth: %s", strerror(errno));
	if (write(fd, argv[2], strlen(argv[2])) < 0)
		error = errno;
	if (pread(nth, left, sizeof(left) - 1, 0) < 0 ||
	    pwrite(nth, "0", 1, 0) < 0)
		return answer(false, "fail-nth: %s", strerror(errno));
	close(nth);
	close(fd);
	return answer(true, "%d %d", atoi(left), error);
}
