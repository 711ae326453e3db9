"""A relay and agents as a site runs them: policy on, a caller's key checked, a service's token put in, the answering
user compared. Enrolled by the commands that people type."""
import json
import re

import processes
from nginx import BIG_PATH, JSON_PATH, USER
from processes import Fault, free_port, listens, run, start, wait

ZONE = "outhaul.localhost"
DIRECT = f"direct.{ZONE}"

RELAY = """[server]
listen = "127.0.0.1:{port}"
certificate = "{certificates}/relay.pem"
private-key = "{certificates}/relay.key"
zone = "{zone}"
public-url = "wss://localhost:{port}"

[operator]
listen = "127.0.0.1:{operator}"

[admin]
socket = "{folder}/relay.sock"

[state]
directory = "{folder}/relay-state"

[log]
filter = "warn"

[limits]
# The rate is counted as ever, but never reached: at the default of 20,000 a second the fastest runs would be cut off.
site-calls-a-second = 1000000
{limits}
"""

AGENT = """[relay]
url = "wss://localhost:{relay}"
ca-file = "{certificates}/ca.pem"
tunnels = {tunnels}

[state]
directory = "{folder}/state"

[store]
key = {{ file = "{folder}/store.key" }}

[admin]
socket = "{folder}/agent.sock"

[log]
filter = "warn"

{passed}[upstream.jira]
url = "http://127.0.0.1:{upstream}"

[upstream.sink]
url = "http://127.0.0.1:{sink}"

[service.reader]
user = "{user}"
pat = {{ file = "{folder}/pat" }}

[caller.people]
act-as = ["bench"]

[[policy.rule]]
allow = "GET /rest/api/2/issue/*"
why = "Single issues, as the person"
upstream = "jira"
caller = ["people"]
as = "user"
accept-relay-trust = true
"""

PERSON = "bench:somebody@corp.example"

PASSED = """[pass-through]
operator-names = ["{name}"]
certificate = "{certificates}/direct.pem"
private-key = "{certificates}/direct.key"

"""

RULE = """
[[policy.rule]]
allow = "{allow}"
why = "{why}"
upstream = "{upstream}"
as = {{ service = "reader" }}
"""


def rules(count):
    """So many rules of several shapes; the one that decides the benchmark's call is the last."""
    shapes = ("GET /rest/api/2/thing-{}/*", "GET|POST /rest/api/2/thing-{}", "PUT /rest/*/2/thing-{}/*/comment",
              "GET /rest/agile/1.0/thing-{}/**", "GET|DELETE /rest/api/2/issue/*/thing-{}")
    text = [RULE.format(allow=f"GET {BIG_PATH}", why="Large files", upstream="jira"),
            RULE.format(allow="POST /upload", why="Uploads", upstream="sink")]
    # One more stands in the configuration, for people.
    for number in range(count - 4):
        allow = shapes[number % len(shapes)].format(number)
        text.append(RULE.format(allow=allow, why="One of many", upstream="jira"))
    text.append(RULE.format(allow="GET /rest/api/2/issue/*", why="Single issues", upstream="jira"))
    return "".join(text)


class Refused(Fault):
    """The agent does not take its configuration."""


class Relay:
    """A relay in a folder of its own."""

    def __init__(self, stage, name, limits=""):
        self.stage, self.folder = stage, stage.folder / name
        self.folder.mkdir()
        self.port, self.operator = free_port(), free_port()
        self.config = self.folder / "relay.toml"
        self.config.write_text(RELAY.format(port=self.port, operator=self.operator, zone=ZONE, limits=limits,
                                            certificates=stage.folder, folder=self.folder))
        self.start()

    def start(self):
        command = [self.stage.relay_program, "--config", self.config, "run"]
        self.process = start(command, self.folder / "relay.log")
        socket = self.folder / "relay.sock"
        wait("the relay", lambda: listens(self.port) and listens(self.operator) and socket.exists(), self.process)

    def command(self, *arguments):
        return run([self.stage.relay_program, "--config", self.config, *arguments])

    def stop(self):
        processes.stop(self.process, 40)


class Agent:
    """An agent with a site of its own. `line`: the port of a line that leads to the relay."""

    def __init__(self, relay, site, tunnels=2, line=None, rule_count=10, passed=False):
        stage = relay.stage
        self.relay, self.site, self.folder = relay, site, relay.folder / site
        (self.folder / "state").mkdir(parents=True, mode=0o700)
        (self.folder / "pat").write_text("bench-token\n")
        (self.folder / "pat").chmod(0o600)
        self.config = self.folder / "agent.toml"
        more = dict(certificates=stage.folder, folder=self.folder, tunnels=tunnels, upstream=stage.upstream_port,
                    sink=stage.sink_port, user=USER,
                    passed=PASSED.format(name=f"{site}.{DIRECT}", certificates=stage.folder) if passed else "")
        self.config.write_text(AGENT.format(relay=relay.port, **more) + rules(rule_count))
        self.program = [stage.agent_program, "--config", self.config]
        try:
            run([*self.program, "check-config"])
        except Fault as refusal:
            raise Refused(str(refusal).split("\n", 1)[-1].strip()[:1000]) from None
        relay.command("site", "add", site)
        token = re.search(r"oht_[\w-]+", relay.command("site", "enrol", site)).group()
        run([*self.program, "enrol", "--token", token])
        if line is not None:
            self.config.write_text(AGENT.format(relay=line, **more) + rules(rule_count))
        self.process = start([*self.program, "run"], self.folder / "agent.log")
        wait(f"the agent of {site}", (self.folder / "agent.sock").exists, self.process)
        self.key = json.loads(run([*self.program, "--json", "caller", "add", "bench"]))["key"]
        wait(f"the tunnels of {site}", lambda: self.tunnels() == tunnels, self.process)

    def tunnels(self):
        agents = json.loads(self.relay.command("--json", "agents"))["agents"]
        return sum(len(one["tunnels"]) for one in agents if one["site"] == self.site)

    def contestant(self, name):
        base = f"https://localhost:{self.relay.port}/s/{self.site}"
        return {"name": name, "json": f"{base}/jira{JSON_PATH}", "big": f"{base}/jira{BIG_PATH}",
                "upload": f"{base}/sink/upload", "headers": [f"Authorization: Bearer {self.key}"],
                "processes": [self.relay.process.pid, self.process.pid]}

    def passed(self, name):
        """The same calls with TLS that ends at the agent."""
        host = f"{self.site}.{DIRECT}"
        base = f"https://{host}:{self.relay.port}"
        return {**self.contestant(name), "json": f"{base}/jira{JSON_PATH}", "big": f"{base}/jira{BIG_PATH}",
                "upload": f"{base}/sink/upload", "host": host, "port": self.relay.port}

    def person(self, name):
        """The same calls as a person whom the caller names, with that person's own token."""
        key = json.loads(run([*self.program, "--json", "caller", "add", "people"]))["key"]
        run([*self.program, "link", "create", PERSON, "--upstream", "jira"], text="a-persons-token\n")
        headers = [f"Authorization: Bearer {key}", f"Outhaul-Act-As: {PERSON}"]
        return {**self.contestant(name), "headers": headers}

    def stop(self):
        processes.stop(self.process)
