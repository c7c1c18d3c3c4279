// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long it takes to copy memory that is there: "copy-memory" tells it for
 * each of some rounds.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guest.h"

#define MAX_ROUNDS 100

int do_copy_memory(char **argv)
{
	size_t bytes = strtoull(argv[0], NULL, 0), length = 0;
	long rounds = strtol(argv[1], NULL, 0);
	char text[MAX_ROUNDS * 24], *memory;

	if (rounds < 1 || rounds > MAX_ROUNDS)
		return answer(false, "%ld: not 1 to %d rounds", rounds,
			      MAX_ROUNDS);
	memory = mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		return answer(false, "memory: %s", strerror(errno));
	memset(memory, 1, 2 * bytes);
	for (long i = 0; i < rounds; i++) {
		uint64_t begin = now_ns();

		memcpy(memory + i % 2 * bytes, memory + (i + 1) % 2 * bytes,
		       bytes);
		length += sprintf(text + length, "%llu\n",
				  (unsigned long long)(now_ns() - begin));
	}
	munmap(memory, 2 * bytes);
	return answer(true, "%s", text);
}
