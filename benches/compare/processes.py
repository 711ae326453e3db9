"""Processes: started, looked at, and stopped by their own ids."""
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path


class Fault(Exception):
    """Something does not work, so that its row can't be measured."""


_started = []
_others = set()
_next_port = [15000 + os.getpid() * 61 % 17000]


def free_port():
    """A port that was free a moment ago, below those the system gives to outgoing connections."""
    while True:
        _next_port[0] = 15000 + (_next_port[0] + 1 - 15000) % 17000
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", _next_port[0]))
                return _next_port[0]
            except OSError:
                pass


def start(arguments, log, **more):
    """A process of ours; what it says goes into `log`."""
    with open(log, "ab") as file:
        more = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file, **more}
        process = subprocess.Popen([str(one) for one in arguments], **more)
    process.log = log
    _started.append(process)
    return process


def run(arguments, seconds=60, fine=(0,), text=""):
    """A command, to its end, which reads `text`; gives what it printed."""
    done = subprocess.run([str(one) for one in arguments], input=text, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=seconds)
    if done.returncode not in fine:
        raise Fault(f"{' '.join(map(str, arguments))} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout


def wait(what, holds, process=None, seconds=30):
    """Until it holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        if process is not None and process.poll() is not None:
            raise Fault(f"{what}: the process ended ({process.returncode}):\n{tail(process.log)}")
        time.sleep(0.02)
    raise Fault(f"{what}: waited {seconds} s in vain\n{tail(process.log) if process else ''}")


def listens(port):
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0


def tail(file):
    try:
        return Path(file).read_text(errors="replace")[-3000:]
    except OSError:
        return ""


def stop(process, seconds=15):
    """Asks one to stop; kills it if it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process in _started:
        _started.remove(process)


def stop_all():
    for process in reversed(_started):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    end = time.monotonic() + 15
    for process in list(reversed(_started)):
        stop(process, max(0.1, end - time.monotonic()))


def children(parent):
    """The workers of an nginx."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    _others.update(found)
    return found


def cpu_seconds(ids):
    """CPU time of processes so far, threads that have ended included: the clock of clock_getcpuclockid(3)."""
    return sum(time.clock_gettime((~one << 3) | 2) for one in ids)


def resident(ids):
    """Resident memory, in bytes."""
    total = 0
    for one in ids:
        for line in Path(f"/proc/{one}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


class Foreign:
    """How many cores others used meanwhile: a figure to tell noise by."""

    def __init__(self):
        self.before = self._now()

    def cores(self):
        wall, busy, ours = (after - before for after, before in zip(self._now(), self.before))
        return max(0.0, (busy - ours) / wall) if wall > 0 else 0.0

    @staticmethod
    def _now():
        fields = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]]
        busy = (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
        ours = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        for one in {process.pid for process in _started if process.poll() is None} | _others:
            try:
                ours += cpu_seconds([one])
            except OSError:
                pass
        return time.monotonic(), busy, ours
