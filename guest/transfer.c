// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O that goes on while the host resizes the guest.  "transfer" begins a
 * process that fills memory with a pattern, lets a carrier take it away and
 * back, and looks at what came, round after round; "transferred" tells how
 * many rounds were good, "transfer-end" ends it as well.  All memory is new in
 * each round: what was plugged meanwhile is used soon.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

/* What the process that works tells the one that takes commands. */
struct report {
	char trouble[256];		/* why it ended, if it did */
	atomic_ullong rounds;
	atomic_ullong above;	/* rounds with all memory above the boundary */
	atomic_bool end;	/* ... and what it is told */
};

struct transfer {
	const char *kind;
	const struct carrier *carrier;
	pid_t pid;			/* 0: none goes on */
	struct report *report;
};

static struct transfer transfers[] = {
	{ .kind = "disk", .carrier = &disk_carrier },
	{ .kind = "net", .carrier = &net_carrier },
};

static struct transfer *find(const char *kind)
{
	for (size_t i = 0; i < sizeof(transfers) / sizeof(*transfers); i++)
		if (!strcmp(transfers[i].kind, kind))
			return &transfers[i];
	answer(false, "%s: no such kind of transfer", kind);
	return NULL;
}

static struct transfer *find_running(const char *kind)
{
	struct transfer *transfer = find(kind);

	if (transfer && !transfer->pid) {
		answer(false, "%s: no transfer goes on", kind);
		return NULL;
	}
	return transfer;
}

static void *map(size_t bytes, int kind)
{
	void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_ANONYMOUS | kind, -1, 0);

	return start == MAP_FAILED ? NULL : start;
}

static bool all_above(const void *start, size_t bytes, uint64_t boundary)
{
	size_t nb_pages = bytes / PAGE;
	uint64_t *addrs = malloc(nb_pages * sizeof(*addrs));
	bool above = addrs && !pagemap_read(start, nb_pages, addrs);

	for (size_t i = 0; above && i < nb_pages; i++)
		above = addrs[i] >= boundary;
	free(addrs);
	return above;
}

/* The work, with arguments as the command has them */
struct job {
	const struct carrier *carrier;
	int fd;
	size_t bytes;
	uint64_t seed;
	uint64_t boundary;	/* a physical address */
};

/* Carries the upper half of memory into the lower one. */
static bool carry(const struct job *job, void *buffer, uint64_t seed,
		  struct report *report)
{
	size_t bytes = job->bytes;
	void *in = buffer, *out = buffer + bytes;

	pattern_fill(out, bytes, seed);
	memset(in, 0, bytes);
	if (job->carrier->carry(job->fd, out, in, bytes)) {
		snprintf(report->trouble, sizeof(report->trouble), "%s",
			 strerror(errno));
		return false;
	}
	return pattern_holds(out, bytes, seed, report->trouble,
			     sizeof(report->trouble)) &&
	       pattern_holds(in, bytes, seed, report->trouble,
			     sizeof(report->trouble));
}

static void work(const struct job *job, struct report *report)
{
	size_t bytes = 2 * job->bytes;
	bool good = true;

	while (good && !report->end) {
		void *buffer = map(bytes, MAP_PRIVATE);

		if (!buffer) {
			snprintf(report->trouble, sizeof(report->trouble), "%s",
				 strerror(errno));
			return;
		}
		good = carry(job, buffer, job->seed + report->rounds, report);
		if (good) {
			report->above += all_above(buffer, bytes, job->boundary);
			report->rounds++;
		}
		munmap(buffer, bytes);
	}
}

static int start(struct transfer *transfer, const struct job *job)
{
	struct report *report = map(sizeof(*report), MAP_SHARED);
	pid_t pid = report ? fork() : -1;

	if (!pid) {
		work(job, report);
		_exit(0);
	}
	if (pid < 0) {
		answer(false, "%s: %s", transfer->kind, strerror(errno));
		if (report)
			munmap(report, sizeof(*report));
		return -1;
	}
	transfer->pid = pid;
	transfer->report = report;
	return answer(true, "");
}

int do_transfer(char **argv)
{
	struct transfer *transfer = find(argv[0]);
	struct job job = { .fd = -1 };
	int rc;

	if (!transfer)
		return -1;
	if (transfer->pid)
		return answer(false, "%s: goes on already", argv[0]);
	job.carrier = transfer->carrier;
	job.bytes = strtoull(argv[2], NULL, 0) & -PAGE;
	job.seed = strtoull(argv[3], NULL, 0);
	job.boundary = strtoull(argv[4], NULL, 0);
	job.fd = job.carrier->open(argv[1]);
	if (job.fd < 0)
		return answer(false, "%s: %s", argv[1], strerror(errno));
	rc = start(transfer, &job);
	close(job.fd);
	return rc;
}

/* Sets the answer; the report may go away afterwards. */
static int tell(const struct transfer *transfer, bool ended, int status)
{
	const struct report *report = transfer->report;

	if (report->trouble[0])
		return answer(false, "%s, round %llu: %s", transfer->kind,
			      report->rounds, report->trouble);
	if (ended && status)
		return answer(false, "%s: ended with status 0x%x",
			      transfer->kind, status);
	return answer(true, "%llu %llu", report->rounds, report->above);
}

static void forget(struct transfer *transfer)
{
	munmap(transfer->report, sizeof(*transfer->report));
	transfer->pid = 0;
}

int do_transferred(char **argv)
{
	struct transfer *transfer = find_running(argv[0]);
	int status = 0, rc;
	bool ended;

	if (!transfer)
		return -1;
	ended = waitpid(transfer->pid, &status, WNOHANG) == transfer->pid;
	rc = tell(transfer, ended, status);
	if (ended)
		forget(transfer);
	return rc;
}

int do_transfer_end(char **argv)
{
	struct transfer *transfer = find_running(argv[0]);
	int status = 0, rc;

	if (!transfer)
		return -1;
	transfer->report->end = true;
	waitpid(transfer->pid, &status, 0);
	rc = tell(transfer, true, status);
	forget(transfer);
	return rc;
}
