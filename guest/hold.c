// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of the guest that is in use.
 *
 * "hold" fills anonymous memory so that each word depends on a seed and its
 * place: Linux can move it, but nobody can lose or mix up a page of it unseen.
 * "pin" makes memory that Linux can't move, by leaving it in a pipe.  Both
 * stay until "drop".
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guest.h"

#define MPOL_BIND 2
#define PAGE 4096UL

struct holding {
	char name[32];		/* empty: free */
	uint64_t *words;
	size_t bytes;
	uint64_t seed;
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

static uint64_t word_at(uint64_t seed, size_t index)
{
	return (seed + index) * 0x9e3779b97f4a7c15ULL ^ (seed << 32);
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
	for (size_t i = 0; i < holding->bytes / sizeof(uint64_t); i++)
		holding->words[i] = word_at(holding->seed, i);
	return answer(true, "%zu", holding->bytes);
}

int do_verify(char **argv)
{
	struct holding *holding = find_held(argv[0]);

	if (!holding)
		return -1;
	if (holding->pinned)
		return answer(false, "%s: pinned, has no pattern", argv[0]);
	for (size_t i = 0; i < holding->bytes / sizeof(uint64_t); i++) {
		uint64_t expected = word_at(holding->seed, i);

		if (holding->words[i] != expected)
			return answer(false,
				      "%s: offset 0x%zx: expected 0x%llx, found 0x%llx",
				      argv[0], i * sizeof(uint64_t),
				      (unsigned long long)expected,
				      (unsigned long long)holding->words[i]);
	}
	return answer(true, "%zu", holding->bytes);
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
