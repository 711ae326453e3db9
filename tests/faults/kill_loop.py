"""The agent is killed (SIGKILL) over and over while it renews tokens, links people, adds callers, makes calls and writes its audit.

What was acknowledged before a kill must be there after it; what was cut off may be there or not, but whole. Most kills
are aimed: at a renewal whose answer is on its way, at the end of a link, at an administrator's command, at a start.
usage: kill_loop.py TARGET/debug; OUTHAUL_KILLS=200 for the long run, OUTHAUL_SEED to repeat a plan.
"""
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from whole_site import BROKEN, PEOPLE, Refused, Site, Wrong

KILLS = int(os.environ.get("OUTHAUL_KILLS") or 60)
SEED = int(os.environ.get("OUTHAUL_SEED") or random.randrange(1_000_000))
PROPERTY = "/rest/api/2/issue/DEMO-1/properties/"
# Changed all the time by administrators; the people of the OAuth grants are others.
ADMINISTERED = [f"t:adm{number}" for number in range(6)]
CALLERS = [f"c{number}" for number in range(6)]
LINKER = "t:mallory"
# Of an access token, in seconds: every round renews.
LIFETIME = 2
MODES = ("any", "any", "expiry", "expiry", "expiry", "held", "held", "held", "link", "link", "command", "command", "start")


class Put:
    """A call that may change something, with a path that is its own."""

    def __init__(self, number, person, caller, key, idempotency):
        self.number, self.person, self.caller, self.key, self.idempotency = number, person, caller, key, idempotency
        self.status = self.problem = self.outcome = self.headers = None
        self.path = f"{PROPERTY}k{number}"

    def send(self, site):
        more = {"Idempotency_Key": self.idempotency} if self.idempotency else {}
        return site.call("PUT", f"/jira{self.path}", self.key, self.person, {"n": self.number}, **more)

    def __repr__(self):
        return f"{self.path} by {self.caller} for {self.person}, key {self.idempotency}: {self.status} {self.problem} {self.outcome}"


class Loop:
    def __init__(self, site):
        self.site, self.dice = site, random.Random(SEED)
        self.lock = threading.Lock()
        self.puts, self.next = [], 0
        # None: the change was cut off, and either is right.
        self.links = dict.fromkeys(ADMINISTERED, "absent")
        self.callers = {name: ("absent", None) for name in CALLERS}
        self.linker = "oauth"
        self.acknowledged = Counter()
        # All that came, and what Jira took as somebody's: a call with a token that had just died is refused, and changes nothing.
        self.reached, self.made = Counter(), Counter()
        self.figures = Counter()
        self.faults = []
        self.stop = threading.Event()
        self.finishing, self.commanding = threading.Event(), threading.Event()

    # --- who works while the agent dies ---------------------------------------------------------------------------

    def worker(self, work, seed):
        dice = random.Random(seed)
        while not self.stop.is_set():
            try:
                work(dice)
            except BROKEN:
                self.figures["connections that broke"] += 1
            except Refused as refused:
                self.figures["steps of a link that were refused"] += 1
                self.honest(refused.args[0])
            except Exception as fault:  # shown with the others
                self.faults.append(f"{type(fault).__name__}: {fault}")
                return

    def honest(self, answer):
        """Where it is no success, it is a problem document."""
        if answer.status >= 400 and not answer.problem and b"<html" not in answer.body:
            raise Wrong(f"an answer that says nothing: {answer}")

    def put(self, dice):
        with self.lock:
            self.next += 1
            known = [(name, key) for name, (state, key) in self.callers.items() if state == "present"]
            caller, key = dice.choice(known) if known and dice.random() < 0.4 else ("demo", None)
            person = None if key else f"t:{dice.choice(PEOPLE[:3])}"
            idempotency = f"key-{self.next}" if dice.random() < 0.4 else None
            put = Put(self.next, person, caller, key, idempotency)
            self.puts.append(put)
        answer = put.send(self.site)
        put.status, put.problem = answer.status, answer.problem
        if answer.problem:
            put.outcome = answer.json().get("outcome")
        self.honest(answer)

    def read(self, dice):
        person = dice.choice(PEOPLE)
        found = self.site.whoami(f"t:{person}")
        if found in PEOPLE and found != person:
            raise Wrong(f"{person} was served as {found}")

    def link_people(self, dice):
        """One person changes between consent and a token."""
        kind = "pat" if self.linker == "oauth" else "oauth"
        token = self.site.jira.about["pats"]["mallory"] if kind == "pat" else None
        before, begun = self.linker, False

        def finishing():
            nonlocal begun
            begun = True
            self.linker = None
            self.finishing.set()

        try:
            answer = self.site.link(LINKER, "mallory", token, finishing)
        except Refused:
            if begun:
                self.linker = before
            raise
        if answer.status == 200:
            self.linker = kind
            self.figures["links by their people"] += 1
        elif answer.json().get("outcome") != "outcome-unknown":
            self.linker = before
            raise Refused(answer)

    def administer_links(self, dice):
        if dice.random() < 0.08:
            return self.rekey()
        person = dice.choice(ADMINISTERED)
        before, self.links[person] = self.links[person], None
        self.commanding.set()
        if before == "present":
            done = self.site.command("link", "remove", person)
        else:
            pat = self.site.jira.about["pats"]["admin"]
            done = self.site.command("link", "create", person, "--allow-shared", text=pat + "\n")
        if done.returncode == 0:
            self.links[person] = "absent" if before == "present" else "present"
            event = "link-removed" if before == "present" else "link-created"
            self.acknowledged[event, person] += 1
            self.figures["links by an administrator"] += 1
        else:
            self.refused(done)

    def rekey(self):
        """A key that was changed half must open the store all the same."""
        self.commanding.set()
        done = self.site.command("store", "rekey")
        if done.returncode == 0:
            self.acknowledged["store-rekey"] += 1
            self.figures["changes of the store's key"] += 1
        else:
            self.refused(done)

    def administer_callers(self, dice):
        name = dice.choice(CALLERS)
        with self.lock:
            (state, key), self.callers[name] = self.callers[name], (None, None)
        self.commanding.set()
        what = "add" if state == "absent" else dice.choice(("rotate", "rotate", "remove"))
        # The old key goes on, so that calls under way with it are no fault.
        more = ("--grace", "1h") if what == "rotate" else ()
        done = self.site.command("caller", what, name, *more, "--json")
        if done.returncode == 0:
            key = None if what == "remove" else json.loads(done.stdout)["key"]
            with self.lock:
                self.callers[name] = ("absent" if what == "remove" else "present", key)
            self.acknowledged[{"add": "caller-added", "rotate": "caller-rotated", "remove": "caller-removed"}[what], name] += 1
            self.figures["changes of callers"] += 1
        else:
            if what == "rotate":
                self.callers[name] = ("rotating", key)
            self.refused(done)

    def refused(self, done):
        self.figures["commands that were cut off"] += 1
        if not done.stderr.strip():
            raise Wrong(f"a command failed and said nothing: {done}")
        # What becomes of it is seen after the restart.
        self.stop.wait(60)

    # --- a round --------------------------------------------------------------------------------------------------

    def round(self, mode):
        site, dice = self.site, self.dice
        self.stop.clear()
        self.finishing.clear()
        self.commanding.clear()
        works = [self.put, self.put, self.read, self.link_people, self.administer_links, self.administer_callers]
        threads = [threading.Thread(target=self.worker, args=(work, dice.random())) for work in works]
        for thread in threads:
            thread.start()
        try:
            self.wait(mode)
        finally:
            self.site.kill_agent()
            self.stop.set()
        site.jira.control("POST", "/oauth/release")
        # The relay lets calls wait a little for an agent that is away.
        site.start_agent()
        begin = time.monotonic()
        for thread in threads:
            thread.join(60)
            if thread.is_alive():
                raise Wrong(f"silence: a caller still waits {time.monotonic() - begin:.0f} s after the kill")
        if self.faults:
            raise Wrong("; ".join(self.faults[:5]))
        self.look()

    def wait(self, mode):
        jira, dice = self.site.jira, self.dice
        if mode == "expiry":
            time.sleep(dice.random() * 0.1)
            for person in PEOPLE:
                jira.control("POST", f"/oauth/users/{person}/expire")
            time.sleep(dice.random() * 0.08)
        elif mode == "held":
            point = dice.choice(("before", "after", "after"))
            jira.control("POST", f"/oauth/hold/{point}")
            jira.control("POST", f"/oauth/users/{dice.choice(PEOPLE[:3])}/expire")
            held = jira.control("GET", "/oauth/held?wait=3")[2]["held"]
            self.figures["kills at a held renewal"] += held
            if held and dice.random() < 0.8:
                jira.control("POST", "/oauth/release")
                time.sleep(dice.random() * 0.012)
        elif mode == "link":
            self.figures["kills at the end of a link"] += self.finishing.wait(3)
            time.sleep(dice.random() * 0.015)
        elif mode == "command":
            self.figures["kills at a command"] += self.commanding.wait(3)
            time.sleep(dice.random() * 0.03)
        else:
            time.sleep(dice.random() * 0.5)

    def look(self):
        """What reached Jira since the last look."""
        seen = self.site.jira.control("DELETE", "/requests")[2]
        if len(seen) >= 500:
            raise Wrong("the stand-in's log was too short: the test would miss what it is for")
        for one in seen:
            if one["method"] not in ("GET", "HEAD") and PROPERTY in one["target"]:
                path = PROPERTY + one["target"].rsplit("/", 1)[1]
                self.reached[path] += 1
                self.made[path] += one["user"] is not None

    # --- after a restart ------------------------------------------------------------------------------------------

    def check(self, number, dice):
        links = {line["person"]: line for line in self.listed("link")}
        for person, state in self.links.items():
            there = "present" if person in links else "absent"
            if state not in (None, there):
                raise Wrong(f"{person} was acknowledged as {state} and is {there}")
            if there == "present" and links[person]["state"] != "active":
                raise Wrong(f"{person} is half there: {links[person]}")
            self.links[person] = there
        self.check_callers(dice)
        self.check_people(links)
        self.check_keyed(dice)
        if number % 10 == 0:
            self.verify_audit()
        self.look()

    def listed(self, what):
        done = self.site.command(what, "list", "--json")
        if done.returncode != 0:
            raise Wrong(f"{what} list: {done}")
        return json.loads(done.stdout)

    def check_callers(self, dice):
        names = {line["name"] for line in self.listed("caller")}
        for name, (state, key) in list(self.callers.items()):
            there = name in names
            if (state in ("present", "rotating") and not there) or (state == "absent" and there):
                raise Wrong(f"the caller {name} was acknowledged as {state}; it is there: {there}")
            if state in ("present", "rotating"):
                answer = self.site.call("GET", "/jira/rest/api/2/serverInfo", key)
                # A rotation that was cut off may have been made: the old key has its grace.
                if answer.status != 200:
                    raise Wrong(f"the key of {name} ({state}) is not taken: {answer}")
                self.callers[name] = ("present", key)
            elif there:
                # Its key was never shown. It is made anew.
                if self.site.command("caller", "remove", name).returncode != 0:
                    raise Wrong(f"{name} can't be removed")
                self.acknowledged["caller-removed", name] += 1
                self.callers[name] = ("absent", None)
            else:
                self.callers[name] = ("absent", None)

    def check_people(self, links):
        for name in PEOPLE:
            person = f"t:{name}"
            kind = links[person]["credential"] if person in links else None
            if person not in links:
                raise Wrong(f"the link of {person} is gone")
            if person == LINKER:
                if kind and self.linker not in (None, kind):
                    raise Wrong(f"{person} was linked by {self.linker} and has {kind}")
                judged = self.linker == "oauth"
                self.linker = kind or "oauth"
            else:
                judged = True
            found = self.site.whoami(person)
            if found == name:
                self.figures["people who went on"] += 1
                continue
            grants = [one for one in self.site.jira.control("GET", "/state")[2]["grants"] if one["user"] == name]
            newest = max(grants, key=lambda one: one["id"])
            if found != "needs-reauth" or (judged and newest["access_used"]):
                raise Wrong(f"{person} gets {found}; the newest token was used: {newest} {links[person]}\n{self.site.said()[-2000:]}")
            self.figures["people whose renewal was cut off, linked again"] += 1
            answer = self.site.link(person, name)
            if answer.status != 200 or self.site.whoami(person) != name:
                raise Wrong(f"{person} can't be linked again: {answer}")
            if person == LINKER:
                self.linker = "oauth"

    def check_keyed(self, dice):
        keyed = [put for put in self.puts if put.idempotency and self.usable(put)]
        for put in dice.sample(keyed[-60:], min(4, len(keyed[-60:]))):
            answer = put.send(self.site)
            if put.status in (200, 201):
                if answer.headers.get("Outhaul-Replayed") != "true" and answer.problem != "idempotency-answer-gone":
                    raise Wrong(f"{put} was forgotten: {answer}")
                self.figures["keyed calls that were answered again"] += 1
            elif answer.status in (200, 201) and put.status is None:
                put.status = answer.status

    def usable(self, put):
        return put.key is None or self.callers[put.caller] == ("present", put.key)

    def verify_audit(self):
        done = self.site.command("audit", "verify")
        if done.returncode != 0:
            raise Wrong(f"audit verify: {done}")
        self.figures["audit verify"] += 1

    # --- at the end -----------------------------------------------------------------------------------------------

    def judge(self):
        site = self.site
        self.look()
        for when in ("running", "stopped"):
            verified = site.command("store", "verify", "--json")
            if verified.returncode != 0 or json.loads(verified.stdout)["broken"]:
                raise Wrong(f"store verify, the agent {when}: {verified}")
            self.verify_audit()
            if when == "running":
                site.stop_agent()
        export = site.command("audit", "export")
        if export.returncode != 0:
            raise Wrong(f"audit export: {export.stderr}")
        head, intents, events = bytes(32), Counter(), Counter()
        for number, line in enumerate(export.stdout.encode().splitlines(), 1):
            record = json.loads(line)
            if record["n"] != number:
                raise Wrong(f"record {number} is missing")
            head = hashlib.sha256(head + line).digest()
            if record["event"] == "call-intent":
                intents[record["path"], record["caller"], record.get("act_as")] += 1
            events[record["event"]] += 1
            if record["event"].startswith("caller-"):
                events[record["event"], record["caller"]] += 1
            elif record["event"] in ("link-created", "link-removed") and "by" in record:
                events[record["event"], record["detail"].split(" ")[0]] += 1
        if f"{number}:{head.hex()}" not in export.stderr:
            raise Wrong(f"the chain ends at {number}:{head.hex()}, not as told: {export.stderr}")
        self.figures["audit records"] = number
        paths = {path for path, _, _ in intents}
        checks = {
            "reached Jira without an intent": [path for path in self.reached if path not in paths],
            "made twice": [path for path, count in self.made.items() if count > 1],
            "answered 2xx without an intent": [put for put in self.puts if put.status in (200, 201)
                                               and not intents[put.path, put.caller, put.person]],
            "answered 2xx and never made": [put for put in self.puts if put.status in (200, 201) and not self.made[put.path]],
            # One with a key may have been sent again.
            "told “not sent”, and made": [put for put in self.puts if put.outcome == "not-sent" and self.made[put.path]
                                         and not put.idempotency],
            "acknowledged actions without a record": [f"{what}: {count}, recorded {events[what]}"
                                                      for what, count in self.acknowledged.items() if events[what] < count],
        }
        answered = sum(put.status in (200, 201) for put in self.puts)
        self.figures["unsafe calls"] = len(self.puts)
        self.figures["unsafe calls answered 2xx"] = answered
        self.figures["unsafe calls that reached Jira"] = sum(self.reached.values())
        self.figures["unsafe calls that Jira made"] = sum(self.made.values())
        self.figures["call-intent records"] = sum(intents.values())
        self.figures["renewals"] = sum(site.jira.control("GET", "/counters")[2]["refreshes"].values())
        failed = 0
        for what, found in checks.items():
            failed += bool(found)
            print("FAILED:" if found else "  ok ", f"{len(found)} {what}", *found[:5], sep=" ")
        return len(checks), failed

    def run(self):
        site = self.site
        site.jira.control("POST", f"/oauth/lifetime/{LIFETIME}")
        for name in PEOPLE:
            answer = site.link(f"t:{name}", name)
            if answer.status != 200:
                raise Wrong(f"{name} can't link: {answer}")
        modes = Counter()
        for number in range(1, KILLS + 1):
            mode = self.dice.choice(MODES)
            modes[mode] += 1
            if mode == "start":
                # This one dies at its start, with the one before still warm at the relay.
                site.kill_agent()
                site.spawn_agent()
                time.sleep(self.dice.random() * 0.15)
                site.kill_agent()
                site.start_agent()
            else:
                self.round(mode)
            self.check(number, self.dice)
        print(f"{KILLS} kills, seed {SEED}:", ", ".join(f"{count} {mode}" for mode, count in sorted(modes.items())))


def main():
    folder = Path(tempfile.mkdtemp(prefix="outhaul-kills-"))
    print(f"seed {SEED}: OUTHAUL_SEED={SEED} OUTHAUL_KILLS={KILLS} repeats the plan", flush=True)
    site = None
    begin = time.monotonic()
    good = False
    try:
        site = Site(sys.argv[1], folder)
        site.start("")
        loop = Loop(site)
        try:
            loop.run()
            checks, failed = loop.judge()
        except Wrong as wrong:
            print("FAILED:", wrong)
            checks, failed = 1, 1
        for name, count in sorted(loop.figures.items()):
            print(f"  {count:>7} {name}")
        print(f"  {time.monotonic() - begin:>7.1f} s")
        print(f"{checks} checks, {failed} failed")
        good = not failed
        return 0 if good else 1
    finally:
        if site is not None:
            site.stop()
        if good:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"what is left lies in {folder}")


sys.exit(main())
