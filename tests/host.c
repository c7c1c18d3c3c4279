// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * host: a host that is short of something, for one QEMU
 *
 * Loaded into QEMU with LD_PRELOAD.  TEST_HOST names a directory; as long as a
 * file of this name stands in it, the host
 *
 *   keeps-memory  can't take memory back: MADV_DONTNEED fails
 *   no-memory     has none left to fill a range with: MADV_POPULATE_WRITE fails
 *   slow          does not get on with filling, nor with taking back what it could
 *                 not fill; "filling" says that it is at it
 *   old           has no PAGEMAP_SCAN, as before Linux 6.7
 *   swaps         finds only swapped pages with PAGEMAP_SCAN, whatever it finds
 *   loaded        takes 2 ms for each MADV_DONTNEED
 *   no-thread     lets QEMU begin no thread
 *   no-userfaultfd  keeps userfaultfd for root, which QEMU is not
 *   no-pages      has no page for who waits by userfaultfd
 *   busy-tables   can't give every second such page, since page tables change
 *
 * and symbolic links "hpage_pmd_size" and "max_map_count" take the place of the
 * kernel's files of these names, also when they lead nowhere.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *path_of(const char *name)
{
	static __thread char path[4096];

	snprintf(path, sizeof(path), "%s/%s", getenv("TEST_HOST"), name);
	return path;
}

static bool is(const char *name)
{
	return !access(path_of(name), F_OK);
}

static void get_stuck(void)
{
	if (is("slow"))
		close(open(path_of("filling"), O_CREAT | O_WRONLY, 0600));
	while (is("slow"))
		usleep(1000);
}

int madvise(void *addr, size_t length, int advice)
{
	int (*real)(void *, size_t, int) = dlsym(RTLD_NEXT, "madvise");
	bool fill = advice == MADV_POPULATE_WRITE;
	bool take_back = advice == MADV_DONTNEED;
	static bool refused;

	if (take_back && is("loaded"))
		usleep(2000);

	refused |= fill && is("no-memory");
	if ((fill && !refused) || (take_back && refused))
		get_stuck();
	if ((fill && is("no-memory")) || (take_back && is("keeps-memory"))) {
		errno = ENOMEM;
		return -1;
	}
	return real(addr, length, advice);
}

/* Returns what an ioctl() that makes a page is to fail with, or 0. */
static int no_page(void)
{
	static int calls;

	if (is("no-pages"))
		return ENOMEM;
	return is("busy-tables") && ++calls % 2 ? EAGAIN : 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int, unsigned long, void *) = dlsym(RTLD_NEXT, "ioctl");
	bool is_pagemap_scan = _IOC_TYPE(request) == 'f' && _IOC_NR(request) == 16;
	/* struct pm_scan_arg; its category_anyof_mask, and PAGE_IS_SWAPPED */
	unsigned long long *arg;
	const int anyof = 10, swapped = 1 << 4;
	va_list args;

	va_start(args, request);
	arg = va_arg(args, unsigned long long *);
	va_end(args);
	if (is_pagemap_scan && is("old")) {
		errno = ENOTTY;
		return -1;
	}
	if (request == UFFDIO_ZEROPAGE || request == UFFDIO_COPY) {
		errno = no_page();
		if (errno)
			return -1;
	}
	if (is_pagemap_scan && is("swaps") && !(arg[anyof] & swapped))
		return 0;
	return real(fd, request, arg);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr,
		   void *(*start)(void *), void *argument)
{
	int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
		    void *) = dlsym(RTLD_NEXT, "pthread_create");

	return is("no-thread") ? EAGAIN : real(thread, attr, start, argument);
}

long syscall(long number, ...)
{
	long (*real)(long, ...) = dlsym(RTLD_NEXT, "syscall");
	long arg[6];
	va_list args;

	if (number == SYS_userfaultfd && is("no-userfaultfd")) {
		errno = EPERM;
		return -1;
	}
	va_start(args, number);
	for (int i = 0; i < 6; i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	return real(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

static bool is_replaced(const char *name)
{
	struct stat stat;

	return (!strcmp(name, "hpage_pmd_size") ||
		!strcmp(name, "max_map_count")) && !lstat(path_of(name), &stat);
}

/* What GLib reads files with */
int open64(const char *path, int flags, ...)
{
	int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
	const char *name = strrchr(path, '/');
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (!strcmp(path, "/dev/userfaultfd") && is("no-userfaultfd")) {
		errno = EACCES;
		return -1;
	}
	if (name && is_replaced(name + 1))
		path = path_of(name + 1);
	return real(path, flags, mode);
}
