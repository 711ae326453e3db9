"""What the agent does when its disk, its files or its clock go wrong: with the real programs, and a file system of its own.

Each fault must be told clearly, calls refused as documented (never silence), nothing made anew or overwritten; and once it is
mended, everything that was acknowledged is there. usage: disk_faults.py TARGET/debug [LIBFAKETIME]
"""
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from whole_site import BROKEN, Refused, Site, Wrong

SKIPPED = 77
FAKETIME = sys.argv[2] if len(sys.argv) > 2 else ""
DAY = 24 * 3600
# EXT4_IOC_SHUTDOWN (linux/ext4.h): the file system ends at once, and what no fsync has seen is lost, as at a power cut.
EXT4_IOC_SHUTDOWN, WITHOUT_FLUSH = 0x8004587D, 2

done = failed = 0


def check(what, good, found=""):
    global done, failed
    done += 1
    failed += not good
    print("  ok " if good else "FAILED:", what, "" if good else f"\n    {found}", flush=True)


class Disk:
    """An ext4 file system in a file."""

    def __init__(self, folder):
        self.image, self.at = folder / "disk.img", folder / "disk"
        self.mounted = False

    def make(self):
        self.at.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(24 << 20)
        return self.run("mkfs.ext4", "-q", "-b", "4096", "-m", "0", str(self.image)) and self.mount()

    def mount(self, *options):
        self.mounted = self.run("mount", "-o", ",".join(("loop", *options)), str(self.image), str(self.at))
        return self.mounted

    def unmount(self):
        for _ in range(100):
            if not self.mounted or self.run("umount", str(self.at)):
                self.mounted = False
                return
            time.sleep(0.1)
        raise Wrong("the test's disk can't be unmounted")

    def run(self, *command):
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.fault = done.stderr.strip()
        return done.returncode == 0

    def fill(self):
        """Until not one byte more fits."""
        with open(self.at / "filler", "ab", buffering=0) as filler:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        filler.write(b"x" * size)
                except OSError:
                    continue

    def empty(self):
        (self.at / "filler").unlink()

    def shut_down(self):
        folder = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, WITHOUT_FLUSH.to_bytes(4, sys.byteorder))
        finally:
            os.close(folder)


class Faults:
    def __init__(self, site, disk):
        self.site, self.disk = site, disk
        self.number = 0
        self.keys = {}
        self.kept = []
        self.people = ["alice", "bob"]

    def put(self, idempotency=None, number=None, **more):
        if number is None:
            self.number += 1
            number = self.number
        headers = {"Idempotency_Key": idempotency} if idempotency else {}
        path = f"/jira/rest/api/2/issue/DEMO-1/properties/d{number}"
        return self.site.call("PUT", path, person="t:alice", document={"n": number}, **headers, **more)

    def acknowledge(self):
        """Something of each kind, in the store for good."""
        name = f"c{len(self.keys)}"
        added = self.site.command("caller", "add", name, "--json")
        if added.returncode != 0:
            raise Wrong(f"caller add: {added}")
        self.keys[name] = json.loads(added.stdout)["key"]
        answer = self.put(f"kept-{len(self.kept)}")
        if answer.status != 201:
            raise Wrong(f"a call with a key: {answer}")
        self.kept.append(self.number)

    def all_there(self, when):
        site = self.site
        found = [site.call("GET", "/jira/rest/api/2/serverInfo", key).status for key in self.keys.values()]
        check(f"{when}: every caller is there", set(found) == {200}, found)
        found = [site.whoami(f"t:{name}") for name in self.people]
        check(f"{when}: every person is there", found == self.people, found)
        found = [self.put(f"kept-{place}", number) for place, number in enumerate(self.kept)]
        replayed = all(answer.headers.get("Outhaul-Replayed") == "true" and answer.status == 201 for answer in found)
        check(f"{when}: every call with a key is known", replayed, found)
        verified = site.command("store", "verify", "--json")
        good = verified.returncode == 0 and json.loads(verified.stdout)["broken"] == []
        check(f"{when}: the store is whole, its chain too", good, verified)
        answer = self.put()
        check(f"{when}: calls are made", answer.status == 201, answer)

    def files(self):
        """What lies in the state folder. An empty log beside the database is as good as none."""
        found = {path.name: path.read_bytes() for path in sorted(self.site.state.iterdir()) if path.is_file()}
        return {name: hashlib.sha256(bytes).hexdigest() for name, bytes in found.items()
                if name != "lock" and (bytes or name != "store.db-wal")}

    # --- no room --------------------------------------------------------------------------------------------------

    def full(self):
        site, disk = self.site, self.disk
        self.acknowledge()
        disk.fill()
        refused = None
        for _ in range(3000):
            answer = self.put()
            if answer.status != 201:
                refused = answer
                break
        check("full disk: a call that may change something is refused", refused is not None
              and (refused.status, refused.problem, refused.json()["outcome"]) == (503, "audit-unavailable", "not-sent"), refused)
        made = [name for name in site.jira.control("GET", "/state")[2]["issues"]["DEMO-1"]["properties"] if name.startswith("d")]
        check("full disk: what was refused was not made", f"d{self.number}" not in made, made)
        answer = self.put("new-key")
        check("full disk: so is one with a key", answer.problem in ("store-unavailable", "audit-unavailable"), answer)
        found = site.whoami("t:bob")
        check("full disk: reading goes on", found == "bob", found)
        added = site.command("caller", "add", "no-room")
        check("full disk: a caller can't be added, and why", added.returncode != 0 and "disk is full" in added.stderr, added)
        pat = site.jira.about["pats"]["admin"]
        linked = site.command("link", "create", "t:no-room", text=pat + "\n")
        check("full disk: nobody can be linked, and why", linked.returncode != 0 and "disk is full" in linked.stderr, linked)
        status = site.command("status")
        check("full disk: status says so", "disk is full" in status.stdout + status.stderr, status)
        check("full disk: the log says so", "disk is full" in site.said(), site.said()[-2000:])
        # New tokens can't be put down: they are kept, not used, and not asked for twice.
        before = site.jira.control("GET", "/counters")[2]["refreshes"].get("alice", 0)
        site.jira.control("POST", "/oauth/users/alice/expire")
        found = site.whoami("t:alice")
        check("full disk: a renewed token is not used", found == "credential-unavailable", found)
        disk.empty()
        self.until("room again: the person goes on with the new token", lambda: site.whoami("t:alice") == "alice", 60)
        after = site.jira.control("GET", "/counters")[2]["refreshes"].get("alice", 0)
        check("room again: it was renewed once", after == before + 1, (before, after))
        self.until("room again: calls are made", lambda: self.put().status == 201, 30)
        names = {line["name"] for line in json.loads(site.command("caller", "list", "--json").stdout)}
        check("room again: what was refused is not there", "no-room" not in names, names)
        self.all_there("room again")
        # A start without room, with a log left by a crash: it stays up, says what is wrong, and goes on by itself.
        site.kill_agent()
        disk.fill()
        before = self.files()
        site.spawn_agent()
        said = site.line("disk is full")
        check("a start on a full disk: the log says so", "disk is full" in said, said)
        answer = self.put()
        refused = (answer.status, answer.problem) in ((503, "site-offline"), (503, "audit-unavailable"))
        check("a start on a full disk: calls are refused", refused, answer)
        status = site.command("status")
        check("a start on a full disk: status says so", "disk is full" in status.stdout + status.stderr, status)
        # The log beside the file may hold the beginning of what did not fit; nothing counts of it.
        after = self.files()
        same = all(after[name] == before[name] for name in ("store.db", "store.keys"))
        check("a start on a full disk: the files are as they were", same, (before, after))
        disk.empty()
        site.line("connected to the relay", 60)
        # The audit looks again each second.
        self.until("room again: calls are made", lambda: self.put().status == 201, 30)
        self.all_there("after a start on a full disk")

    def until(self, what, true, seconds):
        begin = time.monotonic()
        found = None
        while time.monotonic() - begin < seconds:
            try:
                if true():
                    return check(what, True)
            except BROKEN as broken:
                found = broken
            time.sleep(0.1)
        check(what, False, f"not within {seconds} s {found or ''}")

    # --- read-only, and gone --------------------------------------------------------------------------------------

    def read_only(self):
        site, disk = self.site, self.disk
        self.acknowledge()
        site.stop_agent()
        before = self.files()
        disk.unmount()
        disk.mount("ro")
        self.refuses("read-only disk", "Read-only file system", before)
        disk.unmount()
        disk.mount()
        site.start_agent()
        self.all_there("after a read-only disk")

    def gone(self):
        """The disk ends under the running agent, without another byte: what was acknowledged was flushed before."""
        site, disk = self.site, self.disk
        self.acknowledge()
        try:
            disk.shut_down()
        except OSError as fault:
            print(f"skipped: the disk that ends under the agent: {fault}")
            return
        answer = self.put()
        check("the disk ends: writes are refused", (answer.status, answer.problem) == (503, "audit-unavailable"), answer)
        answer = self.put("another")
        check("the disk ends: so are those with a key", answer.problem in ("store-unavailable", "audit-unavailable"), answer)
        added = site.command("caller", "add", "no-disk")
        check("the disk ends: commands say why", added.returncode != 0 and ("disk" in added.stderr or "read-only" in added.stderr), added)
        found = site.whoami("t:bob")
        check("the disk ends: reading goes on", found == "bob", found)
        site.kill_agent()
        disk.unmount()
        disk.mount()
        site.start_agent()
        self.all_there("after the disk's end")

    # --- files ----------------------------------------------------------------------------------------------------

    def refuses(self, name, words, before):
        """Neither the agent nor a command takes it, and no file changes."""
        site = self.site
        site.spawn_agent()
        try:
            code = site.agent.wait(30)
        except subprocess.TimeoutExpired:
            site.kill_agent()
            code = 0
        said = site.said()
        check(f"{name}: the agent does not start, and says why", code != 0 and words in said, f"{code}: {said[-1500:]}")
        verified = site.command("store", "verify")
        check(f"{name}: a command says it too", verified.returncode != 0 and words in verified.stderr, verified)
        after = self.files()
        check(f"{name}: no file is changed or made", after == before, (before, after))

    def spoiled(self):
        site = self.site
        self.acknowledge()
        # With a log that a crash left, as it mostly is when files are damaged.
        site.kill_agent()
        good = self.site.folder / "good"
        shutil.copytree(site.state, good)
        database, keys, key = site.state / "store.db", site.state / "store.keys", site.at / "store.key"
        kept = key.read_bytes()

        def cut(path, size):
            os.truncate(path, size)

        cases = [
            ("wrong key", "not the one", lambda: key.write_text("ab" * 32)),
            ("store.db cut in half", "damaged", lambda: cut(database, database.stat().st_size // 2)),
            ("store.db cut to a page", "damaged", lambda: (cut(database, 4096), self.drop_log())),
            ("store.db cut to nothing", "damaged", lambda: cut(database, 0)),
            ("store.db cut to nothing, without its log", "damaged", lambda: (cut(database, 0), self.drop_log())),
            ("store.db gone", "store.db is missing", lambda: database.unlink()),
            ("store.keys cut in half", "damaged", lambda: cut(keys, keys.stat().st_size // 2)),
            ("store.keys cut to nothing", "damaged", lambda: cut(keys, 0)),
            ("store.keys gone", "store.keys is missing", lambda: keys.unlink()),
        ]
        for name, words, spoil in cases:
            spoil()
            self.refuses(name, words, self.files())
            shutil.rmtree(site.state)
            shutil.copytree(good, site.state)
            key.write_bytes(kept)
        site.start_agent()
        self.all_there("with its files again")

    def drop_log(self):
        for name in ("store.db-wal", "store.db-shm"):
            (self.site.state / name).unlink(missing_ok=True)

    # --- the clock ------------------------------------------------------------------------------------------------

    def clock(self):
        site = self.site
        if not FAKETIME:
            print("skipped: the clock set back: no libfaketime here")
            return
        self.acknowledge()
        rotated = site.command("caller", "rotate", "c0", "--grace", "1h", "--json")
        self.keys["c0"] = json.loads(rotated.stdout)["key"]
        site.stop_agent()
        offset = site.folder / "clock"
        offset.write_text("+0")
        environment = dict(os.environ, LD_PRELOAD=FAKETIME, FAKETIME_TIMESTAMP_FILE=str(offset), FAKETIME_NO_CACHE="1",
                           FAKETIME_DONT_FAKE_MONOTONIC="1")
        site.start_agent(environment)
        self.all_there("before the clock is set back")
        offset.write_text("-86400")
        self.all_there("a running agent whose clock was set back")
        back = [record for record in self.records() if record.get("clock_back_ms", 0) > DAY * 900]
        check("the audit says that the clock was set back", len(back) == 1, back)
        self.acknowledge()
        site.kill_agent()
        site.start_agent(environment)
        self.all_there("after a start a day back")
        # The token's end lies a day ahead by this clock; Jira says that it is dead, and is believed.
        site.jira.control("POST", "/oauth/users/alice/expire")
        found = site.whoami("t:alice")
        check("a token's end is still seen", found == "alice", found)
        site.stop_agent()
        site.start_agent()
        self.all_there("after the clock is right again")

    def records(self):
        return [json.loads(line) for line in self.site.command("audit", "export").stdout.splitlines()]


def main():
    if os.geteuid() != 0:
        print("only root may make a file system for this")
        return SKIPPED
    folder = Path(tempfile.mkdtemp(prefix="outhaul-disk-"))
    disk, site = Disk(folder), None
    try:
        if not shutil.which("mkfs.ext4") or not disk.make():
            print(f"a file system can't be made or mounted here: {getattr(disk, 'fault', 'no mkfs.ext4')}")
            return SKIPPED
        site = Site(sys.argv[1], folder)
        moved = disk.at / "agent-state"
        shutil.move(site.state, moved)
        site.state = moved
        # Longer than the clock is off: when it is right again, a day has passed for what was done meanwhile.
        site.start('[idempotency]\nkeep = "72 h"')
        faults = Faults(site, disk)
        for name in faults.people:
            site.link(f"t:{name}", name)
        faults.acknowledge()
        for one in (faults.spoiled, faults.read_only, faults.gone, faults.full, faults.clock):
            print(f"- {one.__name__}", flush=True)
            try:
                one()
            except (Wrong, Refused, *BROKEN) as wrong:
                check(one.__name__, False, f"{type(wrong).__name__}: {wrong}")
                break
        if failed:
            print("the end of the agent's log:\n" + site.agent_log.read_text(errors="replace")[-3000:])
        print(f"{done} checks, {failed} failed")
        return 1 if failed else 0
    finally:
        if site is not None:
            site.stop()
        disk.unmount()
        # Never through a mount that is still there.
        if not disk.mounted:
            shutil.rmtree(folder, ignore_errors=True)


sys.exit(main())
