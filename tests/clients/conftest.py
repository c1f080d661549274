# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the suite with real clients: the same daemon and upstreams as tests/integration, and what npm brings."""
import filecmp
import os
import shutil
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

import muster as m  # noqa: E402

BUILD = os.path.join(m.ROOT, "build")
NPM_LIMIT = 150


def npm_install(folder, packages, *options):
    """Installs package.json's packages into a folder below build, once; skips, saying why, when that cannot be done."""
    for tool in ("npm", "node"):
        if not shutil.which(tool):
            pytest.skip("%s is not installed" % tool)
    marker = os.path.join(folder, ".installed.json")
    wanted = os.path.join(folder, "package.json")
    have = os.path.exists(marker) and filecmp.cmp(marker, wanted, shallow=False)
    if have and all(os.path.isdir(os.path.join(folder, "node_modules", p)) for p in packages):
        return
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"] + list(options)
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=NPM_LIMIT)
    except subprocess.TimeoutExpired:
        pytest.skip("npm install did not end within %d s: is the network there?" % NPM_LIMIT)
    if done.returncode:
        pytest.skip("npm install failed, which needs the network: %s" % (done.stderr.strip()[-300:]))
    shutil.copyfile(wanted, marker)


def fill(folder, *sources):
    os.makedirs(folder, exist_ok=True)
    for source in sources:
        to = os.path.join(folder, os.path.basename(source))
        if not os.path.exists(to) or not filecmp.cmp(source, to, shallow=False):
            shutil.copyfile(source, to)
    return folder


@pytest.fixture
def make_upstream():
    made = []

    def make(default=None):
        made.append(m.Upstream(default))
        return made[-1]

    yield make
    for u in made:
        u.close()
    assert not [e for u in made for e in u.errors]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = m.Muster(tmp_path_factory.mktemp("muster"))
    yield d
    d.stop()
