# SPDX-License-Identifier: GPL-2.0-or-later
"""Documents that promise tests.  That these ran is checked at the end of all."""

import pytest

import named_tests


RULES = ([f"D{number:02}" for number in range(1, 51)]
         + [f"G{number:02}" for number in range(1, 22)])


@pytest.mark.parametrize("rule", RULES)
def test_rule_has_a_test(rule):
    """Find the tests of each rule, or the reason why it has none."""
    lines = named_tests.rules()[rule]
    assert lines
    for line in lines:
        assert named_tests.NAME.search(line) or line.startswith("- no test: ")
