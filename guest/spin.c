// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much a program of the guest is held up: "spin" begins a process that
 * does nothing but work on one CPU and counts what it gets done in each slice
 * of time, "spin-end" ends it and tells the counts.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define SLICE_NS 10000000ULL
#define MAX_SLICES 60000	/* ten minutes */
#define BUFFER_PAGES 64

struct spinning {
	atomic_bool end;
	size_t nb_slices;		/* complete ones */
	uint32_t slices[MAX_SLICES];	/* work done; 0 where there was no time */
	uint64_t buffer[BUFFER_PAGES * PAGE / sizeof(uint64_t)];
};

static struct spinning *spinning;
static pid_t spinner;			/* 0: none */

/* Some microseconds of work, with memory that needs page tables looked up. */
static void work(struct spinning *s)
{
	size_t step = PAGE / sizeof(*s->buffer);

	for (size_t round = 0; round < 16; round++) {
		for (size_t i = 0; i < BUFFER_PAGES * step; i += step)
			s->buffer[i] = s->buffer[i] * 5 + round;
		atomic_signal_fence(memory_order_seq_cst);
	}
}

static void spin(struct spinning *s)
{
	uint64_t begin = now_ns();
	size_t slice = 0;

	while (!s->end) {
		work(s);
		slice = (now_ns() - begin) / SLICE_NS;
		if (slice >= MAX_SLICES)
			break;
		s->slices[slice]++;
	}
	s->nb_slices = slice;
}

/* This program must not take of the time itself. */
static int leave_cpu(size_t cpu)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		return -1;
	CPU_CLR(cpu, &cpus);
	return sched_setaffinity(0, sizeof(cpus), &cpus);
}

int do_spin(char **argv)
{
	size_t cpu = strtoul(argv[0], NULL, 0) % CPU_SETSIZE;
	cpu_set_t cpus;

	if (spinner)
		return answer(false, "spins already");
	if (leave_cpu(cpu))
		return answer(false, "spin: %s", strerror(errno));
	spinning = mmap(NULL, sizeof(*spinning), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (spinning == MAP_FAILED)
		return answer(false, "spin: %s", strerror(errno));
	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	spinner = fork();
	if (!spinner) {
		if (sched_setaffinity(0, sizeof(cpus), &cpus))
			_exit(errno);
		spin(spinning);
		_exit(0);
	}
	if (spinner > 0)
		return answer(true, "");
	spinner = 0;
	munmap(spinning, sizeof(*spinning));
	return answer(false, "spin: %s", strerror(errno));
}

static int tell(const struct spinning *s, int status)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	int rc;

	for (size_t i = 0; i < s->nb_slices; i++)
		fprintf(stream, "%u\n", s->slices[i]);
	fclose(stream);
	rc = status ? answer(false, "spin: status 0x%x", status) :
		      answer(true, "%s", text);
	free(text);
	return rc;
}

int do_spin_end(char **argv)
{
	int status = 0, rc;

	(void)argv;
	if (!spinner)
		return answer(false, "nothing spins");
	spinning->end = true;
	waitpid(spinner, &status, 0);
	spinner = 0;
	rc = tell(spinning, status);
	munmap(spinning, sizeof(*spinning));
	return rc;
}
