# SPDX-License-Identifier: Apache-2.0
"""The fenced code blocks of a Markdown page, and what runs them: one bash and one Python for the whole page.

Both keep what earlier blocks left: variables, background processes, imports. Python gets top-level await and an event
loop that goes on between its blocks, as `python3 -m asyncio` has; it starts at its first block with what bash has
exported.
"""
import json
import os
import re
import select
import signal
import subprocess
import sys
import time

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
ANY = "…"  # in expected output: any text; alone on a line: any lines

DRIVER = r"""
import ast, asyncio, io, json, os, sys, threading, traceback, types
answers, sys.stdout = sys.stdout, io.StringIO()
sys.path.insert(0, os.getcwd())
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
names = {"__name__": "__main__"}

async def run(code):
    got = types.FunctionType(code, names)()
    if asyncio.iscoroutine(got):
        await got

for line in sys.stdin:
    source, limit = json.loads(line)
    out = sys.stdout = io.StringIO()
    try:
        code = compile(source, "<block>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        asyncio.run_coroutine_threadsafe(run(code), loop).result(limit)
        ok = True
    except BaseException:
        out.write(traceback.format_exc())
        ok = False
    answers.write(json.dumps([ok, out.getvalue()]) + "\n")
    answers.flush()
"""


class Block:
    def __init__(self, language, text, line):
        self.language, self.text, self.line = language, text, line
        self.expected = None

    def __repr__(self):
        return "line %d (%s)" % (self.line, self.language)


def of(page):
    """The blocks in order; a `text` block is what the block before it has to print."""
    found = []
    for fence in FENCE.finditer(page):
        block = Block(fence.group(1), fence.group(2), page.count("\n", 0, fence.start()) + 1)
        if block.language == "text":
            assert found and found[-1].expected is None, "%s: the output of no block" % block
            found[-1].expected = block.text
        else:
            found.append(block)
    assert page.count("\n```") == 2 * len(FENCE.findall(page)), "a fence is not at the beginning of its line"
    return found


def words(line):
    return re.sub(r"\s+", " ", line).strip()


def pattern(line):
    return ".*".join(map(re.escape, re.split(" ?%s ?" % ANY, words(line))))


def agrees(said, expected):
    """Whether said is what the page shows; spaces count as one, empty lines not at all."""
    lines = [l for l in expected.splitlines() if l.strip()]
    regex = "".join(r"(?:.*\n)*?" if l.strip() == ANY else pattern(l) + r"\n" for l in lines)
    return re.fullmatch(regex, "".join(words(l) + "\n" for l in said.splitlines() if l.strip())) is not None


class Bash:
    """A shell that ends with the first command that fails."""

    def __init__(self, directory, env, cwd, limit):
        self.directory, self.limit, self.n = str(directory), limit, 0
        self.process = subprocess.Popen(["bash", "--noprofile", "--norc"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, cwd=cwd,
                                        start_new_session=True)
        self._tell("set -e -o pipefail")

    def _tell(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def run(self, text):
        """What it printed; AssertionError when a command failed, or did not end."""
        self.n += 1
        script, out = (os.path.join(self.directory, "block%d.%s" % (self.n, end)) for end in ("sh", "out"))
        with open(script, "w", encoding="utf-8") as f:
            f.write(text)
        self._tell("{ . '%s'; } >'%s' 2>&1 </dev/null" % (script, out))
        self._tell("env -0 >'%s/env'; echo done" % self.directory)
        ready, _, _ = select.select([self.process.stdout], [], [], self.limit)
        word = os.read(self.process.stdout.fileno(), 4096) if ready else b"nothing: it has not ended in time"
        with open(out, encoding="utf-8", errors="replace") as f:
            said = f.read()
        assert word == b"done\n", "bash said %r, exit status %s, after\n%s\nprinted\n%s" % (word, self.status(), text,
                                                                                          said)
        return said

    def status(self):
        try:
            return self.process.wait(1)
        except subprocess.TimeoutExpired:
            return None

    def exported(self):
        with open(os.path.join(self.directory, "env"), encoding="utf-8") as f:
            return dict(item.split("=", 1) for item in f.read().split("\0") if "=" in item)

    def close(self):
        """Ends it, and what it left in the background."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Python:
    def __init__(self, cwd, env, limit):
        self.limit = limit
        self.process = subprocess.Popen([sys.executable, "-u", "-c", DRIVER], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, cwd=cwd, env=env)

    def run(self, text):
        self.process.stdin.write(json.dumps([text, self.limit]).encode() + b"\n")
        self.process.stdin.flush()
        ok, said = json.loads(self.process.stdout.readline())
        assert ok, "python failed after\n%s\nprinted\n%s" % (text, said)
        return said

    def close(self):
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Page:
    """Runs blocks; where: the folder that Python starts in."""

    def __init__(self, directory, env, cwd, where, limit):
        self.bash, self.where, self.limit = Bash(directory, env, cwd, limit), where, limit
        self.python = None
        self.took = []

    def run(self, block):
        began = time.monotonic()
        if block.language == "bash":
            said = self.bash.run(block.text)
        else:
            assert block.language == "python", "%s: neither bash nor python nor text" % block
            if self.python is None:
                self.python = Python(self.where, self.bash.exported(), self.limit)
            said = self.python.run(block.text)
        self.took.append((time.monotonic() - began, block.line))
        if block.expected is not None:
            assert agrees(said, block.expected), "%s printed\n%s\ninstead of\n%s" % (block, said, block.expected)
        return said

    def close(self):
        if self.python:
            self.python.close()
        self.bash.close()
