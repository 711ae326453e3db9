"""Rows of large bodies: 100 MB down and up, near and far."""
from load import Transfer, check
from nginx import BIG
from processes import Foreign, cpu_seconds
from rows_small import turns


def transfer(stage, contestant, up):
    foreign, before = Foreign(), cpu_seconds(contestant["processes"])
    found = Transfer(contestant, stage.folder, up=up).result()
    found["cpu"] = (cpu_seconds(contestant["processes"]) - before) * 1e3 / (BIG / 1e6)
    found["foreign"] = foreign.cores()
    return found


def rounds(stage, contestants):
    """{(direction, contestant): [a measurement a round]}"""
    for one in contestants:
        check(one)
        for up in (False, True):
            transfer(stage, one, up)
    found = {(way, one["name"]): [] for way in ("down", "up") for one in contestants}
    for number in range(stage.options.rounds):
        for up in (False, True):
            for one in turns(contestants, number):
                found["up" if up else "down", one["name"]].append(transfer(stage, one, up))
    return found


def near(stage):
    return rounds(stage, [stage.direct(), stage.one_hop(), stage.two_hops(), stage.agent("two", tunnels=2).contestant("outhaul")])


def far(stage):
    """With half the delay each way, and room on the line for more than any of them sends."""
    delay = {"delay-ms": stage.options.delay_ms // 2, "in-flight": 32 * 1024 * 1024}
    return rounds(stage, stage.far("far", delay))


def window(stage):
    """The same, but a connection has at most 4 MB on its way, as with TCP at the kernel's defaults (tcp_wmem)."""
    delay = {"delay-ms": stage.options.delay_ms // 2, "in-flight": 4 * 1024 * 1024}
    return rounds(stage, stage.far("window", delay))
