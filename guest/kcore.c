// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads physical memory by way of the kernel's own image of it: an ELF file
 * whose segments are what the kernel has as RAM, plugged or not.  Maps it by
 * way of /dev/mem.
 */

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <unistd.h>

#include "guest.h"

#define KCORE "/proc/kcore"

/* Reads what one segment has of [@start, @end).  Returns bytes, or -1. */
static ssize_t read_segment(int fd, const Elf64_Phdr *phdr, uint64_t start,
			    uint64_t end)
{
	static char buffer[1 << 20];
	uint64_t at = MAX(start, phdr->p_paddr), first = at;
	ssize_t got;

	if (phdr->p_type != PT_LOAD)
		return 0;
	/* Addresses that are not physical are -1. */
	end = MIN(end, phdr->p_paddr + MIN(phdr->p_filesz, -phdr->p_paddr));
	for (; at < end; at += got) {
		got = pread(fd, buffer, MIN(sizeof(buffer), end - at),
			    phdr->p_offset + (at - phdr->p_paddr));
		if (got <= 0)
			return -1;
	}
	return at - first;
}

int do_kcore(char **argv)
{
	uint64_t start = strtoull(argv[0], NULL, 0);
	uint64_t end = start + strtoull(argv[1], NULL, 0);
	int fd = open(KCORE, O_RDONLY);
	ssize_t got = -1, total = 0;
	Elf64_Phdr phdr;
	Elf64_Ehdr ehdr;

	if (fd >= 0 && pread(fd, &ehdr, sizeof(ehdr), 0) == sizeof(ehdr))
		got = 0;
	for (int i = 0; got >= 0 && i < ehdr.e_phnum; i++) {
		got = -1;
		if (pread(fd, &phdr, sizeof(phdr), ehdr.e_phoff +
			  i * sizeof(phdr)) == sizeof(phdr))
			got = read_segment(fd, &phdr, start, end);
		total += got;
	}
	if (got < 0)
		answer(false, KCORE ": %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return got < 0 ? -1 : answer(true, "%zd", total);
}

int do_devmem(char **argv)
{
	int fd = open("/dev/mem", O_RDONLY), rc;
	void *page = MAP_FAILED;

	if (fd >= 0)
		page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd,
			    strtoull(argv[0], NULL, 0));
	rc = answer(page != MAP_FAILED, "/dev/mem: %s", strerror(errno));
	if (page != MAP_FAILED)
		munmap(page, 4096);
	if (fd >= 0)
		close(fd);
	return rc;
}
