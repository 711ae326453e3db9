"""A whole site for the fault tests: relay, agent and the stand-in for Jira as processes, joined by the commands of the demo."""
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients"))
from stand_in_process import StandIn  # noqa: E402

PEOPLE = ("alice", "bob", "carol", "mallory")
BROKEN = (OSError, http.client.HTTPException)


class Wrong(Exception):
    """What the test is there to find."""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def demo(binaries, folder):
    """Lets the demo enrol an agent, and keeps what it leaves."""
    ready = folder / "demo.json"
    environment = dict(os.environ, DEMO_JSON=str(ready), DEMO_DIR=str(folder / "demo"), JIRA_URL="", JIRA_PAT="", DEMO_UPSTREAM="")
    with open(folder / "demo.log", "w") as log:
        process = subprocess.Popen([binaries / "examples/demo"], env=environment, stdout=log, stderr=log)
        try:
            for _ in range(1200):
                if ready.exists():
                    return json.loads(ready.read_text())
                if process.poll() is not None:
                    break
                time.sleep(0.1)
            raise SystemExit("the demo did not get ready:\n" + (folder / "demo.log").read_text()[-2000:])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()
        self.problem = self.headers.get("Outhaul-Problem")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.problem or ''} {self.body[:300]!r}"


class Client:
    """One connection, kept; nothing is ever sent again by itself."""

    def __init__(self, about, port):
        self.context = ssl.create_default_context(cafile=about["ca_file"])
        self.port, self.connection = port, None

    def call(self, method, path, body=None, headers=None, seconds=60):
        if self.connection is None:
            self.connection = http.client.HTTPSConnection("localhost", self.port, timeout=seconds, context=self.context)
        try:
            self.connection.request(method, path, body=body, headers=headers or {})
            answer = Answer(self.connection.getresponse())
        except BROKEN:
            self.close()
            raise
        if answer.headers.get("Connection", "").lower() == "close":
            self.close()
        return answer

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class Site:
    def __init__(self, binaries, folder):
        self.binaries, self.folder = Path(binaries), Path(folder)
        self.about = demo(self.binaries, self.folder)
        self.port = int(self.about["relay_url"].rsplit(":", 1)[1])
        self.pages_port = free_port()
        self.config = Path(self.about["agent_config"])
        self.at = self.config.parent
        self.state = Path(self.about["agent_state_dir"])
        self.agent = None
        self.agent_log = self.folder / "agent.log"
        self.relay = None
        self.jira = None
        self.local = threading.local()

    def start(self, settings):
        """All of them; the agent's configuration has people, pages and what else is said."""
        pages = f"https://localhost:{self.pages_port}"
        pat = (self.at / "jira.pat").read_text().strip()
        self.jira = StandIn(self.binaries / "examples/jira-stand-in", "--listen", self.about["jira_url"].split("/")[2],
                            "--base-url", self.about["jira_base_url"], "--pat", f"svc-outhaul={pat}",
                            "--oauth-client", f"id=outhaul,secret=s3cret,scope=WRITE,redirect={pages}/link/callback")
        for name in ("carol", "mallory"):
            self.jira.call("POST", "/rest/api/2/group/user?groupname=demo-developers", "admin", {"name": name})
        secret = self.at / "oauth"
        secret.write_text("s3cret\n")
        secret.chmod(0o600)
        self.config.write_text(f"""[relay]
url = "{self.about["relay_url"]}"
ca-file = "{self.about["ca_file"]}"

[state]
directory = "{self.state}"

[store]
key = {{ file = "{self.at}/store.key" }}

[admin]
socket = "{self.at}/agent.sock"

[upstream.jira]
url = "{self.about["jira_url"]}"
base-url = "{self.about["jira_base_url"]}"

[upstream.jira.oauth]
client-id = "outhaul"
client-secret = {{ file = "{secret}" }}

[pages]
listen = "127.0.0.1:{self.pages_port}"
url = "{pages}"
certificate = "{self.at}/relay.pem"
private-key = "{self.at}/relay.key"
accept-relay-trust = true

[service.reader]
user = "svc-outhaul"
pat = {{ file = "{self.at}/jira.pat" }}

[caller.demo]
act-as = ["t"]

{settings}

[[policy.rule]]
allow = ["GET /rest/api/2/myself", "PUT /rest/api/2/issue/*/properties/*"]
why = "As the person"
caller = ["demo"]
as = "user"
accept-relay-trust = true

[[policy.rule]]
allow = ["GET /rest/api/2/*", "PUT /rest/api/2/issue/*/properties/*"]
why = "As the service"
as = {{ service = "reader" }}
""")
        self.relay = subprocess.Popen(self.about["relay_start"].split(), stdout=subprocess.DEVNULL,
                                      stderr=open(self.folder / "relay.log", "a"))
        self.start_agent()
        # Whom the demo has linked; an account is one person's.
        for line in json.loads(self.command("link", "list", "--json").stdout or "[]"):
            self.command("link", "remove", line["person"])

    # --- the agent ------------------------------------------------------------------------------------------------

    def spawn_agent(self, environment=None):
        if self.agent is not None and self.agent.poll() is None:
            raise Wrong("the test starts a second agent beside the first")
        with open(self.agent_log, "ab") as log:
            self.mark = log.tell()
            command = self.about["agent_start"].split()
            self.agent = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def start_agent(self, environment=None):
        """Starts it again while a command holds the store: those work on it themselves where no agent runs."""
        for _ in range(100):
            self.spawn_agent(environment)
            try:
                return self.line("connected to the relay")
            except Wrong:
                if self.agent.poll() != 75 or "holds the state folder" not in self.said():
                    raise
                time.sleep(0.1)
        raise Wrong("something holds the state folder for good")

    def line(self, text, seconds=30):
        """Waits for a line of the agent that now runs."""
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            said = self.said()
            if text in said:
                return next(line for line in said.splitlines() if text in line)
            if self.agent.poll() is not None:
                raise Wrong(f"the agent ended with {self.agent.returncode} before “{text}”:\n{said[-3000:]}")
            time.sleep(0.005)
        raise Wrong(f"no “{text}” within {seconds} s:\n{self.said()[-3000:]}")

    def said(self):
        """What the agent that now runs has printed."""
        with open(self.agent_log, "rb") as log:
            log.seek(self.mark)
            return log.read().decode(errors="replace")

    def kill_agent(self):
        self.agent.kill()
        self.agent.wait(30)

    def stop_agent(self):
        self.agent.terminate()
        self.agent.wait(60)

    def command(self, *arguments, text="", environment=None):
        program = self.about["agent_start"].split()[0]
        return subprocess.run([program, "--config", str(self.config), *arguments], input=text, text=True, capture_output=True,
                              timeout=120, env=environment)

    def stop(self):
        for process in (self.agent, self.relay):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
        if self.jira is not None:
            self.jira.__exit__()

    # --- calls ----------------------------------------------------------------------------------------------------

    def client(self, port=None):
        """Of this thread."""
        kept = self.local.__dict__.setdefault("clients", {})
        port = port or self.port
        return kept.setdefault(port, Client(self.about, port))

    def call(self, method, path, key=None, person=None, document=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers["Authorization"] = f"Bearer {key or self.about['caller_key']}"
        if person:
            headers["Outhaul-Act-As"] = person
        body = None
        if document is not None:
            body = json.dumps(document)
            headers["Content-Type"] = "application/json"
        return self.client().call(method, f"/s/demo{path}", body, headers)

    def whoami(self, person):
        """The name of the account, or the code of the refusal."""
        answer = self.call("GET", "/jira/rest/api/2/myself", person=person)
        return answer.problem or answer.json().get("name")

    # --- a person at the pages ------------------------------------------------------------------------------------

    def page(self, method, path, cookie, form=None):
        headers = {"Cookie": cookie[0]} if cookie[0] else {}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer = self.client(self.pages_port).call(method, path, urlencode(form) if form is not None else None, headers)
        for value in answer.headers.get_all("Set-Cookie") or []:
            cookie[0] = value.split(";")[0]
        return answer

    def code(self, person, user, token=None):
        """What the person brings back: by consent, or with a token."""
        started = self.call("POST", "/link/start", person=person, document={"upstream": "jira", "display_name": user})
        if started.status != 201:
            raise Refused(started)
        path = path_of(started.json()["url"])
        cookie = [None]
        form = between(self.page("GET", path, cookie), 'name="form" value="', '"')
        step = {"form": form, "step": "paste", "token": token} if token else {"form": form, "step": "consent"}
        answer = self.page("POST", path, cookie, step)
        if answer.status == 200 and not token:
            authorize = re.search(r'href="(https?://[^"]*/authorize[^"]*)"', answer.body.decode()).group(1)
            authorize = authorize.replace("&#38;", "&").replace("&amp;", "&")
            back = self.jira.control("POST", "/oauth/consent", {"user": user, "authorize": authorize})[2]
            answer = self.page("GET", path_of(back["location"]), cookie)
        if answer.status != 303:
            raise Refused(answer)
        place = answer.headers["Location"]
        form = between(self.page("GET", place, cookie), 'name="form" value="', '"')
        return between(self.page("POST", place, cookie, {"form": form, "step": "yes"}), 'aria-hidden="true">', "<")

    def link(self, person, user, token=None, before_finish=lambda: None):
        """The whole way; what the finish was answered."""
        code = self.code(person, user, token)
        before_finish()
        return self.call("POST", "/link/finish", person=person, document={"code": code})


class Refused(Exception):
    """A step was answered otherwise than where all is well."""


def path_of(url):
    return url[url.index("/link/"):]


def between(answer, before, after):
    text = answer.body.decode(errors="replace")
    if before not in text:
        raise Refused(answer)
    return text.split(before, 1)[1].split(after, 1)[0]
