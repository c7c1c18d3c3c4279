// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of the guest that is in use.
 *
 * "hold" fills anonymous memory with a pattern: Linux can move it.  "fragment"
 * uses memory page by page, and keeps only each so many-th page of it.  "pin"
 * makes memory that Linux can't move, by leaving it in a pipe.  All stay until
 * "drop".  "use" fills memory and frees it again, "blank" looks whether memory
 * that a program gets is all zeroes.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guest.h"

#define MPOL_BIND 2

struct holding {
	char name[32];		/* empty: free */
	uint64_t *words;
	size_t bytes;
	uint64_t seed;
	size_t stride;		/* bytes from a page that is kept to the next */
	int pipe[2];		/* only if pinned */
	bool pinned;
};

static struct holding holdings[32];

/* The empty name finds a free place. */
static struct holding *find(const char *name)
{
	for (size_t i = 0; i < sizeof(holdings) / sizeof(*holdings); i++)
		if (!strcmp(holdings[i].name, name))
			return &holdings[i];
	return NULL;
}

/* As find(), for the commands that name what is held. */
static struct holding *find_held(const char *name)
{
	struct holding *holding = *name ? find(name) : NULL;

	if (!holding)
		answer(false, "%s: not held", name);
	return holding;
}

static int bind_to(void *start, size_t bytes, const char *node)
{
	unsigned long number = strtoul(node, NULL, 0);
	unsigned long mask = number < 8 * sizeof(mask) ? 1UL << number : 0;

	return syscall(SYS_mbind, start, bytes, MPOL_BIND, &mask,
		       8 * sizeof(mask), 0);
}

/* Maps memory for a name that is not in use; the answer is set on failure. */
static struct holding *map(const char *name, const char *bytes,
			   const char *node)
{
	struct holding *holding = find("");

	if (!*name || find(name) || !holding ||
	    strlen(name) >= sizeof(holding->name)) {
		answer(false, "%s: name in use or too long, or too many", name);
		return NULL;
	}
	holding->bytes = strtoull(bytes, NULL, 0) & -PAGE;
	holding->words = mmap(NULL, holding->bytes, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (holding->words == MAP_FAILED) {
		answer(false, "%s: %s bytes: %s", name, bytes, strerror(errno));
		return NULL;
	}
	if (node && bind_to(holding->words, holding->bytes, node)) {
		answer(false, "%s: node %s: %s", name, node, strerror(errno));
		munmap(holding->words, holding->bytes);
		return NULL;
	}
	snprintf(holding->name, sizeof(holding->name), "%s", name);
	holding->stride = PAGE;
	return holding;
}

static void release(struct holding *holding)
{
	if (holding->pinned) {
		close(holding->pipe[0]);
		close(holding->pipe[1]);
	}
	munmap(holding->words, holding->bytes);
	memset(holding, 0, sizeof(*holding));
}

int do_hold(char **argv)
{
	struct holding *holding = map(argv[0], argv[1], argv[3]);

	if (!holding)
		return -1;
	holding->seed = strtoull(argv[2], NULL, 0);
	pattern_fill(holding->words, holding->bytes, holding->seed);
	return answer(true, "%zu", holding->bytes);
}

/* Base pages: what is let go of then leaves holes of base pages. */
int do_fragment(char **argv)
{
	struct holding *holding = map(argv[0], argv[1], NULL);
	size_t stride = strtoull(argv[2], NULL, 0) * PAGE;
	char *start, *end;

	if (!holding)
		return -1;
	start = (char *)holding->words;
	end = start + holding->bytes;
	holding->stride = stride ? stride : PAGE;
	madvise(start, holding->bytes, MADV_NOHUGEPAGE);
	for (char *page = start; page < end; page += PAGE)
		*page = 1;
	for (char *page = start; page < end; page += holding->stride) {
		size_t rest = MIN(holding->stride, (size_t)(end - page)) - PAGE;

		pattern_fill((uint64_t *)page, PAGE, page - start);
		if (rest && madvise(page + PAGE, rest, MADV_DONTNEED)) {
			answer(false, "%s: %s", argv[0], strerror(errno));
			release(holding);
			return -1;
		}
	}
	return answer(true, "%zu", holding->bytes / holding->stride * PAGE);
}

static bool fragments_hold(const struct holding *holding, char *text,
			   size_t size)
{
	const char *start = (const char *)holding->words;

	for (size_t at = 0; at < holding->bytes; at += holding->stride)
		if (!pattern_holds((const uint64_t *)(start + at), PAGE, at,
				   text, size))
			return false;
	return true;
}

static bool holds(const struct holding *holding, char *text, size_t size)
{
	return holding->stride > PAGE ?
	       fragments_hold(holding, text, size) :
	       pattern_holds(holding->words, holding->bytes, holding->seed,
			     text, size);
}

/* Linux zeroes each page that a program touches: all of it is written. */
int do_use(char **argv)
{
	size_t bytes = strtoull(argv[0], NULL, 0);
	char *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (start == MAP_FAILED)
		return answer(false, "%s bytes: %s", argv[0], strerror(errno));
	for (size_t at = 0; at < bytes; at += PAGE)
		start[at] = 1;
	munmap(start, bytes);
	return answer(true, "%zu", bytes);
}

int do_blank(char **argv)
{
	size_t nb_words = strtoull(argv[0], NULL, 0) / sizeof(uint64_t);
	size_t bytes = nb_words * sizeof(uint64_t), odd = 0;
	uint64_t *words = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (words == MAP_FAILED)
		return answer(false, "%s bytes: %s", argv[0], strerror(errno));
	/* Linux zeroes huge pages each time, others only when it has to. */
	madvise(words, bytes, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < nb_words; i += PAGE / sizeof(*words))
		words[i] = 0;	/* what is only read has no page of its own */
	for (size_t i = 0; i < nb_words; i++)
		odd += !!words[i];
	munmap(words, bytes);
	return odd ? answer(false, "%zu words are not zero", odd) :
		     answer(true, "%zu", bytes);
}

int do_verify(char **argv)
{
	struct holding *holding = find_held(argv[0]);
	char where[128];

	if (!holding)
		return -1;
	if (holding->pinned)
		return answer(false, "%s: pinned, has no pattern", argv[0]);
	if (!holds(holding, where, sizeof(where)))
		return answer(false, "%s: %s", argv[0], where);
	return answer(true, "%zu", holding->bytes);
}

/* Writes extents, "PHYSICAL BYTES" a line, in the order of the memory. */
static void print_extents(FILE *text, const uint64_t *addrs, size_t nb_pages)
{
	size_t first = 0;

	for (size_t i = 1; i <= nb_pages; i++) {
		if (i < nb_pages && addrs[i] == addrs[i - 1] + PAGE)
			continue;
		fprintf(text, "0x%llx 0x%lx\n",
			(unsigned long long)addrs[first], (i - first) * PAGE);
		first = i;
	}
}

int do_frames(char **argv)
{
	struct holding *holding = find_held(argv[0]);
	size_t nb_pages = holding ? holding->bytes / PAGE : 0, size;
	uint64_t *addrs = calloc(nb_pages, sizeof(*addrs));
	char *text = NULL;
	FILE *stream = open_memstream(&text, &size);
	int rc = -1;

	if (!holding)
		goto out;
	if (pagemap_read(holding->words, nb_pages, addrs)) {
		answer(false, "%s: pagemap: %s", argv[0], strerror(errno));
		goto out;
	}
	print_extents(stream, addrs, nb_pages);
	fflush(stream);
	rc = answer(true, "%s", text);
out:
	fclose(stream);
	free(text);
	free(addrs);
	return rc;
}

int do_drop(char **argv)
{
	struct holding *holding = find_held(argv[0]);

	if (!holding)
		return -1;
	release(holding);
	return answer(true, "");
}

/* A page in a pipe has a reference that migration doesn't know. */
static int splice_into_pipe(struct holding *holding)
{
	struct iovec iov = { holding->words, holding->bytes };
	ssize_t spliced;

	if (pipe(holding->pipe))
		return -1;
	holding->pinned = true;
	if (fcntl(holding->pipe[1], F_SETPIPE_SZ, holding->bytes) < 0)
		return -1;
	spliced = vmsplice(holding->pipe[1], &iov, 1, SPLICE_F_NONBLOCK);
	return spliced == (ssize_t)holding->bytes ? 0 : -1;
}

int do_pin(char **argv)
{
	struct holding *holding = map(argv[0], argv[1], argv[2]);

	if (!holding)
		return -1;
	memset(holding->words, 0x5a, holding->bytes);
	if (splice_into_pipe(holding)) {
		answer(false, "%s: pipe: %s", argv[0], strerror(errno));
		release(holding);
		return -1;
	}
	return answer(true, "%zu", holding->bytes);
}
