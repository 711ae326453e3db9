"""Rows of memory: an agent at rest, many agents at rest, slow readers; and many agents after a restart."""
import json
import resource
import subprocess
import time

import processes
from load import Transfer, check, wrk
from outhaul import Agent, Relay
from processes import resident, start


def idle(stage):
    """Bytes of agent and relay: just started, after load, and when the load is some time ago."""
    relay = Relay(stage, "idle")
    agent = Agent(relay, "idle")
    contestant = agent.contestant("outhaul")
    ids = {"agent": [agent.process.pid], "relay": [relay.process.pid]}
    found = {}

    def note(when):
        found[when] = {name: resident(one) for name, one in ids.items()}

    time.sleep(2)
    note("fresh")
    check(contestant)
    errors = wrk(contestant, 64, stage.options.seconds)["errors"]
    note("after load")
    time.sleep(3 if stage.options.quick else 12)
    note("later")
    found["errors"] = errors
    agent.stop()
    relay.stop()
    return found


READERS, READ = 10, 1_000_000


def slow(stage):
    """Growth of memory while ten readers take 1 MB/s each. A pair of its own, so that nothing was grown before."""
    relay = Relay(stage, "slow")
    agent = Agent(relay, "slow")
    found = {}
    for contestant in (stage.two_hops(), agent.contestant("outhaul")):
        check(contestant)
        wrk(contestant, 16, 1)
        time.sleep(1)
        ids = contestant["processes"]
        before = [resident([one]) for one in ids]
        seconds = 5 if stage.options.quick else 10
        readers = [Transfer(contestant, stage.folder, rate=READ, seconds=seconds) for _ in range(READERS)]
        most, end = 0, time.monotonic() + seconds - 0.5
        parts = before
        while time.monotonic() < end:
            now = [resident([one]) for one in ids]
            if sum(now) > most:
                most, parts = sum(now), now
            time.sleep(0.1)
        results = [one.result() for one in readers]
        found[contestant["name"]] = {
            "growth": most - sum(before), "parts": [after - first for after, first in zip(parts, before)],
            "read": sum(one["bytes"] for one in results) / seconds / 1e6,
            "errors": [error for one in results for error in one["errors"]]}
    agent.stop()
    relay.stop()
    return found


class Fleet:
    """Many agents in one process, and the relay they connect to."""

    def __init__(self, stage, name, agents, tunnels):
        wanted = agents * tunnels + 500
        have = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if have < wanted:
            raise processes.Fault(f"{agents} agents take {wanted} file descriptors; this shell allows {have}: ulimit -n")
        self.relay = Relay(stage, name, f"connections = {wanted + 1000}\nconnections-per-address = {wanted + 1000}")
        command = [stage.tools, "fleet", "--admin", self.relay.folder / "relay.sock", "--relay",
                   f"127.0.0.1:{self.relay.port}", "--authority", stage.folder / "ca.pem", "--agents", agents,
                   "--tunnels", tunnels]
        log = open(self.relay.folder / "fleet.log", "w")
        self.process = start(command, self.relay.folder / "fleet.log", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=log, text=True)
        self.enrolled = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise processes.Fault(f"the fleet ended:\n{processes.tail(self.process.log)}")
        return json.loads(line)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.answer()

    def stop(self):
        self.process.stdin.close()
        processes.stop(self.process)
        self.relay.stop()


def fleet(stage):
    """Bytes of the relay for each idle tunnel. The relay is started afresh after the enrolments, so that what they
    left behind is not taken for room that is there."""
    agents, tunnels = stage.options.fleet, stage.options.fleet_tunnels
    one = Fleet(stage, "fleet", agents, tunnels)
    one.relay.stop()
    one.relay.start()
    time.sleep(1)
    ids = [one.relay.process.pid]
    before = resident(ids)
    cpu = processes.cpu_seconds(ids)
    connected = one.ask("connect")
    cpu = processes.cpu_seconds(ids) - cpu
    time.sleep(2)
    soon = resident(ids)
    time.sleep(3 if stage.options.quick else 20)
    later, alive = resident(ids), one.ask("alive")
    one.stop()
    errors = [f"{text} ({count} times)" for text, count in connected["faults"].items()]
    if alive["up"] != agents * tunnels:
        errors.append(f"{alive['up']} of {agents * tunnels} tunnels are up")
    return {"agents": agents, "tunnels": tunnels, "before": before, "soon": (soon - before) / agents,
            "later": (later - before) / agents, "seconds": connected["seconds"], "cpu": cpu / agents / tunnels * 1e3,
            "enrolments": one.enrolled, "errors": errors}


def restart(stage):
    """How long until all agents are back after the relay was killed and started again."""
    agents = stage.options.restart_agents
    one = Fleet(stage, "restart", agents, 1)
    first = one.ask("connect")
    one.relay.process.kill()
    one.relay.process.wait()
    began = time.monotonic()
    one.relay.start()
    started = time.monotonic() - began
    back = one.ask("wait")
    seconds = time.monotonic() - began
    time.sleep(1)
    alive = one.ask("alive")
    one.stop()
    # To be turned away by a relay that lets in a few at a time is a part of coming back.
    busy = sum(count for fault, count in back["faults"].items() if "relay-busy" in fault)
    return {"agents": agents, "busy": busy, "first": first, "started": started, "seconds": seconds, "attempts": back["attempts"],
            "faults": back["faults"], "up": alive["up"]}
