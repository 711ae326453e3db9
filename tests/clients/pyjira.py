#!/usr/bin/env python3
"""An independent client, the library `jira`, through relay and agent: every operation, each compared with Jira's own
state. Two generations of it: the newest of PyPI, and Debian's.

usage: pyjira.py DEMO.JSON [VERSION]    (the file that `DEMO_JSON=… make demo` writes; the version there must be)
"""
import hashlib
import io
import os
import sys
import time
import warnings

from watched import DEMO, FORMS, check, finish, state

warnings.simplefilter("ignore", DeprecationWarning)
import jira as library  # noqa: E402  (after the watch has begun)
from jira import JIRA, JIRAError  # noqa: E402

if len(sys.argv) > 2:
    check(f"this is version {sys.argv[2]}", library.__version__ == sys.argv[2], library.__version__)


def refused(what, call, status, code, why):
    try:
        call()
    except JIRAError as error:
        found = (error.status_code, error.response.headers.get("Outhaul-Problem"))
        check(what, found == (status, code), found)
        check("and the library shows the reason alone", error.text.startswith(why), error.text)
        return error
    raise SystemExit(f"FAILED: {what}: it was not refused")


def connect(url, key=None):
    return JIRA(url, token_auth=key or DEMO["caller_key"], max_retries=0, timeout=60)


# --- the operations ---------------------------------------------------------------------------------------------


def whole_run(url, form):
    print(f"{form}: {url}")
    jira = connect(url)
    check("construct", jira.server_info()["version"] == "10.3.24", jira.server_info())
    me = jira.myself()
    check("every call is made as the service account", me["name"] == "svc-outhaul", me["name"])

    issue = jira.create_issue(project="DEMO", issuetype={"name": "Task"}, summary="Made through the tunnel",
                              description="h1. Wiki markup, umlauts äöü, and 😀")
    check("create", state(issue.key)["summary"] == "Made through the tunnel", state(issue.key))
    check("text survives", state(issue.key)["description"] == "h1. Wiki markup, umlauts äöü, and 😀")
    check("links lead back through the tunnel", issue.self.startswith(url + "/"), issue.self)

    issue.update(fields={"summary": "Changed", "labels": ["a", "b"]})
    issue.update(update={"labels": [{"add": "c"}]})
    stored = state(issue.key)
    check("update", (stored["summary"], stored["labels"]) == ("Changed", ["a", "b", "c"]), stored)
    check("the client reads the update back", jira.issue(issue.key).fields.summary == "Changed")

    comment = jira.add_comment(issue, "For developers only", visibility={"type": "role", "value": "Developers"})
    stored = state(issue.key)["comments"][-1]
    check("comment", stored["body"] == "For developers only" and stored["id"] == comment.id, stored)
    check("its visibility", stored["visibility"] == {"type": "role", "value": "Developers"}, stored)
    comment.update(body="For developers, edited")
    check("edit the comment", state(issue.key)["comments"][-1]["body"] == "For developers, edited")

    check("transitions", {one["name"] for one in jira.transitions(issue)} == {"To Do", "In Progress", "Done"})
    jira.transition_issue(issue, "Done", comment="and done")
    check("transition", state(issue.key)["status"] == "Done", state(issue.key)["status"])
    check("its comment", state(issue.key)["comments"][-1]["body"] == "and done")

    jira.assign_issue(issue, "bob")
    check("assign", state(issue.key)["assignee"] == "bob", state(issue.key)["assignee"])

    jira.add_watcher(issue, "carol")
    check("watch", "carol" in state(issue.key)["watchers"], state(issue.key)["watchers"])
    check("watchers", jira.watchers(issue).watchCount == 2)
    jira.remove_watcher(issue, "carol")
    check("unwatch", "carol" not in state(issue.key)["watchers"], state(issue.key)["watchers"])

    jira.add_worklog(issue, timeSpent="1h 30m", comment="Tightened the tap")
    worklog = state(issue.key)["worklogs"][-1]
    check("worklog", (worklog["timeSpentSeconds"], worklog["comment"]) == (5400, "Tightened the tap"), worklog)

    data = os.urandom(20 * 1024 * 1024)
    before = time.monotonic()
    attachment = jira.add_attachment(issue, io.BytesIO(data), filename="twenty megabytes ü.bin")
    up = time.monotonic() - before
    stored = state(issue.key)["attachments"][-1]
    check("attach 20 MB", (stored["size"], stored["sha256"]) == (len(data), hashlib.sha256(data).hexdigest()), stored)
    before = time.monotonic()
    fetched = attachment.get()
    check("fetch 20 MB", fetched == data, len(fetched))
    print(f"      ({up:.2f} s up, {time.monotonic() - before:.2f} s down)")

    query = f'project = DEMO AND assignee = bob AND text ~ "Changed" AND key = {issue.key} ORDER BY key DESC'
    found = jira.search_issues(query)
    check("search", [one.key for one in found] == [issue.key], found)
    try:
        jira.search_issues("nonsense = 1")
    except JIRAError as error:
        ours = error.response.headers.get("Outhaul-Problem")
        check("Jira's own refusal passes unchanged", error.status_code == 400 and ours is None, error)
    else:
        raise SystemExit("FAILED: a bad query was not refused")
    check("hidden issues stay hidden", missing(jira, "SECRET-1"))

    issue.delete()
    check("delete", state(issue.key) is None, state(issue.key))

    refused("a call that no rule allows",
            lambda: jira._session.get(f"{url}/rest/pat/latest/tokens"), 403, "policy-refused", "No rule of any site can allow")
    refused("a caller nobody knows", lambda: connect(url, "ohk_nobody0000000_x"), 401, "caller-unknown",
            "This key is not one of this site's")


def missing(jira, key):
    try:
        jira.issue(key)
    except JIRAError as error:
        return error.status_code == 404 and "Outhaul-Problem" not in error.response.headers
    return False


for form, url in FORMS:
    whole_run(url, form)
finish()
