#!/usr/bin/env python3
"""The library `jira` of PyPI for three people at once: each call is made as the person it names, with that person's own
token. One is linked by the administrator, two link themselves in a browser; one of them takes the consent back.

usage: act_as.py DEMO.JSON
"""
import threading
import warnings

from watched import DEMO, allow, check, control, finish, state

import people

warnings.simplefilter("ignore", DeprecationWarning)
from jira import JIRA, JIRAError  # noqa: E402  (after the watch has begun)

PEOPLE = {"alice": "demo:alice@corp.example", "bob": "demo:bob@corp.example", "carol": "demo:29:1abc"}
COMMENTS = 12


def connect(user):
    """A header on the library's session is all it takes."""
    options = {"headers": {"Outhaul-Act-As": PEOPLE[user]}}
    return JIRA(DEMO["base_url"], token_auth=DEMO["people_key"], options=options, max_retries=0, timeout=60)


def refused(call):
    try:
        call()
    except JIRAError as error:
        return error.status_code, error.response.headers.get("Outhaul-Problem")
    return None


def together(works):
    """Runs all of them at once; gives what each of them gives."""
    results, barrier = [None] * len(works), threading.Barrier(len(works))

    def run(index, work):
        barrier.wait()
        results[index] = work()

    threads = [threading.Thread(target=run, args=(index, work)) for index, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


print("three people link their accounts")
allow(people.urllib.parse.urlsplit(DEMO["pages_url"]).port)
allow(people.urllib.parse.urlsplit(DEMO["jira_url"]).port)
for user in ("bob", "carol"):
    status, headers, answer = people.call("GET", "/jira/rest/api/2/myself", PEOPLE[user])
    check(f"{user} is asked to link first", (status, headers["Outhaul-Problem"]) == (403, "link-required"), answer)
    status, _, answer = people.link(PEOPLE[user], user)
    check(f"{user} links an account", (status, answer["account"]["name"]) == (200, user), answer)
status, headers, _ = people.call("GET", "/jira/rest/api/2/myself", "other:alice")
check("no people of another provider", (status, headers["Outhaul-Problem"]) == (403, "act-as-refused"), headers)

print("they comment at the same time")
jiras = {user: connect(user) for user in PEOPLE}
for user, jira in jiras.items():
    check(f"{user} is {user}", jira.myself()["name"] == user, jira.myself())


def comments(user, count):
    return lambda: [jiras[user].add_comment("DEMO-1", f"{user} writes {number}").author.name for number in range(count)]


authors = together([comments(user, COMMENTS) for user in PEOPLE])
check("the library sees each comment's author", authors == [[user] * COMMENTS for user in PEOPLE], authors)


def stored():
    written = [one for one in state("DEMO-1")["comments"] if " writes " in one["body"]]
    return [(one["body"].split()[0], one["author"]["name"]) for one in written]


check("and so does Jira", sorted(stored()) == sorted((user, user) for user in PEOPLE for _ in range(COMMENTS)), stored())

print("bob takes the consent back, in the middle")
halfway = threading.Event()


def bob():
    done = 0
    while True:
        if done == 3:
            halfway.set()
        found = refused(lambda: jiras["bob"].add_comment("DEMO-1", "bob writes again"))
        if found is not None or done > 2000:
            return found
        done += 1


def others(user):
    halfway.wait(60)
    before = comments(user, 3)()
    if user == "alice":
        control("/oauth/users/bob/revoke", "POST")
    return before + comments(user, COMMENTS)()


found, *went_on = together([bob, lambda: others("alice"), lambda: others("carol")])
check("bob must link again", found == (403, "needs-reauth"), found)
check("the others go on", went_on == [["alice"] * (COMMENTS + 3), ["carol"] * (COMMENTS + 3)], went_on)
check("nothing was written in another name", all(writer == author for writer, author in stored()), stored())
check("bob is not carol, nor the service", refused(jiras["bob"].myself) == (403, "needs-reauth"))
status, _, answer = people.link(PEOPLE["bob"], "bob")
check("bob links again", status == 200 and connect("bob").myself()["name"] == "bob", answer)

print("carol's token dies before its time, under 64 calls at once")
before = control("/counters")["refreshes"].get("carol", 0)
control("/oauth/users/carol/expire", "POST")
many = [connect("carol") for _ in range(64)]
control("/oauth/users/carol/expire", "POST")
before = control("/counters")["refreshes"].get("carol", 0)
names = together([lambda jira=jira: jira.myself()["name"] for jira in many])
check("all are made as carol", names == ["carol"] * 64, names)
after = control("/counters")["refreshes"].get("carol", 0)
check("one of them renewed it", after - before == 1, (before, after))

finish()
