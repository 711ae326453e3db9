#!/usr/bin/env python3
"""The stand-in's main answers, good and bad ones, against an OpenAPI document of Jira.

usage: openapi.py DOCUMENT PROGRAM [--partial]

DOCUMENT is Atlassian's own (docs/testing.md says where it is had); PROGRAM is the stand-in. `--partial`: what the
document does not have is passed over, for a document of a few operations. Exit status 1 if any answer does not fit.
"""
import pathlib
import sys
import urllib.parse

from openapi_check import Defects, Document, Finding, check
from stand_in_process import StandIn

HERE = pathlib.Path(__file__).resolve().parent
DEFECTS = HERE / "openapi_defects.json"
API = "/rest/api/2"
FILE = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nabc\r\n--x--\r\n"
UPLOAD = {"Content-Type": "multipart/form-data; boundary=x", "X-Atlassian-Token": "no-check"}


def task(**fields):
    return {"fields": {"project": {"key": "DEMO"}, "issuetype": {"id": "10002"}, "summary": "By the walk", **fields}}


def calls():
    """Method, path, who, body, the status that must come, what must be in the answer (the document demands next to
    nothing), further headers. `{new}` is the issue made by the first call, `{comment}` and `{file}` likewise."""
    yield "POST", f"{API}/issue", "alice", task(), 201, ("id", "key", "self"), None
    yield "POST", f"{API}/issue", "alice", {"fields": {"project": {"key": "DEMO"}}}, 400, ("errors",), None
    yield "POST", f"{API}/issue", "mallory", task(), 400, ("errors",), None
    yield "POST", f"{API}/issue/bulk", "alice", {"issueUpdates": [task(), {"fields": {}}]}, 201, ("issues", "errors"), None
    yield "GET", f"{API}/serverInfo", None, None, 200, ("baseUrl", "version", "versionNumbers"), None
    yield "GET", f"{API}/myself", "alice", None, 200, ("key", "name", "displayName", "active"), None
    yield "GET", f"{API}/myself", None, None, 401, (), None
    yield "GET", f"{API}/readonly-mode", "alice", None, 200, ("enabled",), None
    for name in ("field", "priority", "status", "issuetype", "resolution", "project"):
        yield "GET", f"{API}/{name}", "alice", None, 200, (), None
    yield "GET", f"{API}/project/DEMO", "alice", None, 200, ("id", "key", "name", "lead"), None
    yield "GET", f"{API}/project/SECRET", "alice", None, 404, ("errorMessages",), None
    yield "GET", f"{API}/project/DEMO/statuses", "alice", None, 200, (), None
    yield "GET", f"{API}/project/DEMO/role", "alice", None, 200, ("Developers",), None
    yield "GET", f"{API}/issue/createmeta/DEMO/issuetypes", "alice", None, 200, ("values", "total"), None
    yield "GET", f"{API}/issue/createmeta/DEMO/issuetypes/10002", "alice", None, 200, ("values", "total"), None
    yield "GET", f"{API}/issue/createmeta/NONE/issuetypes", "alice", None, 400, ("errorMessages",), None
    yield "GET", f"{API}/issue/{{new}}", "alice", None, 200, ("id", "key", "self", "fields"), None
    yield "GET", f"{API}/issue/SECRET-1", "alice", None, 404, ("errorMessages",), None
    yield "PUT", f"{API}/issue/{{new}}", "alice", {"fields": {"summary": "Changed"}}, 204, (), None
    yield "PUT", f"{API}/issue/{{new}}", "alice", {"fields": {"summary": ""}}, 400, ("errors",), None
    yield "PUT", f"{API}/issue/{{new}}?notifyUsers=false", "alice", {"fields": {}}, 403, ("errorMessages",), None
    yield "GET", f"{API}/issue/{{new}}/editmeta", "alice", None, 200, ("fields",), None
    yield "GET", f"{API}/issue/{{new}}/transitions?expand=transitions.fields", "alice", None, 200, ("transitions",), None
    yield "POST", f"{API}/issue/{{new}}/transitions", "alice", {"transition": {"id": "21"}}, 204, (), None
    yield "POST", f"{API}/issue/{{new}}/transitions", "alice", {}, 400, ("errorMessages",), None
    yield "POST", f"{API}/issue/{{new}}/transitions", "alice", {"transition": {"id": "9"}}, 500, ("errorMessages",), None
    comment = {"body": "x", "visibility": {"type": "role", "value": "Developers"}}
    yield "POST", f"{API}/issue/{{new}}/comment", "alice", comment, 201, ("id", "body", "author", "visibility"), None
    yield "POST", f"{API}/issue/{{new}}/comment", "alice", {"body": ""}, 400, ("errors",), None
    yield "GET", f"{API}/issue/{{new}}/comment", "alice", None, 200, ("comments", "total", "startAt"), None
    yield "GET", f"{API}/issue/{{new}}/comment/{{comment}}", "alice", None, 200, ("id", "body"), None
    yield "GET", f"{API}/issue/{{new}}/comment/1", "alice", None, 404, ("errorMessages",), None
    yield "PUT", f"{API}/issue/{{new}}/comment/{{comment}}", "alice", {"body": "y"}, 200, ("id", "body"), None
    yield "PUT", f"{API}/issue/{{new}}/assignee", "alice", {"name": "bob"}, 204, (), None
    yield "PUT", f"{API}/issue/{{new}}/assignee", "carol", {"name": "bob"}, 401, ("errorMessages",), None
    yield "PUT", f"{API}/issue/{{new}}/assignee", "alice", {"name": "nobody"}, 400, ("errors",), None
    yield "POST", f"{API}/issue/{{new}}/watchers", "alice", "carol", 204, (), None
    yield "GET", f"{API}/issue/{{new}}/watchers", "alice", None, 200, ("watchCount", "watchers"), None
    yield "DELETE", f"{API}/issue/{{new}}/watchers?username=carol", "alice", None, 204, (), None
    yield "POST", f"{API}/issue/{{new}}/watchers", "carol", "bob", 401, ("errorMessages",), None
    yield "POST", f"{API}/issue/{{new}}/worklog", "alice", {"timeSpent": "1h"}, 201, ("id", "timeSpentSeconds"), None
    yield "GET", f"{API}/issue/{{new}}/worklog", "alice", None, 200, ("worklogs", "total"), None
    yield "POST", f"{API}/issue/{{new}}/attachments", "alice", FILE, 200, (), UPLOAD
    yield "POST", f"{API}/issue/{{new}}/attachments", "alice", FILE, 403, (), {"Content-Type": UPLOAD["Content-Type"]}
    yield "GET", f"{API}/attachment/meta", "alice", None, 200, ("enabled", "uploadLimit"), None
    yield "GET", f"{API}/attachment/{{file}}", "alice", None, 200, ("filename", "size", "content"), None
    yield "GET", f"{API}/attachment/1", "alice", None, 404, ("errorMessages",), None
    link = {"globalId": "a", "object": {"url": "https://x.invalid", "title": "X"}}
    yield "POST", f"{API}/issue/{{new}}/remotelink", "alice", link, 201, ("id", "self"), None
    yield "POST", f"{API}/issue/{{new}}/remotelink", "alice", link, 200, ("id", "self"), None
    yield "GET", f"{API}/issue/{{new}}/remotelink", "alice", None, 200, (), None
    yield "PUT", f"{API}/issue/{{new}}/properties/outhaul.x", "alice", {"a": 1}, 201, (), None
    yield "PUT", f"{API}/issue/{{new}}/properties/outhaul.x", "alice", {"a": 2}, 200, (), None
    yield "GET", f"{API}/issue/{{new}}/properties/outhaul.x", "alice", None, 200, ("key", "value"), None
    yield "GET", f"{API}/search?jql=project%3DDEMO", "alice", None, 200, ("issues", "total", "startAt", "maxResults"), None
    yield "POST", f"{API}/search", "alice", {"jql": "project = DEMO", "fields": ["summary"]}, 200, ("issues", "total"), None
    yield "GET", f"{API}/search?jql=nonsense%3D1", "alice", None, 400, ("errorMessages",), None
    yield "GET", f"{API}/issue/picker?query=DEMO", "alice", None, 200, ("sections",), None
    yield "GET", f"{API}/user/search?username=.", "alice", None, 200, (), None
    yield "GET", f"{API}/user/assignable/search?project=DEMO", "alice", None, 200, (), None
    yield "GET", f"{API}/user/picker?query=a", "alice", None, 200, ("users", "total"), None
    yield "GET", f"{API}/user?username=bob", "alice", None, 200, ("name", "key"), None
    yield "GET", f"{API}/user?username=nobody", "alice", None, 404, ("errorMessages",), None
    new = {"name": "dora", "emailAddress": "dora@corp.invalid", "displayName": "Dora"}
    yield "POST", f"{API}/user", "admin", new, 201, ("name", "key"), None
    yield "POST", f"{API}/user", "admin", new, 400, ("errors",), None
    yield "POST", f"{API}/user", "alice", new, 403, ("errorMessages",), None
    yield "PUT", f"{API}/user?username=dora", "admin", {"active": False}, 200, ("active",), None
    yield "POST", f"{API}/group", "admin", {"name": "walkers"}, 201, ("name",), None
    yield "POST", f"{API}/group/user?groupname=walkers", "admin", {"name": "dora"}, 201, ("name",), None
    yield "POST", f"{API}/group/user?groupname=walkers", "admin", {"name": "dora"}, 400, ("errorMessages",), None
    yield "GET", f"{API}/group/member?groupname=walkers", "admin", None, 200, ("values", "total", "isLast"), None
    yield "DELETE", f"{API}/group/user?groupname=walkers&username=dora", "admin", None, 200, (), None
    yield "DELETE", f"{API}/group?groupname=walkers", "admin", None, 200, (), None
    yield "DELETE", f"{API}/user?username=dora", "admin", None, 204, (), None
    yield "GET", f"{API}/groups/picker?query=demo", "alice", None, 200, ("groups", "total"), None
    yield "GET", f"{API}/mypermissions?projectKey=DEMO", "alice", None, 200, ("permissions",), None
    yield "DELETE", f"{API}/issue/{{new}}/comment/{{comment}}", "alice", None, 204, (), None
    yield "DELETE", f"{API}/issue/{{new}}", "carol", None, 403, ("errorMessages",), None
    yield "DELETE", f"{API}/issue/{{new}}", "alice", None, 204, (), None


def walk(document, defects, jira, partial):
    """Makes every call; gives how many answers were checked, of which operations, and all that does not fit."""
    known, findings, operations, checked = {}, [], set(), 0
    for method, path, user, body, wanted, has, headers in calls():
        path = path.format(**known)
        status, answer_headers, text = jira.raw(method, path, user, body, headers=headers)
        bare = urllib.parse.urlsplit(path).path
        if isinstance(jira.parsed, dict):
            name = {"/issue": "new", "/comment": "comment"}.get("/" + bare.rsplit("/", 1)[1])
            if status == 201 and name:
                known.setdefault(name, jira.parsed["key" if name == "new" else "id"])
        elif status == 200 and bare.endswith("/attachments"):
            known["file"] = jira.parsed[0]["id"]
        template = document.operation(method, bare)
        if template is None and partial:
            continue
        operation = f"{method} {template or bare}"
        if status != wanted:
            findings.append(Finding("other-status", operation, status, "", f"{wanted} was expected: {text[:200]}"))
            continue
        for name in has:
            if not isinstance(jira.parsed, dict) or name not in jira.parsed:
                findings.append(Finding("missing", operation, status, f"/{name}", "the answer must have it"))
        findings += check(document, defects, method, bare, status, answer_headers.get("Content-Type"), text)
        operations.add(operation)
        checked += 1
    return checked, operations, findings


def run(document, defects, program, partial, *, prepare=None):
    with StandIn(program, "--base-url", "https://jira.corp.invalid/jira", "--switch", "framing=length") as jira:
        if prepare:
            prepare(jira)
        return walk(document, defects, jira, partial)


def main():
    paths = [one for one in sys.argv[1:] if one != "--partial"]
    document, defects = Document.read(paths[0]), Defects.read(DEFECTS)
    checked, operations, findings = run(document, defects, paths[1], "--partial" in sys.argv)
    for finding in findings:
        print(f"  {finding}")
    for number, entry in enumerate(defects.entries):
        if number not in defects.used:
            print(f"  no longer needed: {entry['defect']} of {entry['operation']}")
    info = document.document.get("info", {})
    print(f"{info.get('title')} {info.get('version')}: {len(operations)} operations, {len(defects.used)} known defects met")
    print(f"{checked} checks, {len(findings)} findings")
    return 1 if findings or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
