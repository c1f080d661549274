# SPDX-License-Identifier: Apache-2.0
"""docs/PITFALLS.md promises behaviour and names the tests that show it: each of them has to be there."""
import os
import re

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = os.path.join(HERE, "..", "..", "docs", "PITFALLS.md")


def rows():
    with open(PAGE, encoding="utf-8") as f:
        lines = [l for l in f if l.startswith("| ")][2:]
    assert len(lines) > 20
    return [[cell.strip() for cell in l.strip().strip("|").split("|")] for l in lines]


@pytest.mark.parametrize("row", rows(), ids=lambda r: r[0][:40])
def test_what_shows_it_is_there(row):
    assert len(row) == 3 and all(row)
    names = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", row[2])
    assert names, "nothing is named that shows it"
    for name, test in names:
        with open(os.path.join(HERE, name), encoding="utf-8") as f:
            text = f.read()
        assert not test or re.search(r"^def %s\(" % test, text, re.M), "%s has no %s" % (name, test)
