"""Outhaul beside nginx, in one run. See docs/benchmarks.md."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bars
import facts
import processes
import rows_large
import rows_memory
import rows_small
import table
from stage import Stage

ROWS = ("core", "bulk", "policy", "people", "pass-through", "fairness", "narrow", "delay", "window", "slow", "idle", "fleet")
ON_REQUEST = ("restart",)


class Options:
    """From the environment. A wrong one stops the run before it begins."""

    def __init__(self):
        def numbers(name, default):
            return [int(one) for one in os.environ.get(name, default).split(",")]

        self.quick = os.environ.get("QUICK", "") not in ("", "0")
        self.rounds = numbers("ROUNDS", "1" if self.quick else "5")[0]
        self.seconds = numbers("SECONDS_EACH", "2" if self.quick else "4")[0]
        self.connections = numbers("CONNECTIONS", "1,64,256")
        self.rules = numbers("RULES", "10,1000,10000")
        self.delay_ms = numbers("DELAY_MS", "50")[0]
        self.fleet = numbers("FLEET_AGENTS", "1000")[0]
        self.fleet_tunnels = numbers("FLEET_TUNNELS", "1")[0]
        self.restart_agents = numbers("RESTART_AGENTS", "10000")[0]
        self.only = [one for one in os.environ.get("ONLY", ",".join(ROWS)).split(",") if one]
        unknown = [one for one in self.only if one not in ROWS + ON_REQUEST]
        if unknown:
            raise SystemExit(f"ONLY names {', '.join(unknown)}; there are {', '.join(ROWS + ON_REQUEST)}")

    def document(self):
        return dict(vars(self))


def core(stage):
    found = rows_small.core(stage)
    groups = [(f"{connections:>3}", {name: one for (at, name), one in found.items() if at == connections})
              for connections in stage.options.connections]
    table.small("1 KB of JSON, by connections (behind each median its range, and its ratio to two nginx)", groups)
    return found


def bulk(stage):
    found = rows_large.near(stage)
    table.large("100 MB", found)
    return found


def delay(stage):
    found = rows_large.far(stage)
    table.large(f"100 MB, {stage.options.delay_ms} ms there and back between the two sides", found)
    return found


def window(stage):
    found = rows_large.window(stage)
    table.large(f"100 MB, {stage.options.delay_ms} ms there and back, each connection at most 4 MB on its way", found)
    return found


def fairness(stage):
    return beside(rows_small.fairness(stage, False), "the readers take 5 MB/s each")


def narrow(stage):
    return beside(rows_small.fairness(stage, True), "the line between the two sides carries 20 MB/s in all")


def beside(found, how):
    title = f"Small requests on {rows_small.BESIDE} connections beside four downloads: {how}"
    table.small(title, [("", found)], [("beside", "downloads MB/s", 1)])
    return found


def policy(stage):
    found, refused = rows_small.policy(stage)
    table.policy(found, refused)
    return {"found": found, "refused": refused}


def whole(measure, show):
    def row(stage):
        found = measure(stage)
        show(found)
        return found
    return row


MEASURES = {"core": core, "bulk": bulk, "policy": policy, "people": whole(rows_small.people, table.people),
            "pass-through": whole(rows_small.passed, table.passed),
            "fairness": fairness, "narrow": narrow, "delay": delay, "window": window, "slow": whole(rows_memory.slow, table.slow), "idle": whole(rows_memory.idle, table.idle),
            "fleet": whole(rows_memory.fleet, table.fleet), "restart": whole(rows_memory.restart, table.restart)}


def plain(value):
    """Fit for JSON: keys that are pairs become text."""
    if isinstance(value, dict):
        return {" ".join(map(str, key)) if isinstance(key, tuple) else str(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def stopped(*_):
    raise SystemExit("stopped")


def main():
    bins, tools, output = (Path(one).resolve() for one in sys.argv[1:4])
    options = Options()
    signal.signal(signal.SIGTERM, stopped)
    machine = facts.gather(bins)
    for name, value in machine.items():
        print(f"  {name:12} {value}")
    folder, rows, failed = Path(tempfile.mkdtemp(prefix="outhaul-bench-")), {}, {}
    began = time.monotonic()
    try:
        stage = Stage(folder, bins, tools, options)
        for name in options.only:
            try:
                rows[name] = MEASURES[name](stage)
            except (processes.Fault, OSError, subprocess.SubprocessError) as fault:
                failed[name] = str(fault)
                print(f"\n  !! {name} was not measured: {fault}")
            sys.stdout.flush()
    finally:
        processes.stop_all()
        if os.environ.get("KEEP"):
            print(f"  kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    found = bars.bars(rows)
    if found:
        bars.show(found)
    machine["load_after"] = os.getloadavg()
    output.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine, "options": options.document(), "seconds": time.monotonic() - began,
                "bars": [one.document() for one in found], "rows": plain(rows), "failed": failed}
    output.write_text(json.dumps(document, indent=1) + "\n")
    print(f"\n{time.monotonic() - began:.0f} s; every single measurement: {output}")
    # No figure fails a run; only what could not be measured does.
    sys.exit(1 if failed else 0)


main()
