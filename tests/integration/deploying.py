# SPDX-License-Identifier: Apache-2.0
"""What the tests of deployments share: a use case with two models, callers, waiting for states."""
import muster as m


class World:
    """Use case `roll`: `old@1.0` is current, `new@1.0` a candidate; each says its own words."""

    def __init__(self, daemon, old, new, name="roll", policy="none"):
        self.daemon, self.old, self.new, self.name = daemon, old, new, name
        daemon.use_case(name, policy=policy, fallback_content="")
        daemon.register(name, old, name="old")
        daemon.register(name, new, name="new", promote=False)

    def start(self, strategy="canary", **members):
        body = {"use_case": self.name, "model": "new@1.0", "strategy": strategy, "reason": "test"}
        body.update(members)
        return self.daemon.post("/api/v1/deployments", body)

    def started(self, strategy="canary", **members):
        answer = self.start(strategy, **members)
        assert answer.status == 201, answer
        return answer.json()

    def get(self, d):
        return self.daemon.api("GET", "/api/v1/deployments/" + d["deployment_id"])

    def tell(self, d, what, **body):
        return self.daemon.post("/api/v1/deployments/%s/%s" % (d["deployment_id"], what), body)

    def wait(self, d, state, limit=m.LIMIT, **members):
        def probe():
            now = self.get(d)
            return now if now["state"] == state and all(now[k] == v for k, v in members.items()) else None

        try:
            return m.eventually(probe, "%s %s" % (state, members), limit)
        except AssertionError as e:
            raise AssertionError("%s; it is %s" % (e, self.get(d)))

    def ask(self, n, prefix="caller-", **headers):
        """n callers, each once, on one connection; the models that answered, by caller."""
        got = {}
        with self.daemon.connect() as c:
            for i in range(n):
                user = "%s%d" % (prefix, i)
                body = {"model": self.name, "user": user, "messages": [{"role": "user", "content": "hi"}]}
                answer = c.request("POST", "/v1/chat/completions", body, headers)
                assert answer.status == 200, answer
                got[user] = answer
        return got

    def models(self, n, prefix="caller-"):
        return {u: a.headers["x-muster-model"] for u, a in self.ask(n, prefix).items()}

    def status(self, name):
        return self.daemon.api("GET", "/api/v1/models/%s@1.0?use_case=%s" % (name, self.name))["status"]

    def events(self, kind=None):
        path = "/api/v1/events?limit=1000&use_case=" + self.name + ("&kind=" + kind if kind else "")
        return self.daemon.api("GET", path)["data"]
