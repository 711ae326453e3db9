#!/usr/bin/env python3
"""The stand-in for Jira, asked directly: does it behave as the facts about the product say? Fakes must earn trust.

usage: stand_in.py PROGRAM
"""
import sys

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

print(f"{done} checks")
