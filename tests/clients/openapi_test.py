#!/usr/bin/env python3
"""Does the validator find what is wrong? It is tried on a small document of our own, since the real one may not be
shipped: on answers with planted faults, and on the stand-in, as it is and with a fault ordered.

usage: openapi_test.py PROGRAM
"""
import copy
import json
import sys

from openapi import DEFECTS, HERE, run
from openapi_check import Defects, Document, check as findings_of

SMALL = HERE / "fixtures" / "small_openapi.json"
JSON = "application/json;charset=UTF-8"
done = 0


def check(what, holds, found=None):
    global done
    if not holds:
        raise SystemExit(f"FAILED: {what}: {found!r}")
    done += 1
    print(f"  ok  {what}")


def kinds(method, path, status, body, kind=JSON, document=None, defects=None):
    text = body if isinstance(body, str) else json.dumps(body)
    found = findings_of(document or Document.read(SMALL), defects or Defects([]), method, path, status, kind, text)
    return sorted({one.kind for one in found})


MADE = {"id": "10100", "key": "DEMO-1", "self": "https://jira.example/rest/api/2/issue/10100"}
USER = {"key": "a", "name": "a", "displayName": "A", "active": True}
ISSUE = "/rest/api/2/issue/DEMO-1"
CORE = {"errorMessages": ["No."], "errors": {}}

# What is right passes, and each planted fault is found, as what it is.
for what, wanted, *call in [
    ("a right answer", [], "POST", "/rest/api/2/issue", 201, MADE),
    ("a number for a string", ["schema"], "POST", "/rest/api/2/issue", 201, {**MADE, "id": 10100}),
    ("a member missing", ["schema"], "POST", "/rest/api/2/issue", 201, {"id": "1", "key": "A-1"}),
    ("deep inside", ["schema"], "GET", f"{ISSUE}/comment", 200, {"comments": [{"id": "1", "body": "x", "author": {**USER, "active": "yes"}}]}),
    ("null where it may be", [], "GET", f"{ISSUE}/comment/7", 200, {"id": "7", "body": "x", "author": USER, "renderedBody": None}),
    ("null where it may not be", ["schema"], "GET", f"{ISSUE}/comment/7", 200, {"id": "7", "body": None, "author": USER}),
    ("no value of the enumeration", ["schema"], "GET", f"{ISSUE}/comment/7", 200,
     {"id": "7", "body": "x", "author": USER, "visibility": {"type": "user", "value": "a"}}),
    ("an object for an array", ["schema"], "GET", "/rest/api/2/user/search", 200, USER),
    ("a status that is not declared", ["undeclared-status"], "POST", "/rest/api/2/issue", 200, MADE),
    ("a body with 204", ["body-in-204"], "PUT", ISSUE, 204, {}),
    ("no body with 204", [], "PUT", ISSUE, 204, "", None),
    ("HTML for JSON", ["undeclared-type"], "GET", ISSUE, 200, "<html>", "text/html"),
    ("JSON that is none", ["no-json"], "GET", "/rest/api/2/myself", 200, "{", JSON),
    ("a call the document does not have", ["unknown-operation"], "GET", "/rest/api/2/nothing", 200, {}),
    ("a method it does not have", ["unknown-operation"], "PATCH", ISSUE, 200, {}),
    ("a literal segment before a variable one", [], "GET", "/rest/api/2/issue/picker", 200, {"sections": []}),
    ("an error in the core shape", [], "GET", ISSUE, 404, CORE),
    ("an error with a message", [], "GET", "/rest/api/2/myself", 401, {"message": "Log in.", "status-code": 401}),
    ("an error that says nothing", ["error-shape"], "GET", ISSUE, 404, {}),
    ("an error with empty lists", ["error-shape"], "GET", ISSUE, 404, {"errorMessages": [], "errors": {}}),
    ("an error whose messages are no text", ["error-shape"], "GET", ISSUE, 404, {"errorMessages": [1], "errors": {}}),
    ("an error as text", ["error-shape"], "PUT", ISSUE, 400, "no", "text/plain"),
    ("the refusal of the XSRF filter", [], "POST", f"{ISSUE}/attachments", 403, "XSRF check failed", "text/plain"),
]:
    found = kinds(*call)
    check(what, found == wanted, found)

# A defect excuses what it names, and no more; and an array is demanded where it says so.
project = {"id": "1", "key": "DEMO", "name": "D"}
known = Defects.read(DEFECTS)
check("an array declared as an item: found", kinds("GET", "/rest/api/2/project", 200, [project]) == ["schema"])
check("known: passes", kinds("GET", "/rest/api/2/project", 200, [project], defects=known) == [])
check("its items are looked at", kinds("GET", "/rest/api/2/project", 200, [{}], defects=known) == ["schema"])
check("a single item is none", kinds("GET", "/rest/api/2/project", 200, project, defects=known) == ["schema"])
fields = {**MADE, "fields": {"summary": "x"}}
check("fields as declared: found", kinds("GET", ISSUE, 200, fields) == ["schema"])
check("known: passes", kinds("GET", ISSUE, 200, fields, defects=known) == [])
check("beside them nothing is excused", kinds("GET", ISSUE, 200, {**fields, "key": 1}, defects=known) == ["schema"])
for wrong in ({"defect": "whatever", "reason": "x"}, {"defect": "ignore", "reason": " "}):
    try:
        Defects([{"operation": "*", "status": 200, **wrong}])
    except ValueError:
        check("a defect without kind or reason is refused", True)
    else:
        check("a defect without kind or reason is refused", False, wrong)

# The stand-in itself: right as it is; a wrong document, a wrong answer and a missing one are each found.
program = sys.argv[1]
checked, operations, findings = run(Document.read(SMALL), known, program, True)
check("the stand-in fits the small document", checked > 30 and not findings, [str(one) for one in findings])
everything = {f"{method.upper()} {path}" for path, all in Document.read(SMALL).document["paths"].items() for method in all}
check("and every operation of it was called", operations == everything, everything - operations)
check("without the list of defects it does not", run(Document.read(SMALL), Defects([]), program, True)[2])

changed = copy.deepcopy(Document.read(SMALL).document)
changed["components"]["schemas"]["Made"]["properties"]["id"]["type"] = "integer"
findings = run(Document(changed), known, program, True)[2]
check("a type that differs", findings and {one.kind for one in findings} == {"schema"}, [str(one) for one in findings])


def ordered(jira):
    jira.control("POST", "/trouble", {"path": "/serverInfo", "status": 418})


findings = run(Document.read(SMALL), known, program, True, prepare=ordered)[2]
check("a wrong answer", [one.kind for one in findings] == ["other-status"], [str(one) for one in findings])
findings = run(Document.read(SMALL), known, program, False)[2]
check("what a whole document must have", "unknown-operation" in {one.kind for one in findings})
print(f"{done} checks")
