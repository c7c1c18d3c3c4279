# SPDX-License-Identifier: GPL-2.0-or-later
"""
The tests that documents name as proof of what they say: cases of the qtests and
Python test functions.  A name of a test stands alone between backquotes; names
of cases have three words or more.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ["docs/conformance.md", "docs/threat-model.md"]
NAME = re.compile(r"`(test_\w+|\w+(?:-\w+){2,})`")
RULE = re.compile(r"^\*\*([DG]\d\d)\*\*")


def all_names():
    """(document, name of a test) for each place that names one."""
    return [(document, name) for document in DOCUMENTS
            if (ROOT / document).exists()
            for name in NAME.findall((ROOT / document).read_text())]


def rules():
    """For each rule of docs/conformance.md, the lines about it."""
    found = {}
    rule = None
    for line in (ROOT / DOCUMENTS[0]).read_text().splitlines():
        match = RULE.match(line)
        if match:
            rule = match.group(1)
            found[rule] = []
        elif line.startswith("#"):
            rule = None
        elif rule and line:
            found[rule].append(line)
    return found


def name_of(nodeid):
    """What documents call the test of this node: file::name[case]@group."""
    _, _, name = nodeid.partition("@")[0].partition("::")
    function, _, parameter = name.partition("[")
    if function == "test_qtest":
        return parameter.split("]")[0]
    return function
