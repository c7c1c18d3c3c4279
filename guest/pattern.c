// SPDX-License-Identifier: GPL-2.0-only
/*
 * A pattern for memory: each word depends on a seed and its place, so that
 * nobody can lose or mix up a page of it unseen.
 */

#include <stdio.h>

#include "guest.h"

static uint64_t word_at(uint64_t seed, size_t index)
{
	return (seed + index) * 0x9e3779b97f4a7c15ULL ^ (seed << 32);
}

void pattern_fill(uint64_t *words, size_t bytes, uint64_t seed)
{
	for (size_t i = 0; i < bytes / sizeof(*words); i++)
		words[i] = word_at(seed, i);
}

bool pattern_holds(const uint64_t *words, size_t bytes, uint64_t seed,
		   char *text, size_t text_size)
{
	for (size_t i = 0; i < bytes / sizeof(*words); i++) {
		uint64_t expected = word_at(seed, i);

		if (words[i] != expected) {
			snprintf(text, text_size,
				 "offset 0x%zx: expected 0x%llx, found 0x%llx",
				 i * sizeof(*words),
				 (unsigned long long)expected,
				 (unsigned long long)words[i]);
			return false;
		}
	}
	return true;
}
