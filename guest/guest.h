/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the test guest's init share. */

#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>

/* Sets the text of the answer; returns 0 when @ok, else -1. */
int answer(bool ok, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* hold.c; each takes the arguments of its command and sets the answer. */
int do_hold(char **argv);	/* NAME BYTES SEED [NODE] */
int do_verify(char **argv);	/* NAME */
int do_drop(char **argv);	/* NAME */
int do_pin(char **argv);	/* NAME BYTES [NODE] */

#endif
