# SPDX-License-Identifier: Apache-2.0
"""A daemon that asks for keys: the first is made on its database before it starts, the others through it."""
import os
import re

import control
import muster as m

KEY = re.compile(r"^mk_[0-9a-f]{64}$")


def bearer(key, **more):
    return dict({"Authorization": "Bearer " + key}, **more)


def first_key(directory, name="ops", *args, **env):
    """Made beside a stopped daemon: its text."""
    got = control.run("key", "create", "--name", name, "--role", "admin", "--data", os.path.join(str(directory), "data"),
                      "--why", "the first", *args, **env)
    assert got.rc == 0 and KEY.match(got.out.strip()), got
    return got.out.strip()


class Keyed(m.Muster):
    """Whatever is asked without saying who is asked with the first key."""

    def __init__(self, directory, config="", args=(), env=None):
        self.key = first_key(directory)
        super().__init__(directory, config, args, env)

    def request(self, method, path, body=None, headers=None, version="1.1"):
        return super().request(method, path, body, bearer(self.key) if headers is None else headers, version)

    def make(self, role, name=None, **members):
        """Another key: its text."""
        made = self.api("POST", "/api/v1/keys", dict(members, name=name or self.name(role), role=role, reason="test"))
        assert KEY.match(made["key"]), made
        return made["key"]

    def as_(self, key, method, path, body=None):
        return self.request(method, path, body, bearer(key) if key else {})
