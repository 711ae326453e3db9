"""The network between agent and relay vanishes: no close, no reset, just nothing. What does a caller hear, and when?

Two network namespaces with one wire between them; relay and caller in one, agent and a small upstream in the other. The
wire is cut with a GET and a POST under way. Both must be answered by a problem document that says what is known of the
outcome, within the 40 s of silence (and a little for this machine); and calls must work again once the wire is back.
usage: link_cut.py TARGET/debug
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SKIPPED = 77
BINARIES = Path(sys.argv[1]) if len(sys.argv) > 1 else None
RELAY_ADDRESS = "10.231.77.1"
SITE_ADDRESS = "10.231.77.2"
# 40 s of silence, counted from the last sign of life, and what a loaded machine adds.
SILENCE = 40
SLACK = 15


class Upstream(BaseHTTPRequestHandler):
    """Answers at once, but for what is told to hang."""
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        if self.path.endswith("hang"):
            print("hanging", flush=True)
            time.sleep(300)
        body = b'{"state":"RUNNING"}'
        self.send_response(200)
        self.send_header("X-AUSERNAME", "svc-outhaul")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *arguments):
        pass


def serve(port):
    ThreadingHTTPServer(("127.0.0.1", port), Upstream).serve_forever()


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def demo_folder(folder):
    """Lets the demo enrol an agent, and keeps what it leaves."""
    ready = folder / "demo.json"
    environment = dict(os.environ, DEMO_JSON=str(ready), DEMO_DIR=str(folder / "demo"), JIRA_URL="", JIRA_PAT="",
                       DEMO_UPSTREAM="")
    with open(folder / "demo.log", "w") as log:
        demo = subprocess.Popen([BINARIES / "examples/demo"], env=environment, stdout=log, stderr=log)
        try:
            for _ in range(1200):
                if ready.exists():
                    return json.loads(ready.read_text())
                if demo.poll() is not None:
                    break
                time.sleep(0.1)
            raise SystemExit("the demo did not get ready:\n" + (folder / "demo.log").read_text()[-2000:])
        finally:
            demo.send_signal(signal.SIGTERM)
            demo.wait(30)


def curl(namespace, about, port, path, *arguments):
    """Status, problem code, outcome and seconds of one call from beside the relay."""
    begin = time.monotonic()
    command = ["ip", "netns", "exec", namespace, "curl", "-s", "-i", "--http1.1", "--max-time", "120", "--cacert",
               about["ca_file"], "--connect-to", f"localhost:{port}:{RELAY_ADDRESS}:{port}", "-H",
               f"Authorization: Bearer {about['caller_key']}", *arguments,
               f"https://localhost:{port}/s/demo/jira/rest/api/2/{path}"]
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout
    head, _, body = text.partition("\n\n")  # text mode has made line ends plain
    try:
        problem = json.loads(body)
    except ValueError:
        problem = {}
    status = head.split(" ")[1] if " " in head else "none"
    return status, problem.get("type"), problem.get("outcome"), problem.get("retry"), time.monotonic() - begin


def wait_until(what, seconds, true):
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        if true():
            return time.monotonic() - begin
        time.sleep(0.1)
    raise SystemExit(f"{what}: not within {seconds} s")


def main():
    if os.geteuid() != 0:
        print("only root may make network namespaces")
        return SKIPPED
    for command in ("ip", "curl"):
        if not shutil.which(command):
            print(f"there is no {command} here")
            return SKIPPED
    relay, site = f"oh-relay-{os.getpid()}", f"oh-site-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", relay]).returncode != 0:
        print("network namespaces can't be made here")
        return SKIPPED
    folder = Path(tempfile.mkdtemp(prefix="outhaul-cut-"))
    started = []
    try:
        ip("netns", "add", site)
        # In a chroot or a narrow container a namespace can be made and not entered.
        if subprocess.run(["ip", "netns", "exec", relay, "true"]).returncode != 0:
            print("network namespaces can't be entered here")
            return SKIPPED
        ip("link", "add", "oh-r", "netns", relay, "type", "veth", "peer", "name", "oh-s", "netns", site)
        for namespace, device, address in ((relay, "oh-r", RELAY_ADDRESS), (site, "oh-s", SITE_ADDRESS)):
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", device)
            ip("-n", namespace, "link", "set", device, "up")
            ip("-n", namespace, "link", "set", "lo", "up")
            # `ip netns exec` shows this file as /etc/hosts: the relay's name leads over the wire.
            hosts = Path("/etc/netns") / namespace
            hosts.mkdir(parents=True)
            (hosts / "hosts").write_text(f"{RELAY_ADDRESS} localhost\n")
        about = demo_folder(folder)
        port = int(about["relay_url"].rsplit(":", 1)[1])
        config = Path(about["relay_config"])
        config.write_text(config.read_text().replace(f'"127.0.0.1:{port}"', f'"{RELAY_ADDRESS}:{port}"'))
        upstream = int(about["jira_url"].split("/")[2].rsplit(":", 1)[1])
        log = open(folder / "all.log", "w")

        def start(namespace, *command, **options):
            process = subprocess.Popen(["ip", "netns", "exec", namespace, *command], stderr=log, **options)
            started.append(process)
            return process

        hanging = start(site, sys.executable, __file__, "--serve", str(upstream), stdout=subprocess.PIPE, text=True)
        start(relay, *about["relay_start"].split(), stdout=log)
        start(site, *about["agent_start"].split(), stdout=log)
        works = lambda: curl(relay, about, port, "myself")[0] == "200"
        wait_until("the first call", 30, works)

        answers = {}

        def call(name, *arguments):
            answers[name] = curl(relay, about, port, *arguments)

        threads = [threading.Thread(target=call, args=("GET", "hang")),
                   threading.Thread(target=call, args=("POST", "search?hang", "-d", "{}", "-H",
                                                       "Content-Type: application/json"))]
        for thread in threads:
            thread.start()
        for _ in threads:
            hanging.stdout.readline()  # the upstream has the call
        ip("-n", site, "link", "set", "oh-s", "down")
        cut = time.monotonic()
        for thread in threads:
            thread.join()
        heard = time.monotonic() - cut
        failures = 0
        for name, retry in (("GET", "safe"), ("POST", "never")):
            status, kind, outcome, said, _ = answers[name]
            good = (status, kind, outcome, said) == ("502", "urn:outhaul:problem:agent-lost", "outcome-unknown", retry)
            failures += not good
            print("  ok " if good else "FAILED:", name, "under way:", status, kind, outcome, "retry", said)
        within = heard <= SILENCE + SLACK
        failures += not within
        print("  ok " if within else "FAILED:", f"heard {heard:.1f} s after the cut")
        status, kind, outcome, _, seconds = curl(relay, about, port, "myself")
        offline = (status, kind, outcome) == ("503", "urn:outhaul:problem:site-offline", "not-sent")
        failures += not offline
        print("  ok " if offline else "FAILED:", "a call while it is cut:", status, kind, outcome, f"after {seconds:.1f} s")
        ip("-n", site, "link", "set", "oh-s", "up")
        print(f"  ok  calls work again {wait_until('a call after the cut', 90, works):.1f} s after the wire is back")
        print(f"4 checks, {failures} failed")
        if failures:
            print((folder / "all.log").read_text()[-3000:])
        return 1 if failures else 0
    finally:
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        for namespace in (relay, site):
            subprocess.run(["ip", "netns", "del", namespace], stderr=subprocess.DEVNULL)
            shutil.rmtree(Path("/etc/netns") / namespace, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


if sys.argv[1:2] == ["--serve"]:
    serve(int(sys.argv[2]))
else:
    sys.exit(main())
