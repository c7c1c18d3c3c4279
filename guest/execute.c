// SPDX-License-Identifier: GPL-2.0-only
/*
 * Executes physical memory, by way of /dev/window of modules/window.c.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

/* What the code returns */
#define VALUE 42

/* mov $VALUE, %eax; ret */
static const unsigned char code[] = { 0xb8, VALUE, 0, 0, 0, 0xc3 };

/* Zeroes are instructions, too, which soon end the child. */
static bool executes(const void *page)
{
	int (*function)(void) = (int (*)(void))page;
	int status;
	pid_t child = fork();

	if (!child)
		_exit(function());
	waitpid(child, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == VALUE;
}

int do_execute(char **argv)
{
	off_t address = strtoull(argv[0], NULL, 0);
	int fd = open("/dev/window", O_RDWR);
	void *page = MAP_FAILED;
	bool done = false;
	int rc;

	if (fd >= 0)
		page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_SHARED, fd, address);
	if (page != MAP_FAILED) {
		memcpy(page, code, sizeof(code));
		usleep(strtoul(argv[1], NULL, 0) * 1000);
		done = executes(page);
	}
	rc = page == MAP_FAILED ? answer(false, "/dev/window: %s",
					 strerror(errno))
				: answer(true, "%d", done);
	if (page != MAP_FAILED)
		munmap(page, PAGE);
	if (fd >= 0)
		close(fd);
	return rc;
}
