# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL (tools/pg-cluster), with a database for each test, and what is asked of it from outside."""
import os
import subprocess

import pytest

import muster as m

SECRET = "it's #1/2@3"  # of the role "secret"; it has to appear nowhere


class Cluster:
    def __init__(self, *options):
        """options: a port that it has to be, and a user, password and database to make."""
        command = [os.path.join(m.ROOT, "tools", "pg-cluster"), *map(str, options)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        word, _, rest = self.process.stdout.readline().decode().strip().partition(" ")
        if word == "absent":
            self.close()
            pytest.skip(rest)
        assert word == "ready", self.process.stderr.read().decode()
        port, pool, self.directory = rest.split()
        self.port, self.pool = int(port), int(pool)
        self.n = 0

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def do(self, what):
        """kill, stop, start, freeze, thaw."""
        self.process.stdin.write(what.encode() + b"\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"done\n", self.process.stderr.read().decode()

    def sql(self, text, database="postgres"):
        """The rows, each a list of texts."""
        got = subprocess.run(["psql", "-X", "-q", "-At", "-F", "\x1f", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
                              str(self.port), "-U", "muster", "-d", database, "-c", text],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=m.LIMIT)
        assert got.returncode == 0, got.stderr.decode()
        return [line.split("\x1f") for line in got.stdout.decode().splitlines()]

    def database(self):
        self.n += 1
        name = "gaming_system_%d" % self.n
        self.sql("create database " + name)
        return Database(self, name)


class Database:
    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name

    def env(self, **more):
        """The variables as an operator exports them."""
        env = {"POSTGRES_HOST": "localhost", "POSTGRES_PORT": str(self.cluster.port), "POSTGRES_DB": self.name,
               "POSTGRES_USER": "secret", "POSTGRES_PASSWORD": SECRET}
        env.update(more)
        return {k: v for k, v in env.items() if v is not None}

    def url(self, port=None, options=""):
        return "postgres://muster@127.0.0.1:%d/%s%s" % (port or self.cluster.port, self.name, options)

    def sql(self, text):
        return self.cluster.sql(text, self.name)

    def check_once(self, load):
        """Every answer that a caller got is in the log; no exchange is there twice."""
        rows = self.sql("select id, request_id from model_historical_logs where use_case = '%s'" % load.use_case)
        ids, requests = [r[0] for r in rows], [r[1] for r in rows]
        assert len(set(ids)) == len(ids) and len(set(requests)) == len(requests), "an exchange is there twice"
        missing = set(load.answered) - set(ids)
        assert not missing, "%d of %d answers are not in the log" % (len(missing), len(load.answered))
        assert set(load.asked_and_answered) <= set(requests)
