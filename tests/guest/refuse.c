// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * refuse: a host that is out of memory, for one QEMU
 *
 * Loaded into QEMU with LD_PRELOAD.  As long as the file exists that REFUSE
 * names, the host can't take memory back: madvise(MADV_DONTNEED) fails.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int madvise(void *addr, size_t length, int advice)
{
	int (*real)(void *, size_t, int) = dlsym(RTLD_NEXT, "madvise");
	const char *file = getenv("REFUSE");

	if (advice == MADV_DONTNEED && file && !access(file, F_OK)) {
		errno = ENOMEM;
		return -1;
	}
	return real(addr, length, advice);
}
