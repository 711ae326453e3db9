"""Load: wrk for small requests, curl for large bodies. Whatever goes wrong is in what they give back."""
import re
import subprocess

from nginx import BIG
from processes import Fault, start

UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7}
CA = []


def named(contestant, command):
    """The command where the contestant's host name means this machine: wrk asks the system for it, and says it in the TLS
    handshake. In a mount namespace of the command's own, so that nobody else sees it."""
    if "host" not in contestant:
        return command
    script = 'file=$(mktemp) && echo "127.0.0.1 localhost $0" >"$file" && mount --bind "$file" /etc/hosts && rm "$file" && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", script, contestant["host"], *command]


def wrk(contestant, connections, seconds):
    """Closed loop: each connection asks again as soon as it has its answer. Times in µs."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency"]
    for header in contestant["headers"]:
        command += ["-H", header]
    done = subprocess.run(named(contestant, command) + [contestant["json"]], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=seconds + 60)
    text = done.stdout
    if done.returncode != 0 or "requests in" not in text:
        raise Fault(f"wrk failed at {contestant['name']}:\n{text}")
    errors = []
    for line in re.findall(r"^\s*(Non-2xx or 3xx responses: \d+|Socket errors: .*)$", text, re.M):
        errors.append(line.strip())

    def latency(percent):
        value, unit = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.M).groups()
        return float(value) * UNITS[unit]

    return {"requests": int(re.search(r"(\d+) requests in", text).group(1)),
            "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
            "p50": latency(50), "p99": latency(99), "errors": errors}


class Transfer:
    """One curl: the large file down, or up. `rate`: bytes a second that it takes at most, by not reading faster.
    `seconds`: it is cut off then, which is no error."""

    def __init__(self, contestant, folder, up=False, rate=None, seconds=None):
        self.contestant, self.up, self.cut = contestant, up, seconds is not None
        written = "%{http_code} %{size_download} %{size_upload} %{time_total}"
        command = ["curl", "-q", "-s", "-S", "-4", "--http1.1", "--cacert", *CA, "--max-time", str(seconds or 120),
                   "-w", f"\n{written}"]
        for header in contestant["headers"]:
            command += ["-H", header]
        if rate:
            command += ["--limit-rate", str(rate)]
        if up:
            command += ["-X", "POST", "-T", folder / "www/secure/attachment/1/big", "-H", "Expect:",
                        "-H", "Content-Type: application/octet-stream", contestant["upload"]]
        else:
            command += ["-o", "/dev/null", contestant["big"]]
        self.process = start(command, folder / "curl.log", stdout=subprocess.PIPE, text=True)

    def result(self):
        """Bytes and seconds; `errors` if it was not what it should be."""
        text, _ = self.process.communicate(timeout=180)
        body, _, last = text.rstrip().rpartition("\n")
        status, down, up, seconds = (last.split() + ["0"] * 4)[:4]
        size, seconds = int(up if self.up else down), float(seconds)
        errors = []
        if status != "200":
            errors.append(f"status {status}")
        fine = (0, 28) if self.cut else (0,)
        if self.process.returncode not in fine:
            errors.append(f"curl ended with {self.process.returncode}")
        if not self.cut and size != BIG:
            errors.append(f"{size} bytes of {BIG}")
        if self.up and f'"received":{BIG}' not in body:
            errors.append(f"the sink answered {body.strip()[:200]}")
        return {"bytes": size, "seconds": seconds, "rate": size / seconds / 1e6 if seconds else 0.0, "errors": errors}


def check(contestant):
    """One call whose answer is looked at, before anything is measured."""
    command = ["curl", "-q", "-s", "-S", "-4", "--http1.1", "--cacert", *CA, "--max-time", "20", "-w", "\n%{http_code}"]
    for header in contestant["headers"]:
        command += ["-H", header]
    if "host" in contestant:
        command += ["--resolve", f"{contestant['host']}:{contestant['port']}:127.0.0.1"]
    done = subprocess.run(command + [contestant["json"]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0 or not done.stdout.endswith("\n200") or '"BENCH-1"' not in done.stdout:
        raise Fault(f"{contestant['name']} does not answer as it should:\n{done.stdout[:2000]}")
