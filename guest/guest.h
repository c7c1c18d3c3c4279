/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the test guest's init share. */

#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096UL

/* Sets the text of the answer; returns 0 when @ok, else -1. */
int answer(bool ok, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* clock.c: nanoseconds since some moment before */
uint64_t now_ns(void);

/* pattern.c: words of memory that depend on a seed and their place */

void pattern_fill(uint64_t *words, size_t bytes, uint64_t seed);

/* Says in @text where memory has not what it was filled with, if so. */
bool pattern_holds(const uint64_t *words, size_t bytes, uint64_t seed,
		   char *text, size_t text_size);

/* pagemap.c */

/*
 * Finds the physical addresses of pages from @start on, 0 for one that is not
 * there.  Returns 0, or -1 with errno.
 */
int pagemap_read(const void *start, size_t nb_pages, uint64_t *addrs);

/* hold.c; each takes the arguments of its command and sets the answer. */
int do_hold(char **argv);	/* NAME BYTES SEED [NODE] */
int do_fragment(char **argv);	/* NAME BYTES STRIDE; the latter in pages */
int do_use(char **argv);	/* BYTES */
int do_blank(char **argv);	/* BYTES */
int do_verify(char **argv);	/* NAME */
int do_frames(char **argv);	/* NAME */
int do_drop(char **argv);	/* NAME */
int do_pin(char **argv);	/* NAME BYTES [NODE] */

/* cache.c */
int do_mount(char **argv);	/* TYPE DEVICE DIRECTORY */
int do_cache(char **argv);	/* FILE */

/* kcore.c */
int do_kcore(char **argv);	/* PHYSICAL BYTES */
int do_devmem(char **argv);	/* PHYSICAL */

/* copying.c */
int do_copy_memory(char **argv);	/* BYTES ROUNDS; tells ns, a line each */

/* execute.c */
int do_put_code(char **argv);	/* PHYSICAL */
int do_execute(char **argv);	/* PHYSICAL */

/* spin.c */
int do_spin(char **argv);	/* CPU */
int do_spin_end(char **argv);	/* tells the work of each 10 ms, a line each */

/* fail.c */
int do_write_failing(char **argv);	/* NTH FILE TEXT */

/* transfer.c */
int do_transfer(char **argv);	/* KIND WHERE BYTES SEED BOUNDARY */
int do_transferred(char **argv);	/* KIND */
int do_transfer_end(char **argv);	/* KIND */

/* A way for memory to leave the guest and to come back, by DMA. */
struct carrier {
	/* Returns a file descriptor, or -1 with errno. */
	int (*open)(char *where);
	/* All of @out goes away, and comes back to @in; 0, or -1 with errno. */
	int (*carry)(int fd, const void *out, void *in, size_t bytes);
};

extern const struct carrier disk_carrier;	/* disk.c; WHERE is a device */
extern const struct carrier net_carrier;	/* net.c; WHERE is ADDRESS:PORT */

#endif
