"""What the Python clients of others stand on: the demo's whereabouts, and an eye on every connection.

What Jira calls itself leads nowhere, so a call around the tunnel could only fail; besides, every connection and every
name looked up by this process is counted, and one to anywhere but the relay (or the stand-in's control port, which
the tests themselves ask for the state) fails the run. Import this before the library under test.

With OUTHAUL_TEST_WAY=pass-through the base URLs are those whose TLS ends at the agent.
"""
import json
import os
import socket
import sys
import urllib.parse
import urllib.request

with open(sys.argv[1]) as file:
    DEMO = json.load(file)

CONTROL = DEMO["jira_control_url"]
RELAY_PORT = urllib.parse.urlsplit(DEMO["base_url"]).port
CONTROL_PORT = urllib.parse.urlsplit(CONTROL).port
if os.environ.get("OUTHAUL_TEST_WAY") == "pass-through":
    FORMS = (("passed, operator's name", DEMO["pass_through_base_url"]), ("passed, customer's name", DEMO["customer_base_url"]))
else:
    FORMS = (("host form", DEMO["base_url"]), ("path form", DEMO["path_base_url"]))

# Whom the libraries trust: `requests` reads it, whatever lies over it.
os.environ["REQUESTS_CA_BUNDLE"] = DEMO["ca_file"]

connections = {"relay": 0, "control": 0}
elsewhere = []
# Ports of this machine that the test itself goes to, as a person's browser would.
browsed = set()


def allow(port):
    browsed.add(port)



def watch(event, arguments):
    if event == "socket.connect":
        address = arguments[1]
        port = address[1] if isinstance(address, tuple) else None
        host = address[0] if isinstance(address, tuple) else address
        if host in ("127.0.0.1", "::1") and port == RELAY_PORT:
            connections["relay"] += 1
        elif host in ("127.0.0.1", "::1") and port == CONTROL_PORT:
            connections["control"] += 1
        elif host in ("127.0.0.1", "::1") and port in browsed:
            pass
        else:
            elsewhere.append(f"connect {address!r}")
    elif event == "socket.getaddrinfo":
        name = str(arguments[0])
        if not (name in ("127.0.0.1", "::1", "localhost") or name.endswith(".localhost")):
            elsewhere.append(f"look-up of {name!r}")
    elif event in ("socket.sendto", "socket.gethostbyname"):
        elsewhere.append(f"{event} {arguments[1:]!r}")


sys.addaudithook(watch)

# Names under .localhost mean this machine (RFC 6761, section 6.3), which not every resolver knows.
real_getaddrinfo = socket.getaddrinfo


def getaddrinfo(host, *arguments, **options):
    if isinstance(host, str) and host.endswith(".localhost"):
        host = "127.0.0.1"
    return real_getaddrinfo(host, *arguments, **options)


socket.getaddrinfo = getaddrinfo

done = 0


def check(what, holds, found=None):
    global done
    if not holds:
        raise SystemExit(f"FAILED: {what}: {found!r}")
    done += 1
    print(f"  ok  {what}")


def control(path, method="GET", body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(CONTROL + path, method=method, data=data)
    with urllib.request.urlopen(request, timeout=30) as response:
        text = response.read()
    return json.loads(text) if text else None


def state(key):
    """An issue as Jira itself has it; None when it is gone."""
    return control("/state")["issues"].get(key)


def finish():
    """The last checks of every client: who has called Jira, and where this process has connected to."""
    agents = {dict(one["headers"]).get("user-agent", "") for one in control("/requests")}
    # Those of people are at Jira's own pages.
    if browsed:
        agents.discard("Mozilla/5.0")
    check("Jira has seen nobody but the agent", all(one.startswith("outhaul-agent/") for one in agents), agents)
    check("no connection elsewhere", not elsewhere, elsewhere)
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1).close()
    except OSError:
        pass
    check("one elsewhere would have been seen", len(elsewhere) == 1, elsewhere)
    print(f"{done} checks; {connections['relay']} connections to the relay, 0 elsewhere "
          f"({connections['control']} to the stand-in's control port, for the state)")
