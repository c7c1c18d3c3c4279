# SPDX-License-Identifier: GPL-2.0-or-later
"""Documents that promise tests.  That these ran is checked at the end of all."""

import pytest

import named_tests


@pytest.mark.parametrize("number", range(1, 51))
def test_rule_has_a_test(number):
    """Find the tests of each device rule, or the reason why it has none."""
    lines = named_tests.rules()[f"D{number:02}"]
    assert lines
    for line in lines:
        assert named_tests.NAME.search(line) or line.startswith("- no test: ")
