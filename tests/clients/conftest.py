# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the suite with real clients: the same daemon and upstreams as tests/integration, and what npm and PyPI bring."""
import filecmp
import glob
import json
import os
import shutil
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

import muster as m  # noqa: E402

BUILD = os.path.join(m.ROOT, "build")
SHARED = os.path.join(m.ROOT, "..", "shared", "realmodel")
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


@pytest.fixture(scope="session")
def clients():
    """A folder with the clients for Node, and the scripts that play them."""
    where = fill(os.path.join(BUILD, "clients"), os.path.join(HERE, "package.json"), *glob.glob(os.path.join(HERE, "*.mjs")))
    with open(os.path.join(HERE, "package.json")) as f:
        npm_install(where, list(json.load(f)["dependencies"]))
    return where


@pytest.fixture(scope="session")
def python():
    """A Python that has the clients of requirements.txt, in a place of its own; skips, saying why, when there can be none."""
    folder = os.path.join(BUILD, "clients-python")
    marker, wanted = os.path.join(folder, "requirements.txt"), os.path.join(HERE, "requirements.txt")
    binary = os.path.join(folder, "bin", "python3")
    if os.path.exists(marker) and filecmp.cmp(marker, wanted, shallow=False) and os.path.exists(binary):
        return binary
    shutil.rmtree(folder, ignore_errors=True)
    steps = (([sys.executable, "-m", "venv", folder], "python3-venv is not installed"),
             ([binary, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "1", "-r", wanted],
              "pip install failed, which needs the network"))
    for command, why in steps:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=NPM_LIMIT)
        except subprocess.TimeoutExpired:
            pytest.skip("%s did not end within %d s: is the network there?" % (" ".join(command[1:4]), NPM_LIMIT))
        if done.returncode:
            pytest.skip("%s: %s" % (why, (done.stderr or done.stdout).strip()[-300:]))
    shutil.copyfile(wanted, marker)
    return binary


@pytest.fixture(scope="session")
def model_port():
    """Where the real model listens; skips, saying why, when it cannot run."""
    if not os.path.isdir(SHARED):
        pytest.skip("there is no ../shared/realmodel beside the repository")
    folder = fill(os.path.join(BUILD, "realmodel"), *glob.glob(os.path.join(SHARED, "*.*")))
    npm_install(folder, ["node-llama-cpp"], "--omit=optional")
    port = m.free_port()
    environ = dict(os.environ, PORT=str(port))
    with open(os.path.join(folder, "stderr"), "wb") as errors:
        server = subprocess.Popen(["node", "server.mjs"], cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=errors)
    try:
        line = server.stdout.readline().decode()
        if not line.startswith("ready"):
            with open(os.path.join(folder, "stderr")) as f:
                pytest.fail("the model did not start: " + f.read()[-2000:])
        m.passed.others = True
        yield port
    finally:
        m.passed.others = False
        server.terminate()
        server.wait()
        server.stdout.close()


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
