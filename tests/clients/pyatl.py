#!/usr/bin/env python3
"""An independent client, PyPI `atlassian-python-api`, through relay and agent: its everyday calls for Jira and for
Jira Service Management, each compared with Jira's own state.

usage: pyatl.py DEMO.JSON    (the file that `DEMO_JSON=… make demo` writes)
"""
import io
import logging
import os
import tempfile

from watched import DEMO, FORMS, check, control, finish, state

from atlassian import Jira, ServiceDesk  # noqa: E402  (after the watch has begun)
from requests import HTTPError  # noqa: E402

# What it logs of refusals that this test asks for.
logging.disable(logging.CRITICAL)


def refused(what, call, status, code, why=""):
    try:
        call()
    except HTTPError as error:
        found = (error.response.status_code, error.response.headers.get("Outhaul-Problem"))
        check(what, found == (status, code), found)
        # What the library shows is all that its user ever sees.
        check(f"{what}: the reason is shown", why in str(error), str(error))
    else:
        raise SystemExit(f"FAILED: {what}: it was not refused")


def whole_run_of_jira(url, form):
    print(f"Jira, {form}: {url}")
    jira = Jira(url=url, token=DEMO["caller_key"], timeout=60)
    check("server", jira.get_server_info()["version"] == "10.3.24")
    check("every call is made as the service account", jira.myself()["name"] == "svc-outhaul")
    check("projects", {"DEMO", "OPEN"} <= {one["key"] for one in jira.projects()})

    made = jira.issue_create(fields={"project": {"key": "DEMO"}, "issuetype": {"name": "Task"},
                                     "summary": "Made through the tunnel", "description": "äöü {code}x < y{code} 😀"})
    key = made["key"]
    check("create", state(key)["summary"] == "Made through the tunnel", state(key))
    check("text survives", state(key)["description"] == "äöü {code}x < y{code} 😀", state(key)["description"])
    check("links lead back through the tunnel", made["self"].startswith(url + "/"), made["self"])
    read = jira.issue(key)
    check("read", read["fields"]["summary"] == "Made through the tunnel", read["key"])
    check("one field", jira.issue_field_value(key, "summary") == "Made through the tunnel")
    check("exists", jira.issue_exists(key) and not jira.issue_exists("DEMO-99999"))
    kinds = jira.issue_createmeta_issuetypes("DEMO")["values"]
    check("types to create", "Task" in [one["name"] for one in kinds], kinds)

    jira.update_issue_field(key, {"summary": "Changed", "labels": ["a", "b"]})
    check("update", (state(key)["summary"], state(key)["labels"]) == ("Changed", ["a", "b"]), state(key))

    comment = jira.issue_add_comment(key, "For developers", visibility={"type": "role", "value": "Developers"})
    stored = state(key)["comments"][-1]
    check("comment", (stored["id"], stored["body"]) == (comment["id"], "For developers"), stored)
    check("its visibility", stored["visibility"] == {"type": "role", "value": "Developers"}, stored)
    jira.issue_edit_comment(key, comment["id"], "Edited")
    check("edit the comment", state(key)["comments"][-1]["body"] == "Edited")
    check("comments", jira.issue_get_comments(key)["total"] == 1)

    check("transitions", {one["name"] for one in jira.get_issue_transitions(key)} == {"To Do", "In Progress", "Done"})
    jira.set_issue_status(key, "In Progress", update={"comment": [{"add": {"body": "on it"}}]})
    check("transition", state(key)["status"] == "In Progress", state(key)["status"])
    check("its comment", state(key)["comments"][-1]["body"] == "on it")
    check("status", jira.get_issue_status(key) == "In Progress")

    jira.assign_issue(key, "bob")
    check("assign", state(key)["assignee"] == "bob", state(key)["assignee"])
    check("assignable", "bob" in [one["name"] for one in jira.get_all_assignable_users_for_project("DEMO")])
    jira.assign_issue(key, None)
    check("assign to nobody", state(key)["assignee"] is None, state(key)["assignee"])

    jira.issue_add_watcher(key, "carol")
    check("watch", "carol" in state(key)["watchers"], state(key)["watchers"])
    check("watchers", jira.issue_get_watchers(key)["watchCount"] == 2)
    jira.issue_delete_watcher(key, "carol")
    check("unwatch", "carol" not in state(key)["watchers"], state(key)["watchers"])

    jira.issue_worklog(key, "2026-03-01T09:00:00.000+0000", 5400, "Tightened the tap")
    worklog = state(key)["worklogs"][-1]
    check("worklog", (worklog["timeSpentSeconds"], worklog["comment"]) == (5400, "Tightened the tap"), worklog)
    check("worklogs", jira.issue_get_worklog(key)["total"] == 1)

    data = os.urandom(2_000_000)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "two megabytes.bin")
        with open(path, "wb") as file:
            file.write(data)
        added = jira.add_attachment(key, path)[0]
    check("attach", (added["filename"], added["size"]) == ("two megabytes.bin", len(data)), added)
    check("fetch", jira.get_attachment_content(added["id"]) == data)
    small = io.BytesIO(b"small")
    small.name = "small.txt"
    jira.add_attachment_object(key, small)
    check("attach what is no file", state(key)["attachments"][-1]["filename"] == "small.txt")

    link = jira.create_or_update_issue_remote_links(key, "https://ci.invalid/1", "Build 1", global_id="ci=1")
    check("remote link", link["id"] and jira.get_issue_remote_links(key)[0]["object"]["title"] == "Build 1", link)

    found = jira.jql(f'project = DEMO AND summary ~ "Changed" AND key = {key} ORDER BY key DESC', limit=5)
    check("search", [one["key"] for one in found["issues"]] == [key], found)
    check("people", "alice" in [one["name"] for one in jira.user_find_by_user_string(username="alice")])
    refused("Jira's own refusal passes unchanged", lambda: jira.jql("nonsense = 1"), 400, None, "nonsense")
    refused("hidden issues stay hidden", lambda: jira.issue("SECRET-1"), 404, None)
    jira.delete_issue(key)
    check("delete", state(key) is None, state(key))
    refused("a call that no rule allows", lambda: jira.user_create("x", "x@corp.invalid", "X"), 403, "policy-refused",
            "No rule of this site allows POST")
    stranger = Jira(url=url, token="ohk_nobody0000000_x", timeout=60)
    refused("a caller nobody knows", stranger.projects, 401, "caller-unknown", "Unauthorized")
    basic = Jira(url=url, username="anyone", password=DEMO["caller_key"], timeout=60)
    check("the key as password of Basic", basic.myself()["name"] == "svc-outhaul")


def whole_run_of_service_desk(url, form):
    print(f"ServiceDesk, {form}: {url}")
    desk = ServiceDesk(url=url, token=DEMO["caller_key"], timeout=60)
    check("info", desk.get_info()["isLicensedForUse"] is True)
    desks = desk.get_service_desks()
    check("desks", [one["projectKey"] for one in desks] == ["HELP"], desks)
    check("its links lead through the tunnel", desks[0]["_links"]["self"].startswith(url + "/"), desks[0]["_links"])
    check("one desk", desk.get_service_desk_by_id("1")["id"] == "1")
    check("request types", len(desk.get_request_types("1")["values"]) == 3)
    fields = desk.get_request_type_fields("1", "2")["requestTypeFields"]
    check("their fields", [one["fieldId"] for one in fields if one["required"]] == ["summary"], fields)

    made = desk.create_customer_request("1", "2", {"summary": "A new chair, bitte höher", "description": "x"},
                                        raise_on_behalf_of="carol")
    key = made["issueKey"]
    check("create a request", state(key)["summary"] == "A new chair, bitte höher", state(key))
    check("on behalf of a customer", (state(key)["reporter"], made["reporter"]["name"]) == ("carol", "carol"))
    check("read it", desk.get_customer_request(key)["issueId"] == made["issueId"])
    own = desk.create_customer_request("1", "1", {"summary": "Of my own"})["issueKey"]
    listed = [one["issueKey"] for one in desk.get_my_customer_requests()]
    check("list", own in listed and key not in listed, listed)
    check("status", desk.get_customer_request_status(key) == "To Do")
    queued = desk.get_issues_in_queue("1", "1")["values"]
    check("queue", key in [one["key"] for one in queued], queued)

    desk.create_request_comment(key, "We will order it", public=True)
    inner = desk.create_request_comment(key, "Too dear?", public=False)
    check("comments", [one["body"] for one in state(key)["comments"]] == ["We will order it", "Too dear?"])
    check("an internal one", state(key)["comments"][-1]["visibility"]["value"] == "Developers", inner)
    seen = desk.get_request_comments(key, internal=False)
    check("listed by kind", [one["body"] for one in seen] == ["We will order it"], seen)
    check("one comment", desk.get_request_comment_by_id(key, inner["id"])["public"] is False)

    desk.add_request_participants(key, ["alice", "bob"])
    desk.remove_request_participants(key, ["bob"])
    people = [one["name"] for one in desk.get_request_participants(key)]
    check("participants", people == ["alice"], people)

    # The product may insist on the header by which a caller says that it knows the interface is experimental.
    control("/switch/experimental-api/opt-in", "POST")
    waiting = desk.get_approvals(key)
    check("approvals, and X-ExperimentalApi arrives", len(waiting) == 1 and waiting[0]["canAnswerApproval"], waiting)
    check("one approval", desk.get_approval_by_id(key, waiting[0]["id"])["finalDecision"] == "pending")
    answer = desk.answer_approval(key, waiting[0]["id"], "approve")
    check("approve", (answer["finalDecision"], state(key)["status"]) == ("approved", "In Progress"), answer)
    refused("twice", lambda: desk.answer_approval(key, waiting[0]["id"], "decline"), 409, None)
    control("/switch/experimental-api/ignored", "POST")

    offered = desk.get_customer_transitions(key)["values"]
    done = [one["id"] for one in offered if one["name"] == "Done"]
    desk.perform_transition(key, done[0], comment="Here it is")
    check("transition", state(key)["status"] == "Done", state(key)["status"])
    check("its comment", state(key)["comments"][-1]["body"] == "Here it is")

    data = os.urandom(300_000)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "offer.pdf")
        with open(path, "wb") as file:
            file.write(data)
        desk.add_attachment(key, desk.attach_temporary_file("1", path), comment="The offer")
    stored = state(key)["attachments"][-1]
    check("attach", (stored["filename"], stored["size"]) == ("offer.pdf", len(data)), stored)
    check("SLA", desk.get_sla(key) == [])
    refused("no such request", lambda: desk.get_customer_request("HELP-99999"), 404, None)
    refused("a call that no rule allows", lambda: desk.create_customer("X", "x@corp.invalid"), 403, "policy-refused",
            "No rule of this site allows POST")


def rate_limited():
    """Jira's limits reach the library, which then waits as they say; nothing on the way tries again for it."""
    print("rate limited")

    def asked():
        return sum(one["target"].endswith("/myself") for one in control("/requests"))

    control("/rate-limit", "POST", {"capacity": 1, "fill-rate": 1, "interval-seconds": 60})
    before = asked()
    plain = Jira(url=DEMO["base_url"], token=DEMO["caller_key"], timeout=60, advanced_mode=True, retry_with_header=False)
    answers = [plain.myself() for _ in range(2)]
    headers = answers[1].headers
    check("the second is too much", [one.status_code for one in answers] == [200, 429], answers)
    check("and is told so by Jira", (headers["X-RateLimit-Limit"], headers["X-RateLimit-Interval-Seconds"]) == ("1", "60"), headers)
    check("each was sent once", asked() - before == 2, asked() - before)
    control("/rate-limit", "POST", {"capacity": 1, "fill-rate": 1, "interval-seconds": 2})
    patient = Jira(url=DEMO["base_url"], token=DEMO["caller_key"], timeout=60, backoff_and_retry=True, max_backoff_retries=9)
    names = [patient.myself()["name"] for _ in range(2)]
    check("with patience all come through", names == ["svc-outhaul"] * 2, names)
    check("in more calls than two", asked() - before > 4, asked() - before)
    control("/rate-limit", "DELETE")


for form, url in FORMS:
    whole_run_of_jira(url, form)
    whole_run_of_service_desk(url, form)
rate_limited()
finish()
