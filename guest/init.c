// SPDX-License-Identifier: GPL-2.0-only
/*
 * The test guest's only process: serves commands that come in over a
 * virtio-serial port.  The console is only a log, so that kernel messages can
 * neither garble an answer nor fake one.
 *
 * A command is a line, "VERB ARGUMENTS\n".  The answer is "ok LENGTH\n" or
 * "error LENGTH\n" and LENGTH bytes.  After boot it sends "ready\n" that way.
 * Memory that is held in use is in hold.c, the page cache in cache.c, I/O that
 * goes on in transfer.c, work in spin.c, and what runs out of memory in fail.c.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

#define PORT_NAME "virtio-mem.test"
#define PORT_DIR "/sys/class/virtio-ports"
#define BOOT_MODULES "/modules/boot"

static char answer_text[4 << 20];

int answer(bool ok, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(answer_text, sizeof(answer_text), format, args);
	va_end(args);
	return ok ? 0 : -1;
}

static int fail(const char *what)
{
	return answer(false, "%s: %s", what, strerror(errno));
}

static int read_file(const char *path)
{
	size_t length = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		return fail(path);
	while ((got = read(fd, answer_text + length,
			   sizeof(answer_text) - 1 - length)) > 0)
		length += got;
	close(fd);
	if (got < 0)
		return fail(path);
	answer_text[length] = 0;
	return 0;
}

static int do_read(char **argv)
{
	return read_file(argv[0]);
}

static int do_write(char **argv)
{
	int fd = open(argv[0], O_WRONLY);
	ssize_t wrote;

	if (fd < 0)
		return fail(argv[0]);
	wrote = write(fd, argv[1], strlen(argv[1]));
	if (wrote < 0)
		fail(argv[0]);
	close(fd);
	return wrote < 0 ? -1 : answer(true, "");
}

/* A write that may take for ever: answers at once. */
static int do_write_later(char **argv)
{
	pid_t pid = fork();

	if (pid < 0)
		return fail("fork");
	if (!pid) {
		close_range(3, ~0U, 0);		/* it must not keep pages in pipes */
		_exit(!!do_write(argv));
	}
	return answer(true, "");
}

static int do_echo(char **argv)
{
	return answer(true, "%s", argv[0]);
}

static int do_list(char **argv)
{
	DIR *dir = opendir(argv[0]);
	struct dirent *entry;
	size_t length = 0;

	if (!dir)
		return fail(argv[0]);
	answer_text[0] = 0;
	while ((entry = readdir(dir)) && length < sizeof(answer_text))
		length += snprintf(answer_text + length,
				   sizeof(answer_text) - length, "%s\n",
				   entry->d_name);
	closedir(dir);
	return 0;
}

static int load(const char *path, const char *parameters)
{
	int fd = open(path, O_RDONLY);
	long rc;

	if (fd < 0)
		return fail(path);
	rc = syscall(SYS_finit_module, fd, parameters, 0);
	if (rc)
		fail(path);
	close(fd);
	return rc ? -1 : answer(true, "");
}

static int do_load(char **argv)
{
	return load(argv[0], argv[1] ? argv[1] : "");
}

static int do_unload(char **argv)
{
	if (syscall(SYS_delete_module, argv[0], O_NONBLOCK))
		return fail(argv[0]);
	return answer(true, "");
}

static int do_dmesg(char **argv)
{
	int length = klogctl(3, answer_text, sizeof(answer_text) - 1);

	(void)argv;
	if (length < 0)
		return fail("dmesg");
	answer_text[length] = 0;
	return 0;
}

/* Answers when Linux has so much memory: the caller need not keep asking. */
static int do_await_total(char **argv)
{
	unsigned long long total = strtoull(argv[0], NULL, 0);
	struct sysinfo info;

	while (!sysinfo(&info) && (unsigned long long)info.totalram *
				  info.mem_unit != total)
		usleep(2000);
	return answer(true, "");
}

static int do_reboot(char **argv)
{
	(void)argv;
	reboot(RB_AUTOBOOT);
	return fail("reboot");
}

static int load_kernel(char **argv, unsigned long flags)
{
	int kernel = open(argv[0], O_RDONLY);
	int initrd = open(argv[1], O_RDONLY);
	long rc = syscall(SYS_kexec_file_load, kernel, initrd,
			  strlen(argv[2]) + 1, argv[2], flags);

	if (rc)
		fail("kexec_file_load");
	close(kernel);
	close(initrd);
	return rc ? -1 : answer(true, "");
}

/* Starts another kernel without a reset: the devices stay as they are. */
static int do_kexec(char **argv)
{
	if (load_kernel(argv, 0))
		return -1;
	reboot(LINUX_REBOOT_CMD_KEXEC);
	return fail("kexec");
}

/* The same, but not before this kernel crashes. */
static int do_kexec_on_crash(char **argv)
{
	return load_kernel(argv, KEXEC_FILE_ON_CRASH);
}

/*
 * Copies a file, or its last bytes, to one that is there, such as a disk;
 * answers with how many that were.
 */
static int do_copy(char **argv)
{
	int from = open(argv[0], O_RDONLY);
	int to = open(argv[1], O_WRONLY);
	static char buffer[1 << 20];
	unsigned long total = 0;
	ssize_t got = -1;

	if (argv[2] && lseek(from, -strtoll(argv[2], NULL, 10), SEEK_END) < 0)
		return fail(argv[2]);
	while (from >= 0 && to >= 0 &&
	       (got = read(from, buffer, sizeof(buffer))) > 0 &&
	       write(to, buffer, got) == got)
		total += got;
	if (got || fsync(to))
		fail(from < 0 ? argv[0] : argv[1]);
	else
		answer(true, "%lu", total);
	close(from);
	close(to);
	return got ? -1 : 0;
}

static int do_poweroff(char **argv)
{
	(void)argv;
	reboot(RB_POWER_OFF);
	return fail("poweroff");
}

struct verb {
	const char *name;
	int min_args;
	int max_args;	/* the last one takes the rest of the line */
	int (*run)(char **argv);
};

static const struct verb verbs[] = {
	{ "read",	1, 1, do_read },
	{ "write",	2, 2, do_write },
	{ "write-later", 2, 2, do_write_later },
	{ "write-failing", 3, 3, do_write_failing },
	{ "list",	1, 1, do_list },
	{ "echo",	1, 1, do_echo },
	{ "load",	1, 2, do_load },
	{ "unload",	1, 1, do_unload },
	{ "dmesg",	0, 0, do_dmesg },
	{ "hold",	3, 4, do_hold },
	{ "fragment",	3, 3, do_fragment },
	{ "use",	1, 1, do_use },
	{ "blank",	1, 1, do_blank },
	{ "verify",	1, 1, do_verify },
	{ "frames",	1, 1, do_frames },
	{ "drop",	1, 1, do_drop },
	{ "pin",	2, 3, do_pin },
	{ "mount",	3, 3, do_mount },
	{ "cache",	1, 1, do_cache },
	{ "kcore",	2, 2, do_kcore },
	{ "devmem",	1, 1, do_devmem },
	{ "copy-memory", 2, 2, do_copy_memory },
	{ "put-code",	1, 1, do_put_code },
	{ "execute",	1, 1, do_execute },
	{ "spin",	1, 1, do_spin },
	{ "spin-end",	0, 0, do_spin_end },
	{ "await-total", 1, 1, do_await_total },
	{ "transfer",	5, 5, do_transfer },
	{ "transferred", 1, 1, do_transferred },
	{ "transfer-end", 1, 1, do_transfer_end },
	{ "reboot",	0, 0, do_reboot },
	{ "kexec",	3, 3, do_kexec },
	{ "kexec-on-crash", 3, 3, do_kexec_on_crash },
	{ "copy",	2, 3, do_copy },
	{ "poweroff",	0, 0, do_poweroff },
};

static int run(char *line)
{
	char *argv[8] = { NULL }, *name = strsep(&line, " ");
	const struct verb *verb = NULL;
	int argc = 0;

	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (!strcmp(name, verbs[i].name))
			verb = &verbs[i];
	if (!verb)
		return answer(false, "%s: no such command", name);

	while (line && argc < verb->max_args)
		argv[argc] = argc + 1 == verb->max_args ?
			     line : strsep(&line, " "), argc++;
	if (argc < verb->min_args)
		return answer(false, "%s: arguments needed: %d", name,
			      verb->min_args);
	return verb->run(argv);
}

static void send_answer(FILE *port, bool ok)
{
	fprintf(port, "%s %zu\n%s", ok ? "ok" : "error", strlen(answer_text),
		answer_text);
	fflush(port);
}

static FILE *open_port(void)
{
	char path[512], name[64] = "";
	struct dirent *entry;
	FILE *file = NULL;
	DIR *dir;

	while (!file) {
		dir = opendir(PORT_DIR);
		while (dir && !file && (entry = readdir(dir))) {
			snprintf(path, sizeof(path), PORT_DIR "/%s/name",
				 entry->d_name);
			if (read_file(path) ||
			    sscanf(answer_text, "%63s", name) != 1 ||
			    strcmp(name, PORT_NAME))
				continue;
			snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
			file = fopen(path, "r+");
		}
		if (dir)
			closedir(dir);
		usleep(10000);	/* the port shows up when its driver is ready */
	}
	return file;
}

/* Modules that this kernel needs for the port, in the order of their names. */
static void load_boot_modules(void)
{
	struct dirent **entries;
	char path[512];
	int nr = scandir(BOOT_MODULES, &entries, NULL, alphasort);

	for (int i = 0; i < nr; i++) {
		snprintf(path, sizeof(path), BOOT_MODULES "/%s",
			 entries[i]->d_name);
		if (*entries[i]->d_name != '.' && load(path, ""))
			fprintf(stderr, "%s\n", answer_text);
		free(entries[i]);
	}
	if (nr >= 0)
		free(entries);
}

static void mount_or_die(const char *type, const char *where)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, NULL) && errno != EBUSY) {
		perror(where);
		exit(1);	/* init ends: the kernel panics, the test fails */
	}
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;
	FILE *port;

	mount_or_die("proc", "/proc");
	mount_or_die("sysfs", "/sys");
	mount_or_die("devtmpfs", "/dev");
	mount_or_die("debugfs", "/sys/kernel/debug");

	load_boot_modules();
	port = open_port();
	setvbuf(port, NULL, _IONBF, 0);
	answer(true, "ready\n");
	send_answer(port, true);

	for (;;) {
		ssize_t length = getline(&line, &size, port);

		if (length <= 0) {
			clearerr(port);
			usleep(10000);	/* nobody is connected */
			continue;
		}
		line[strcspn(line, "\n")] = 0;
		send_answer(port, !run(line));
	}
}
