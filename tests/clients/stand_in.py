#!/usr/bin/env python3
"""The stand-in for Jira, asked directly: does it behave as the facts about the product say? Fakes must earn trust.

usage: stand_in.py PROGRAM
"""
import sys

import stand_in_oauth_checks
from stand_in_process import StandIn

PROGRAM = sys.argv[1]
done = 0


def check(what, found, *wanted):
    global done
    if found not in wanted:
        raise SystemExit(f"FAILED: {what}: {found!r}, not {wanted!r}")
    done += 1
    print(f"  ok  {what}")


API = "/rest/api/2"
with StandIn(PROGRAM, "--base-url", "https://jira.corp.invalid/jira") as jira:
    call = jira.call
    status, headers, me = call("GET", f"{API}/myself", "alice")
    check("a token is its user", (status, headers["X-AUSERNAME"], me["name"]), (200, "alice", "alice"))
    check("links come from the base URL", me["self"], "https://jira.corp.invalid/jira/rest/api/2/user?username=alice")
    check("cookies have the context path", "Path=/jira; Secure; HttpOnly" in headers["Set-Cookie"], True)
    status, _, body = call("GET", f"{API}/myself", token="nonsense")
    check("a dead token on myself", (status, sorted(body)), (401, ["message", "status-code"]))
    status, headers, _ = call("GET", f"{API}/issue/OPEN-1", token="nonsense")
    check("a dead token on an open resource", (status, headers["X-AUSERNAME"]), (200, "anonymous"))
    call("POST", "/switch/invalid-bearer/401", control=True)
    check("or 401, by the switch", call("GET", f"{API}/issue/OPEN-1", token="nonsense")[0], 401)
    check("an unknown switch is an error", call("POST", "/switch/nonsense/1", control=True)[0], 400)
    check("hidden issues are 404", call("GET", f"{API}/issue/SECRET-1", "alice")[0], 404)
    check("a core error", sorted(call("GET", f"{API}/issue/SECRET-1", "alice")[2]), ["errorMessages", "errors"])
    check("a page as error", "<html>" in call("GET", f"{API}/nonsense", "alice")[2], True)
    check("no right to assign", call("PUT", f"{API}/issue/DEMO-1/assignee", "carol", {"name": "bob"})[0], 401)
    check("no right over watchers", call("POST", f"{API}/issue/DEMO-1/watchers", "carol", "alice")[0], 401)
    check("own watching is fine", call("POST", f"{API}/issue/DEMO-1/watchers", "carol", "carol")[0], 204)
    check("an unknown transition", call("POST", f"{API}/issue/DEMO-1/transitions", "alice", {"transition": {"id": "9"}})[0], 500)
    check("an unknown role actor", call("POST", f"{API}/project/DEMO/role/10101", "admin", {"user": ["nobody"]})[0], 410)
    join = ("POST", f"{API}/group/user?groupname=demo-developers", "admin", {"name": "carol"})
    check("joining a group once and twice", (call(*join)[0], call(*join)[0]), (201, 400))
    call("DELETE", f"{API}/group/user?groupname=demo-developers&username=carol", "admin")
    hidden = {"body": "x", "visibility": {"type": "group", "value": "demo-developers"}}
    check("a comment for a group", call("POST", f"{API}/issue/DEMO-1/comment", "alice", hidden)[0], 201)
    seen = [call("GET", f"{API}/issue/DEMO-1/comment", user)[2]["total"] for user in ("bob", "carol")]
    check("is not seen by others", seen, [2, 1])
    check("nor may others write one", call("POST", f"{API}/issue/DEMO-1/comment", "carol", hidden)[0], 400)
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--x--\r\n'
    status, _, text = call("POST", f"{API}/issue/DEMO-1/attachments", "alice", part, headers=form)
    check("an upload without the token header", (status, text), (403, "XSRF check failed"))
    form["X-Atlassian-Token"] = "no-check"
    status, _, files = call("POST", f"{API}/issue/DEMO-1/attachments", "alice", part, headers=form)
    check("and with it: 200 and an array", (status, files[0]["size"]), (200, 3))
    browser = {"User-Agent": "Mozilla/5.0", "Origin": "https://evil.invalid", "X-Atlassian-Token": "no-check"}
    check("a browser from elsewhere", call("POST", f"{API}/issue/DEMO-1/comment", "alice", {"body": "x"}, headers=browser)[0], 403)
    status, _, made = call("POST", "/rest/pat/latest/tokens", "bob", {"name": "new", "expirationDuration": 9})
    check("a new token works", (status, call("GET", f"{API}/myself", token=made["rawToken"])[2]["name"]), (201, "bob"))
    listed = call("GET", "/rest/pat/latest/tokens", "bob")[2]
    check("its secret is shown once", any("rawToken" in one for one in listed), False)
    check("a deleted token", call("DELETE", f"/rest/pat/latest/tokens/{made['id']}", "bob")[0], 204)
    check("is dead", call("GET", f"{API}/myself", token=made["rawToken"])[0], 401)
    check("Basic in 10.3", call("GET", f"{API}/myself", basic="carol:carol-password")[0], 200)
    for _ in range(3):
        status, headers, _ = call("GET", f"{API}/myself", basic="carol:wrong")
        check("a wrong password", (status, headers["X-Seraph-LoginReason"]), (401, "AUTHENTICATED_FAILED"))
    status, headers, _ = call("GET", f"{API}/myself", basic="carol:carol-password")
    check("then the right one is refused too", (status, headers["X-Authentication-Denied-Reason"][:17]), (403, "CAPTCHA_CHALLENGE"))
    status, headers, _ = call("GET", "/secure/Dashboard.jspa")
    check("pages lead to the login", (status, "/jira/login.jsp?" in headers["Location"]), (302, True))
    status, _, found = call("GET", f"{API}/search?jql=project%3DDEMO+ORDER+BY+key+ASC", "alice")
    check("search", [one["key"] for one in found["issues"]], ["DEMO-1", "DEMO-2"])
    check("a query it does not know", call("GET", f"{API}/search?jql=sprint%3D1", "alice")[0], 400)
    status, headers, _ = call("GET", f"{API}/issue/DEMO-1", "alice", headers={"Accept-Encoding": "gzip"})
    check("gzip when asked", headers["Content-Encoding"], "gzip")
    check("the old createmeta is gone", call("GET", f"{API}/issue/createmeta?projectKeys=DEMO", "alice")[0], 404)
    check("the new one is there", call("GET", f"{API}/issue/createmeta/DEMO/issuetypes", "alice")[2]["total"], 3)
    check("anonymous creation", call("POST", f"{API}/issue", body={"fields": {"project": {"key": "DEMO"}}})[0], 400)
    call("POST", "/trouble", body={"path": "serverInfo", "break-after": 10}, control=True)
    try:
        call("GET", f"{API}/serverInfo")
        check("an answer broken off", "whole", "broken")
    except Exception as error:  # whichever the client library chose
        check("an answer broken off", type(error).__name__ in ("IncompleteRead", "RemoteDisconnected", "ConnectionResetError"), True)
    check("the context path", call("GET", "/../rest/api/2/serverInfo")[0], 404)
    check("paths as the container reads them", call("GET", "/rest/x/..//api/2;y=1/serverInfo")[0], 200)

with StandIn(PROGRAM, "--profile", "11.3") as jira:
    check("Basic in 11.3", jira.call("GET", f"{API}/myself", basic="carol:carol-password")[0], 401)
    check("sessions in 11.3", jira.call("POST", "/rest/auth/1/session", body={"username": "a", "password": "b"})[0], 403)
    check("tokens in 11.3", jira.call("GET", f"{API}/myself", "carol")[0], 200)
with StandIn(PROGRAM, "--profile", "8.20", "--switch", "framing=length", "--switch", "ausername=absent") as jira:
    status, headers, body = jira.call("GET", f"{API}/issue/createmeta?projectKeys=DEMO", "alice")
    check("the old createmeta in 8.20", (status, body["projects"][0]["key"]), (200, "DEMO"))
    check("its switches", (headers["X-AUSERNAME"], headers["Transfer-Encoding"]), (None, None))

# --- the cluster, its limits, and the releases -------------------------------------------------------------------
def limits(**more):
    return {"capacity": 3, "fill-rate": 2, "interval-seconds": 60, **more}


def budget(headers):
    names = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-FillRate", "X-RateLimit-Interval-Seconds", "Retry-After")
    return tuple(headers[name] for name in names)


ME = f"{API}/myself"
FOR_EVER = "9223372036854775807"
with StandIn(PROGRAM, "--manual-clock", "--node", "127.0.0.1:0") as jira:
    call, control = jira.call, jira.control
    check("two nodes", len(set(jira.about["node_urls"])), 2)
    check("each with its name", [call("GET", ME, "bob", node=one)[1]["X-ANODEID"] for one in (0, 1)], ["node1", "node2"])
    made = call("POST", f"{API}/issue", "alice", {"fields": {"project": {"key": "DEMO"}, "issuetype": {"id": "10002"},
                                                              "summary": "Made at the one"}})[2]["key"]
    check("one world", call("GET", f"{API}/issue/{made}", "alice", node=1)[0], 200)

    # Rate limiting: off until it is set, then a bucket for each user at each node.
    check("no limits by themselves", budget(call("GET", ME, "bob")[1]), (None,) * 5)
    control("POST", "/rate-limit", limits(exempt=["alice"], blocked=["mallory"]))
    for left in ("2", "1", "0"):
        status, headers, _ = call("GET", ME, "bob")
        check(f"tokens left: {left}", (status, budget(headers)), (200, ("3", left, "2", "60", "0")))
    status, headers, body = call("GET", ME, "bob")
    check("then 429", (status, budget(headers)), (429, ("3", "0", "2", "60", "60")))
    check("with a message", (headers["X-AUSERNAME"], body["message"]), ("bob", "Rate limit exceeded."))
    check("another user has their own", call("GET", ME, "carol")[0], 200)
    check("another node too", budget(call("GET", ME, "bob", node=1)[1])[1], "2")
    check("an exempt user has none", budget(call("GET", ME, "alice")[1]), (None,) * 5)
    status, headers, _ = call("GET", ME, "mallory")
    check("a blocked user", (status, budget(headers)), (429, ("0", "0", "0", "60", FOR_EVER)))
    check("anonymous calls are free", [call("GET", f"{API}/serverInfo")[0] for _ in range(5)], [200] * 5)
    control("POST", "/clock/59")
    check("not before its time", (call("GET", ME, "bob")[0], call("GET", ME, "bob")[1]["Retry-After"]), (429, "1"))
    control("POST", "/clock/1")
    check("an interval gives its tokens at once", [call("GET", ME, "bob")[0] for _ in range(3)], [200, 200, 429])
    control("POST", "/clock/6000")
    check("never more than the bucket holds", budget(call("GET", ME, "bob")[1])[1], "2")
    control("POST", "/switch/rate-limit-refill/continuous")
    control("POST", "/rate-limit", limits())
    found = [call("GET", ME, "bob")[0] for _ in range(4)]
    control("POST", "/clock/30")
    check("or token by token", found + [call("GET", ME, "bob")[0] for _ in range(2)], [200, 200, 200, 429, 200, 429])
    control("POST", "/switch/rate-limit-anonymous/limited")
    check("anonymous calls together", [call("GET", f"{API}/serverInfo")[0] for _ in range(4)], [200, 200, 200, 429])
    control("POST", "/switch/rate-limit-body/core")
    check("429 in the core shape", "errorMessages" in call("GET", f"{API}/serverInfo")[2], True)
    control("POST", "/switch/rate-limit-body/html")
    check("429 as a page", call("GET", f"{API}/serverInfo")[1]["Content-Type"], "text/html;charset=UTF-8")
    control("DELETE", "/rate-limit")
    check("and off again", budget(call("GET", ME, "bob")[1]), (None,) * 5)

    # The state of a node: the document tells, not the code.
    for state, code in (("STARTING", 200), ("STOPPING", 200), ("FIRST_RUN", 200), ("MAINTENANCE", 503), ("ERROR", 500)):
        control("POST", f"/node/node2/status/{state}")
        status, _, body = call("GET", "/status", node=1)
        check(f"{state} of one node", (status, body), (code, {"state": state}))
        check("its calls are refused", call("GET", ME, "bob", node=1)[0], 503)
        check("the other runs", (call("GET", "/status")[2], call("GET", ME, "bob")[0]), ({"state": "RUNNING"}, 200))
    control("POST", "/switch/calls-while-not-running/served")
    check("or served", call("GET", ME, "bob", node=1)[0], 200)
    check("no such node", control("POST", "/node/node9/status/ERROR")[0], 404)
    control("POST", "/status/RUNNING")

    # The index of the other node learns of a write later; the database is one.
    def finds(node, text):
        found = call("GET", f"{API}/search?jql=summary~{text}&fields=summary", "alice", node=node)[2]["issues"]
        return [one["fields"]["summary"] for one in found]

    def change(summary, node=0):
        call("PUT", f"{API}/issue/{made}", "alice", {"fields": {"summary": summary}}, node=node)

    control("POST", "/index-lag/60000")
    change("Zebra")
    check("the writer finds it, the other does not", (finds(0, "Zebra"), finds(1, "Zebra")), (["Zebra"], []))
    check("reading it needs no index", call("GET", f"{API}/issue/{made}", "alice", node=1)[2]["fields"]["summary"], "Zebra")
    check("what it finds by the old words", finds(1, "Made"), ["Zebra"])
    control("POST", "/switch/search-values/index")
    check("or shows as it was", finds(1, "Made"), ["Made at the one"])
    control("POST", "/switch/search-values/database")
    control("POST", "/clock/59")
    check("not yet", finds(1, "Zebra"), [])
    control("POST", "/clock/1")
    check("now it does", (finds(1, "Zebra"), finds(1, "Made")), (["Zebra"], []))
    change("Yak")
    control("POST", "/clock/1")
    change("Ox", node=1)
    control("POST", "/clock/60")
    check("an older write does not undo a newer one", (finds(0, "Ox"), finds(1, "Ox")), (["Ox"], ["Ox"]))
    control("POST", "/switch/index-lag/every-node")
    change("Ibex")
    check("or every node is late", (finds(0, "Ibex"), finds(1, "Ibex")), ([], []))
    control("POST", "/index/catch-up")
    check("until they catch up", (finds(0, "Ibex"), finds(1, "Ibex")), (["Ibex"], ["Ibex"]))
    call("DELETE", f"{API}/issue/{made}", "alice")
    check("what is gone is not shown", (finds(0, "Ibex"), finds(1, "Ibex")), ([], []))
    control("POST", "/index-lag/0")

    # Read-only mode.
    check("read-only mode is off", call("GET", f"{API}/readonly-mode", "bob")[2]["enabled"], False)
    control("POST", "/read-only", {"message": "Upgrade at noon", "end-time": "2026-03-01T12:00"})
    mode = call("GET", f"{API}/readonly-mode", "bob")[2]
    check("announced", (mode["enabled"], mode["message"], mode["endTime"]), (True, "Upgrade at noon", "2026-03-01T12:00"))
    status, headers, body = call("POST", f"{API}/issue/DEMO-1/comment", "alice", {"body": "x"})
    check("a write", (status, "Upgrade at noon" in body["errorMessages"][0]), (503, True))
    check("a search by POST", call("POST", f"{API}/search", "alice", {"jql": "project = DEMO"})[0], 200)
    control("POST", "/switch/read-only-refusal/405")
    check("or 405", call("DELETE", f"{API}/issue/DEMO-1", "alice")[0], 405)
    control("DELETE", "/read-only")
    check("and off again", call("POST", f"{API}/issue/DEMO-1/comment", "alice", {"body": "x"})[0], 201)

OLD_HOOKS, NEW_HOOKS = "/rest/webhooks/1.0/webhook", "/rest/jira-webhook/1.0/webhooks"
HOOK = {"name": "h", "url": "https://x.invalid/h", "events": ["jira:issue_updated"],
        "filters": {"issue-related-events-section": "project = DEMO"}}
#         release, old createmeta, readonly-mode, Basic, the path of webhooks and the other, the cap of a search for users
RELEASES = (("9.12", 404, 404, 200, OLD_HOOKS, NEW_HOOKS, 1000), ("10.3", 404, 200, 200, NEW_HOOKS, OLD_HOOKS, 100),
            ("11.3", 404, 200, 401, NEW_HOOKS, OLD_HOOKS, 100))
for release, old, mode, basic, hooks, others, cap in RELEASES:
    with StandIn(PROGRAM, "--profile", release) as jira:
        call = jira.call
        check(f"{release} says so", call("GET", f"{API}/serverInfo")[2]["version"].startswith(release), True)
        check("old createmeta", call("GET", f"{API}/issue/createmeta?projectKeys=DEMO", "alice")[0], old)
        check("readonly-mode", call("GET", f"{API}/readonly-mode", "alice")[0], mode)
        check("Basic", call("GET", ME, basic="carol:carol-password")[0], basic)
        status, _, hook = call("POST", hooks, "admin", HOOK)
        check("its webhooks", (status, "filters" in hook, "configuration" in hook), (201, release == "9.12", release != "9.12"))
        check("are listed", len(call("GET", hooks, "admin")[2]), 1)
        number = hook["id"] if "id" in hook else hook["self"].rsplit("/", 1)[1]
        check("read", call("GET", f"{hooks}/{number}", "admin")[2]["name"], "h")
        check("for administrators only", call("GET", hooks, "bob")[0], 403)
        check("the other path is none", call("GET", others, "admin")[0], 404)
        check("deleted", (call("DELETE", f"{hooks}/{number}", "admin")[0], len(call("GET", hooks, "admin")[2])), (204, 0))
        for number in range(cap - 1):  # six are there, so five do not fit
            person = {"name": f"u{number:04}", "emailAddress": "u@corp.invalid", "displayName": "U"}
            call("POST", f"{API}/user", "admin", person)
        find = f"{API}/user/search?username=.&maxResults=5000"
        check("people found at once", len(call("GET", find, "admin")[2]), cap)
        jira.control("POST", f"/switch/user-search-cap/{100 if cap == 1000 else 1000}")
        check("or otherwise", len(call("GET", find, "admin")[2]), 100 if cap == 1000 else cap + 5)

DESK = "/rest/servicedeskapi"
with StandIn(PROGRAM) as jira:
    call = jira.call

    def raised(user, kind="1", **more):
        body = {"serviceDeskId": "1", "requestTypeId": kind, "requestFieldValues": {"summary": "S"}, **more}
        return call("POST", f"{DESK}/request", user, body)

    check("nobody", call("GET", f"{DESK}/servicedesk")[0], 401)
    check("no customer", call("GET", f"{DESK}/servicedesk", "mallory")[2]["size"], 0)
    page = call("GET", f"{DESK}/servicedesk/1/requesttype?limit=2", "carol")[2]
    check("a page", (page["size"], page["limit"], page["isLastPage"], "next" in page["_links"]), (2, 2, False, True))
    page = call("GET", f"{DESK}/servicedesk/1/requesttype?start=2&limit=2", "carol")[2]
    check("the last", (page["size"], page["isLastPage"], "next" in page["_links"]), (1, True, False))
    jira.control("POST", "/switch/desk-page/bare")
    check("or bare", "_links" in call("GET", f"{DESK}/servicedesk", "carol")[2], False)
    status, _, request = raised("carol", "2")
    key = request["issueKey"]
    check("a customer's request", (status, request["currentStatus"]["status"]), (201, "To Do"))
    check("is theirs", [one["issueKey"] for one in call("GET", f"{DESK}/request", "carol")[2]["values"]], [key])
    check("not in Jira's own interface", call("GET", f"{API}/issue/{key}", "carol")[0], 404)
    check("but for agents", call("GET", f"{API}/issue/{key}", "bob")[0], 200)
    check("hidden from others", call("GET", f"{DESK}/request/{key}", "mallory")[0], 404)
    jira.control("POST", "/switch/desk-hidden/403")
    status, _, body = call("GET", f"{DESK}/request/{key}", "mallory")
    check("or forbidden, in the desk's own shape", (status, "errorMessage" in body), (403, True))
    check("on behalf of another: not by a customer", raised("carol", raiseOnBehalfOf="bob")[0], 403)
    check("by an agent", raised("bob", raiseOnBehalfOf="carol")[2]["reporter"]["name"], "carol")
    check("without a summary", raised("carol", requestFieldValues={})[0], 400)
    check("an unknown type", raised("carol", "9")[0], 404)
    comments = f"{DESK}/request/{key}/comment"
    check("a customer writes nothing internal", call("POST", comments, "carol", {"body": "x", "public": False})[0], 403)
    call("POST", comments, "bob", {"body": "inner", "public": False})
    call("POST", comments, "bob", {"body": "outer"})
    check("nor sees it", [one["body"] for one in call("GET", comments, "carol")[2]["values"]], ["outer"])
    check("an agent does", [one["body"] for one in call("GET", comments, "bob")[2]["values"]], ["inner", "outer"])
    offered = call("GET", f"{DESK}/request/{key}/transition", "carol")[2]["values"]
    check("a customer may close", [one["name"] for one in offered], ["Done"])
    check("and nothing else", call("POST", f"{DESK}/request/{key}/transition", "carol", {"id": "21"})[0], 400)
    approvals = f"{DESK}/request/{key}/approval"
    number = call("GET", approvals, "alice")[2]["values"][0]["id"]
    check("who does not approve", call("POST", f"{approvals}/{number}", "bob", {"decision": "approve"})[0], 403)
    check("no decision", call("POST", f"{approvals}/{number}", "alice", {"decision": "perhaps"})[0], 400)
    jira.control("POST", "/switch/experimental-api/opt-in")
    check("experimental: without the header", call("GET", approvals, "alice")[0], 412)
    check("with another value", call("GET", approvals, "alice", headers={"X-ExperimentalApi": "true"})[0], 412)
    jira.control("POST", "/switch/experimental-api/any")
    header = {"X-ExperimentalApi": "true"}
    check("which may do", call("GET", approvals, "alice", headers=header)[0], 200)
    answer = call("POST", f"{approvals}/{number}", "alice", {"decision": "decline"}, headers=header)[2]
    check("one answer decides", (answer["finalDecision"], answer["canAnswerApproval"]), ("declined", False))
    check("a plain request needs none", call("GET", f"{DESK}/request/{raised('carol')[2]['issueKey']}/approval", "bob", headers=header)[2]["size"], 0)

stand_in_oauth_checks.run(PROGRAM, check)

print(f"{done} checks")
