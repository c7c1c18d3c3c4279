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

/* Returns a page of physical memory, or MAP_FAILED with errno. */
static void *open_window(const char *address)
{
	int fd = open("/dev/window", O_RDWR);
	void *page = MAP_FAILED;

	if (fd >= 0) {
		page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_SHARED, fd, strtoull(address, NULL, 0));
		close(fd);
	}
	return page;
}

int do_put_code(char **argv)
{
	void *page = open_window(argv[0]);

	if (page == MAP_FAILED)
		return answer(false, "/dev/window: %s", strerror(errno));
	memcpy(page, code, sizeof(code));
	munmap(page, PAGE);
	return answer(true, "");
}

int do_execute(char **argv)
{
	void *page = open_window(argv[0]);
	bool done;

	if (page == MAP_FAILED)
		return answer(false, "/dev/window: %s", strerror(errno));
	done = executes(page);
	munmap(page, PAGE);
	return answer(true, "%d", done);
}
