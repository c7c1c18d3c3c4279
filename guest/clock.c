// SPDX-License-Identifier: GPL-2.0-only
/* The test guest's clock. */

#include <time.h>

#include "guest.h"

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}
