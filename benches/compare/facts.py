"""What must be known of the machine and the programs to read the figures."""
import hashlib
import os
import platform
import re
import subprocess
import time
from pathlib import Path

from nginx import NGINX


def first_line(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
        return (done.stdout.splitlines() or [""])[0].strip()
    except OSError:
        return ""


def digest(program):
    return hashlib.sha256(program.read_bytes()).hexdigest()[:16]


def gather(bins):
    cpu = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.M)
    commit = first_line(["git", "rev-parse", "--short=12", "HEAD"])
    changed = bool(first_line(["git", "status", "--porcelain", "--untracked-files=no"]))
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": cpu.group(1) if cpu else platform.machine(), "cores": len(os.sched_getaffinity(0)),
        "memory_mb": int(memory.group(1)) // 1024 if memory else 0, "kernel": platform.release(),
        "load_before": os.getloadavg(),
        "nginx": first_line([NGINX, "-v"]).removeprefix("nginx version: "),
        "wrk": first_line(["wrk", "-v"]).split(" Copyright")[0], "curl": " ".join(first_line(["curl", "-V"]).split()[:2]),
        "outhaul": first_line([str(bins / "outhaul-relay"), "--version"]), "programs": str(bins),
        "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((bins / "outhaul-relay").stat().st_mtime)),
        # Which programs these are; the commit is that of this checkout, which BIN need not be.
        "sha256": {one: digest(bins / one) for one in ("outhaul-relay", "outhaul-agent")},
        "commit": commit + (" and changes" if changed else ""),
    }
