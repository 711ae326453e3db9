"""Rows of small requests: by connections and tunnels, beside large downloads, and by the number of rules."""
import time

from load import Transfer, check, wrk
from outhaul import DIRECT, Refused, Agent, Relay
from processes import Foreign, cpu_seconds


def measured(contestant, connections, seconds):
    foreign, before = Foreign(), cpu_seconds(contestant["processes"])
    found = wrk(contestant, connections, seconds)
    found["cpu"] = (cpu_seconds(contestant["processes"]) - before) / max(1, found["requests"]) * 1e6
    found["foreign"] = foreign.cores()
    return found


def warm(contestants, connections=64):
    """As many connections as come later: what the two sides keep open between them is then there."""
    for contestant in contestants:
        check(contestant)
        wrk(contestant, connections, 1)


def turns(contestants, number):
    """Each round begins with another one, so that none always follows the same."""
    number %= len(contestants)
    return contestants[number:] + contestants[:number]


def core(stage):
    """{(connections, contestant): [a measurement a round]}"""
    options = stage.options
    contestants = [stage.direct(), stage.one_hop(), stage.two_hops(),
                   stage.agent("one", tunnels=1).contestant("outhaul, 1 tunnel"),
                   stage.agent("two", tunnels=2).contestant("outhaul")]
    warm(contestants, max(options.connections))
    found = {(connections, one["name"]): [] for connections in options.connections for one in contestants}
    for number in range(options.rounds):
        for connections in options.connections:
            for one in turns(contestants, number):
                found[connections, one["name"]].append(measured(one, connections, options.seconds))
        print(f"  core: round {number + 1} of {options.rounds}", flush=True)
    return found


def policy(stage):
    """{rules: [a measurement a round]}, and {rules: why not} where the agent refuses so many."""
    options, contestants, refused, found = stage.options, [], {}, {}
    for count in options.rules:
        try:
            began = time.monotonic()
            contestant = stage.agent(f"rules-{count}", rule_count=count).contestant(f"{count} rules")
            print(f"  policy: {count} rules, ready after {time.monotonic() - began:.1f} s", flush=True)
            contestants.append((count, contestant))
            found[count] = []
        except Refused as why:
            refused[count] = str(why)
            print(f"  policy: {count} rules are refused: {why}", flush=True)
    warm([contestant for _, contestant in contestants])
    for number in range(options.rounds):
        for count, contestant in turns(contestants, number):
            found[count].append(measured(contestant, 64, options.seconds))
    return found, refused


def people(stage):
    """{identity: [a measurement a round]}: the same agent, as a service and as a person whose token is in memory."""
    agent, options = stage.agent("people"), stage.options
    contestants = [agent.contestant("as a service"), agent.person("as a person")]
    warm(contestants)
    found = {one["name"]: [] for one in contestants}
    for number in range(options.rounds):
        for one in turns(contestants, number):
            found[one["name"]].append(measured(one, 64, options.seconds))
    return found


def passed(stage):
    """{way: [a measurement a round]}: TLS that ends at the relay beside TLS that ends at the agent, same relay and agent."""
    options = stage.options
    relay = Relay(stage, "passing", f'\n[pass-through]\nzone = "{DIRECT}"\n')
    agent = Agent(relay, "passed", passed=True)
    contestants = [agent.contestant("terminated"), agent.passed("passed through")]
    warm(contestants)
    found = {one["name"]: [] for one in contestants}
    for number in range(options.rounds):
        for one in turns(contestants, number):
            before = cpu_seconds([relay.process.pid])
            each = measured(one, 64, options.seconds)
            each["relay"] = (cpu_seconds([relay.process.pid]) - before) / max(1, each["requests"]) * 1e6
            found[one["name"]].append(each)
    agent.stop()
    relay.stop()
    return found


# Of all four downloads together, bytes a second.
CAP = 20_000_000
# The narrow line: what waits in its queue, all connections together, as at the port of a router; and next to nothing in
# the kernel before that queue, which no router has.
NARROW = {"rate": CAP, "in-flight": 128 * 1024, "receive-buffer": 16 * 1024}
BESIDE = 4


def fairness(stage, narrow):
    """Small requests beside four downloads that get 20 MB/s together, by the readers or by the line.
    {contestant: [a measurement a round]}"""
    options = stage.options
    if narrow:
        contestants = stage.far("narrow", NARROW)
    else:
        contestants = [stage.two_hops(), stage.agent("one", tunnels=1).contestant("outhaul")]
    warm(contestants)
    found = {one["name"]: [] for one in contestants}
    for number in range(options.rounds):
        for one in turns(contestants, number):
            found[one["name"]].append(beside(stage, one, None if narrow else CAP // 4))
    return found


def beside(stage, contestant, rate):
    seconds = stage.options.seconds
    downloads = [Transfer(contestant, stage.folder, rate=rate, seconds=seconds + 2) for _ in range(4)]
    # Until the windows have grown.
    time.sleep(1)
    found = measured(contestant, BESIDE, seconds)
    results = [one.result() for one in downloads]
    found["errors"] += [error for one in results for error in one["errors"]]
    found["beside"] = sum(one["bytes"] for one in results) / max(one["seconds"] for one in results) / 1e6
    return found
