"""Figures into tables: medians over the rounds, what they ranged over, and ratios to the two chained nginx hops.

A ratio is taken within each round, and then the median of these: what else the machine did in a round fell on both.
"""
import statistics

BASE = "two nginx"
MB = 1e6


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio(found, base, kind):
    """Of two lists of measurements, round by round; None where a round went wrong."""
    pairs = [(one[kind], other[kind]) for one, other in zip(found, base) if one[kind] and other[kind]]
    return spread([one / other for one, other in pairs]) if pairs else None


def show_ratio(one):
    return show(one, 2) if one else "-"


def show(one, digits=0):
    text = f"{one['median']:,.{digits}f}"
    return text if one["min"] == one["max"] else f"{text} ({one['min']:,.{digits}f}..{one['max']:,.{digits}f})"


def errors(found):
    """What went wrong in a list of measurements: in how many, and the first of it."""
    wrong = [one["errors"] for one in found if one["errors"]]
    return [f"in {len(wrong)} of {len(found)} rounds, such as: {'; '.join(wrong[0])}"] if wrong else []


def lay_out(head, rows):
    widths = [max(len(str(row[column])) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = [str(cell).ljust(width) if column == 0 else str(cell).rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths))]
        print("  " + "  ".join(cells).rstrip())


def complain(found):
    for error in found:
        print(f"  !! {error}")


def small(title, groups, more=()):
    """`groups`: [(group, {name: measurements})], each with the base in it or without any."""
    print(f"\n{title}")
    kinds = [("rate", "requests/s", 0), ("p50", "p50 µs", 0), ("p99", "p99 µs", 0), ("cpu", "CPU µs/request", 1), *more]
    head = ["", *(text for _, text, _ in kinds), "others' cores"]
    rows, wrong = [], []
    for group, by_name in groups:
        for name, found in by_name.items():
            row = [f"{group} {name}".strip()]
            for kind, _, digits in kinds:
                cell = show(spread([one[kind] for one in found]), digits)
                if name != BASE and BASE in by_name:
                    one = ratio(found, by_name[BASE], kind)
                    cell += f"  {one['median']:.2f}x" if one else ""
                row.append(cell)
            row.append(f"{statistics.median(one['foreign'] for one in found):.2f}")
            rows.append(row)
            wrong += [f"{row[0]}: {error}" for error in errors(found)]
    lay_out(head, rows)
    complain(wrong)


def large(title, found):
    print(f"\n{title}")
    head = ["", "s", "MB/s", "CPU ms/MB", "MB/s to two nginx", "CPU to two nginx", "others' cores"]
    rows, wrong = [], []
    for (way, name), one in found.items():
        base = found[way, BASE]
        rows.append([f"{way} {name}", show(spread([each["seconds"] for each in one]), 2),
                     show(spread([each["rate"] for each in one])), show(spread([each["cpu"] for each in one]), 2),
                     show_ratio(ratio(one, base, "rate")), show_ratio(ratio(one, base, "cpu")),
                     f"{statistics.median(each['foreign'] for each in one):.2f}"])
        wrong += [f"{way} {name}: {error}" for error in errors(one)]
    lay_out(head, rows)
    complain(wrong)


def idle(found):
    print("\nMemory at rest (RSS, MB)")
    whens = ["fresh", "after load", "later"]
    lay_out(["", *whens], [[name, *(f"{found[when][name] / MB:.1f}" for when in whens)] for name in ("agent", "relay")])
    complain(found["errors"])


def slow(found):
    print("\nTen readers of 1 MB/s each: growth of memory (RSS, MB)")
    rows = [[name, f"{one['growth'] / MB:.1f}", " + ".join(f"{part / MB:.1f}" for part in one["parts"]),
             f"{one['read']:.1f}"] for name, one in found.items()]
    lay_out(["", "growth", "of each process (outhaul: relay + agent)", "MB/s read by all"], rows)
    for name, one in found.items():
        complain(f"{name}: {error}" for error in sorted(set(one["errors"])))


def fleet(found):
    print(f"\n{found['agents']:,} idle agents with {found['tunnels']} tunnel(s) each, TLS")
    print(f"  relay before {found['before'] / MB:.1f} MB; for each agent {found['soon']:,.0f} bytes soon, "
          f"{found['later']:,.0f} later")
    print(f"  all connected in {found['seconds']:.1f} s, {found['cpu']:.2f} ms of the relay's CPU for each tunnel; enrolled in "
          f"{found['enrolments']['seconds']:.1f} s")
    complain(found["errors"])


def restart(found):
    print(f"\n{found['agents']:,} agents after the relay was killed and started again")
    print(f"  the relay listened after {found['started']:.2f} s; all were back after {found['seconds']:.1f} s "
          f"({found['attempts']:,} attempts, {found['busy']:,} turned away as too many at once); {found['up']:,} are up a "
          "second later")
    for fault, count in found["faults"].items():
        print(f"  {count:,} times: {fault}")


def people(found):
    small("Calls as a person beside calls as a service: 64 connections, one agent", [("", found)])
    service, person = found["as a service"], found["as a person"]
    print(f"  person against service: requests/s {show_ratio(ratio(person, service, 'rate'))}, "
          f"CPU {show_ratio(ratio(person, service, 'cpu'))}")


def passed(found):
    small("TLS that ends at the agent beside TLS that ends at the relay: 64 connections, one relay, one agent",
          [("", found)], [("relay", "relay's CPU µs/request", 1)])
    one, other = found["passed through"], found["terminated"]
    print(f"  passed through against terminated: requests/s {show_ratio(ratio(one, other, 'rate'))}, "
          f"CPU {show_ratio(ratio(one, other, 'cpu'))}, relay's CPU {show_ratio(ratio(one, other, 'relay'))}")


def policy(found, refused):
    small("Cost of the policy: 64 connections; the rule that decides is the last", [("", found)])
    few = found.get(10)
    for count, each in found.items():
        if few and count != 10:
            print(f"  {count:,} rules against 10: requests/s {show_ratio(ratio(each, few, 'rate'))}, "
                  f"CPU {show_ratio(ratio(each, few, 'cpu'))}")
    for count, why in refused.items():
        print(f"  !! {count:,} rules are refused: {why}")
