"""What was measured against what is aimed at. Says what holds; judges nothing."""
from table import BASE, MB, errors, lay_out, ratio, spread


class Bar:
    """`at_least`: larger is better. `unit` stands behind what is measured."""

    def __init__(self, what, bar, dream, found, at_least=False, unit="", wrong=(), digits=2):
        self.what, self.bar, self.dream, self.found, self.at_least = what, bar, dream, found, at_least
        self.unit, self.wrong, self.digits = unit, list(wrong), digits

    def reaches(self, mark):
        value = self.found["median"]
        return value >= mark if self.at_least else value <= mark

    def holds(self):
        if self.wrong:
            return "NO: errors"
        return "yes, dream too" if self.reaches(self.dream) else "yes" if self.reaches(self.bar) else "NO"

    def row(self):
        sign = "≥" if self.at_least else "≤"
        text = f"{self.found['median']:.{self.digits}f}{self.unit}"
        if self.found["min"] != self.found["max"]:
            text += f" ({self.found['min']:.{self.digits}f}..{self.found['max']:.{self.digits}f})"
        return [self.what, f"{sign} {self.bar:g}{self.unit}", f"{sign} {self.dream:g}{self.unit}", text, self.holds()]

    def document(self):
        return {"what": self.what, "at_least": self.at_least, "bar": self.bar, "dream": self.dream, "unit": self.unit,
                "measured": self.found, "holds": self.holds(), "errors": self.wrong}


def exactly(value):
    return {"median": value, "min": value, "max": value}


def bars(rows):
    found = []

    def add(what, bar, dream, ours, base, kind, at_least=False):
        measured = ratio(ours, base, kind)
        if measured:
            found.append(Bar(what, bar, dream, measured, at_least, wrong=errors(ours) + errors(base)))

    core = rows.get("core", {})
    for connections, kind, what, bar, dream, at_least in [
            (64, "rate", "requests/s, 64 connections, 1 KB", 1.3, 2.0, True),
            (64, "cpu", "CPU a request, 64 connections", 0.6, 0.4, False),
            (1, "p50", "p50, 1 connection", 1.1, 0.8, False)]:
        for name in ("outhaul", "outhaul, 1 tunnel"):
            if (connections, name) in core:
                add(f"{what}{' (1 tunnel)' if name != 'outhaul' else ''}", bar, dream, core[connections, name],
                    core[connections, BASE], kind, at_least)
    for row, text, dream in [("bulk", "", 1.3), ("delay", ", far", 1.2), ("window", ", far, 4 MB window", 1.2)]:
        for way in ("down", "up"):
            if row in rows:
                add(f"100 MB {way}{text}", 0.9, dream, rows[row][way, "outhaul"], rows[row][way, BASE], "rate", True)
    for row, text in [("fairness", "20 MB/s by the readers"), ("narrow", "20 MB/s by the line")]:
        if row in rows:
            add(f"p99 beside 4 downloads, {text}", 1.0, 0.7, rows[row]["outhaul"], rows[row][BASE], "p99")
    if "people" in rows:
        one = rows["people"]
        add("CPU a request as a person, against a service", 1.1, 1.0, one["as a person"], one["as a service"], "cpu")
    if "pass-through" in rows:
        one = rows["pass-through"]
        add("relay's CPU a request, passed through, against terminated", 0.6, 0.4, one["passed through"], one["terminated"], "relay")
    if "slow" in rows:
        one = rows["slow"]["outhaul"]
        found.append(Bar("ten slow readers: growth", 16, 6, exactly(one["growth"] / MB), unit=" MB", wrong=one["errors"], digits=1))
    if "idle" in rows:
        one = rows["idle"]
        found.append(Bar("idle agent, fresh", 15, 8, exactly(one["fresh"]["agent"] / MB), unit=" MB", digits=1))
        found.append(Bar("idle agent, after load", 15, 8, exactly(one["later"]["agent"] / MB), unit=" MB", wrong=one["errors"], digits=1))
    if "fleet" in rows:
        one = rows["fleet"]
        values = spread([one["soon"] / 1e3, one["later"] / 1e3])
        found.append(Bar(f"relay for each idle agent ({one['tunnels']} tunnel)", 30, 15, values, unit=" KB", wrong=one["errors"], digits=1))
    if "restart" in rows:
        one = rows["restart"]
        # Nothing listens for a moment: to be refused then is no fault of accepting, nor is to be told to come later.
        wrong = [fault for fault in one["faults"] if "refused (os error" not in fault and "relay-busy" not in fault]
        if one["up"] != one["agents"]:
            wrong.append(f"{one['up']} are up")
        found.append(Bar(f"{one['agents']:,} agents back after a restart", 30, 10, exactly(one["seconds"]), unit=" s", wrong=wrong, digits=1))
    return found


def show(found):
    print("\nAgainst the bars (ratios are to two chained nginx hops with TLS; median, and the range over the rounds)")
    lay_out(["", "bar", "dream", "measured", "holds"], [one.row() for one in found])
