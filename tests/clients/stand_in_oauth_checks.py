"""Checks of the stand-in's OAuth 2.0 provider, its pages, and the control calls around them; part of stand_in.py."""
import copy
import http.client
import re
import threading
import time
from urllib.parse import urlencode, urlsplit

from stand_in_oauth import (CALLBACK, CLIENT, FORM, TOKEN, VERIFIER, Person, answer, authorize_url, code, error, pair_of, post, redeem,
                            refresh)
from stand_in_process import StandIn

ME = "/rest/api/2/myself"
GRANT = (400, "invalid_grant")


def consent_pages(check, jira):
    person = Person(jira)
    status, location, _ = person.go(authorize_url(jira))
    check("authorize leads to the consent page", (status, "/plugins/servlet/oauth2/consent?" in location), (302, True))
    status, location, _ = person.go(location)
    check("that one to the login", (status, "/login.jsp?os_destination=%2Fplugins" in location), (302, True))
    status, _, text = person.log_in(location, "alice", "wrong")
    check("a wrong password: the form again", (status, 'id="login-error"' in text), (200, True))
    status, location, _ = person.log_in(location, "alice")
    check("the right one: back again", (status, "/plugins/servlet/oauth2/consent?client_id=outhaul" in location), (302, True))
    status, _, text = person.go(location)
    named = ["Alice Archer (alice)" in text, "Outhaul &amp; Co" in text, ">WRITE<" in text]
    check("who, for whom, and what", (status, named), (200, [True] * 3))
    token = re.search(r'name="atl_token" value="([^"]*)"', text).group(1)
    consent = "/plugins/servlet/oauth2/consent"
    check("an answer without the page's token", person.go(consent, {"decision": "allow"})[0], 403)
    other = Person(jira)
    other.log_in("/login.jsp", "bob")
    check("or with another's", other.go(consent, {"atl_token": token, "decision": "allow"})[0], 403)
    check("or without a session", Person(jira).go(consent, {"atl_token": token, "decision": "allow"})[0], 403)
    check("a token is no session", jira.raw("GET", location.removeprefix(jira.about["base_url"]), "alice")[0], 302)
    status, back, _ = person.go(consent, {"atl_token": token, "decision": "allow"})
    got = answer(back)
    check("then the code", (status, back.startswith(CALLBACK + "&code="), got["state"]), (302, True, "s t&a=te"))
    check("the page is used up", person.go(consent, {"atl_token": token, "decision": "allow"})[0], 403)
    token = re.search(r'name="atl_token" value="([^"]*)"', person.go(location)[2]).group(1)
    denied = answer(person.go(consent, {"atl_token": token, "decision": "deny"})[1])
    check("no is an answer too", (denied["error"], "code" in denied), ("access_denied", False))
    check("no way out by the login", person.log_in("/login.jsp?os_destination=//evil.invalid", "alice")[1], f"{jira.about['base_url']}/secure/Dashboard.jspa")
    for what, change in (("client", {"client_id": "nobody"}), ("redirect URI", {"redirect_uri": CALLBACK + "x"})):
        check(f"an unknown {what}: a page", person.go(authorize_url(jira, **change))[:2], (400, None))
    for change, wanted in (({"scope": "ADMIN"}, "invalid_scope"), ({"scope": None}, "invalid_scope"), ({"scope": "READ nonsense"}, "invalid_scope"),
                           ({"response_type": "token"}, "unsupported_response_type"),
                           ({"code_challenge_method": None}, "invalid_request"), ({"code_challenge_method": "plain"}, "invalid_request"),
                           ({"code_challenge": "short"}, "invalid_request")):
        found = answer(person.go(authorize_url(jira, **change))[1])
        check(f"{change}", (found["error"], found["state"]), (wanted, "s t&a=te"))
    status, pair = redeem(jira, got["code"])
    check("the code of the pages is good", status, 200)
    return pair


def run(program, check):
    with StandIn(program, "--manual-clock", "--oauth-client", CLIENT) as jira:
        call, control = jira.call, jira.control
        pair = consent_pages(check, jira)
        check("the answer", (sorted(pair), pair["token_type"], pair["expires_in"]),
              (["access_token", "created_at", "expires_in", "refresh_token", "token_type"], "bearer", 7200))
        status, headers, me = call("GET", ME, token=pair["access_token"])
        check("the token is its user", (status, headers["X-AUSERNAME"], me["key"]), (200, "alice", "alice"))
        check("a form in the browser's way is no XSRF", post(jira, headers=FORM | {"X-Atlassian-Token": "x"})[0], 400)

        # Codes.
        bad = (("the code", {"code": "nonsense"}), ("the redirect URI", {"redirect_uri": CALLBACK + "/"}),
               ("the verifier", {"code_verifier": "w" * 64}), ("a missing verifier", {"code_verifier": None}),
               ("a short verifier", {"code_verifier": "v" * 42}))
        for what, change in bad:
            check(f"{what} must be right", error(redeem(jira, code(jira), **change)), GRANT)
        for what, change in (("client", {"client_id": "nobody"}), ("secret", {"client_secret": "s3 cret/="})):
            check(f"the {what} must be right", error(redeem(jira, code(jira), **change)), (401, "invalid_client"))
        check("a parameter is missing", error(redeem(jira, code(jira), redirect_uri=None)), (400, "invalid_request"))
        check("no such grant type", error(post(jira, grant_type="password")), (400, "unsupported_grant_type"))
        check("client credentials in 10.3", error(post(jira, grant_type="client_credentials", scope="READ")), (400, "unsupported_grant_type"))
        check("without a challenge no verifier", redeem(jira, code(jira, code_challenge=None, code_challenge_method=None), code_verifier=None)[0], 200)
        secret = code(jira)
        control("POST", "/clock/9")
        check("a code of nine seconds", redeem(jira, secret)[0], 200)
        check("is good once", error(redeem(jira, secret)), GRANT)
        secret = code(jira)
        control("POST", "/clock/10")
        check("a code of ten seconds is expired", error(redeem(jira, secret)), GRANT)
        control("POST", "/oauth/code-lifetime/600")
        secret = code(jira)
        control("POST", "/clock/599")
        check("another life of codes", redeem(jira, secret)[0], 200)
        control("POST", "/switch/oauth-code-reuse/revokes")
        secret = code(jira)
        mine = redeem(jira, secret)[1]
        redeem(jira, secret)
        check("a second use may cost the tokens", call("GET", ME, token=mine["access_token"])[0], 401)
        query = "?" + urlencode({"grant_type": "authorization_code", "code": code(jira), "redirect_uri": CALLBACK, "code_verifier": VERIFIER})
        check("nothing from the query", error(post(jira, query=query)), (400, "invalid_request"))
        control("POST", "/switch/oauth-parameters/query-too")
        check("or that too", post(jira, query=query)[0], 200)
        control("POST", "/switch/oauth-parameters/form")
        check("no JSON", error(post(jira, headers={})), (400, "invalid_request"))
        control("POST", "/switch/oauth-errors/html")
        status, headers, text = call("POST", TOKEN, body=b"grant_type=x", headers=FORM)
        check("errors as a page", (status, headers["Content-Type"], "<html>" in text), (400, "text/html;charset=UTF-8", True))
        control("POST", "/switch/oauth-errors/json")

        # Tokens live and die.
        old = pair_of(jira)
        status, new = refresh(jira, old)
        check("a refresh gives another pair", (status, old["access_token"] != new["access_token"], old["refresh_token"] != new["refresh_token"]), (200, True, True))
        check("the old access token is dead", call("GET", ME, token=old["access_token"])[0], 401)
        check("the new one is not", call("GET", ME, token=new["access_token"])[2]["name"], "alice")
        check("the old refresh token is dead", error(refresh(jira, old)), GRANT)
        check("and its use harms nobody", call("GET", ME, token=new["access_token"])[0], 200)
        check("the redirect URI belongs to it", error(refresh(jira, new, redirect_uri=CALLBACK + "x")), GRANT)
        check("and must be there", error(refresh(jira, new, redirect_uri=None)), (400, "invalid_request"))
        control("POST", "/switch/oauth-refresh-redirect/ignored")
        status, new = refresh(jira, new, redirect_uri=None)
        check("or need not", status, 200)
        control("POST", "/switch/oauth-refresh-redirect/checked")
        control("POST", "/clock/7199")
        check("two hours less a second", call("GET", ME, token=new["access_token"])[0], 200)
        control("POST", "/clock/1")
        check("two hours", call("GET", ME, token=new["access_token"])[0], 401)
        status, headers, _ = call("GET", "/rest/api/2/issue/OPEN-1", token=new["access_token"])
        check("an expired one where all may read", (status, headers["X-AUSERNAME"]), (200, "anonymous"))
        control("POST", "/oauth/lifetime/60")
        new = refresh(jira, new)[1]
        check("another lifetime", (new["expires_in"], call("GET", ME, token=new["access_token"])[0]), (60, 200))
        control("POST", "/oauth/lifetime/7200")
        bobs = pair_of(jira, "bob")
        check("expire a user's now", control("POST", "/oauth/users/alice/expire")[0], 204)
        check("theirs alone", [call("GET", ME, token=one["access_token"])[0] for one in (new, bobs)], [401, 200])
        new = refresh(jira, new)[1]
        check("a refresh still works", call("GET", ME, token=new["access_token"])[0], 200)
        check("take a consent back", control("POST", "/oauth/users/alice/revoke")[0], 204)
        check("theirs alone", [call("GET", ME, token=one["access_token"])[0] for one in (new, bobs)], [401, 200])
        check("and no refresh", error(refresh(jira, new)), GRANT)
        check("nobody", control("POST", "/oauth/users/nobody/revoke")[0], 404)
        check("revocation is not there", post(jira, "/rest/oauth2/latest/revoke", token=bobs["refresh_token"])[0], 404)
        control("POST", "/switch/oauth-revoke/present")
        check("an unknown token is no error", post(jira, "/rest/oauth2/latest/revoke", token="nonsense")[0], 200)
        check("or it is", post(jira, "/rest/oauth2/latest/revoke", token=bobs["refresh_token"])[0], 200)
        check("both are dead", (call("GET", ME, token=bobs["access_token"])[0], error(refresh(jira, bobs))), (401, GRANT))

        # Scopes.
        comment = "/rest/api/2/issue/DEMO-1/comment"
        reader = pair_of(jira, "carol", scope="READ")["access_token"]
        check("READ reads", (call("GET", comment, token=reader)[0], call("POST", "/rest/api/2/search", token=reader, body={"jql": "project = DEMO"})[0]), (200, 200))
        status, headers, _ = call("POST", comment, token=reader, body={"body": "x"})
        check("and writes nothing", (status, headers["X-AUSERNAME"]), (403, "carol"))
        writers = {user: pair_of(jira, user, scope="WRITE")["access_token"] for user in ("alice", "bob", "carol")}
        for user, token in writers.items():
            check(f"{user} writes", call("POST", comment, token=token, body={"body": f"of {user}"})[0], 201)
        shown = control("GET", "/state")[2]
        authors = {one["body"]: (one["author"]["name"], one["author"]["key"]) for one in shown["issues"]["DEMO-1"]["comments"]}
        check("as themselves", [authors[f"of {user}"] for user in writers], [("alice", "alice"), ("bob", "JIRAUSER10102"), ("carol", "JIRAUSER10103")])
        check("no more than the user may", call("PUT", "/rest/api/2/issue/DEMO-1/assignee", token=writers["carol"], body={"name": "bob"})[0], 401)
        groups = "/rest/api/2/group"
        check("an administrator's WRITE is no ADMIN", call("POST", groups, token=pair_of(jira, "admin")["access_token"], body={"name": "g"})[0], 403)
        own = {"id": "wide", "secret": "w", "scope": "SYSTEM_ADMIN", "redirect_uris": [CALLBACK]}
        check("a client registered later", control("POST", "/oauth/clients", own)[2]["secret"], "w")
        wide = redeem(jira, code(jira, "admin", client_id="wide", scope="ADMIN"), client_id="wide", client_secret="w")[1]
        check("its ADMIN is", call("POST", groups, token=wide["access_token"], body={"name": "g"})[0], 201)
        check("tokens of another client", error(refresh(jira, wide)), GRANT)
        check("a client without a way back", control("POST", "/oauth/clients", {"id": "x"})[0], 400)
        shown = control("GET", "/state")[2]
        check("no secret in the state", any(secret in str(shown) for secret in (wide["access_token"], wide["refresh_token"], "s3+cret")), False)
        check("but the grants", {"key": "admin", "user": "admin", "client": "wide", "scope": "ADMIN"}.items() <= shown["grants"][-1].items(), True)

    users(program, check)
    gates(program, check)
    https(program, check)
    service_accounts(program, check)


def users(program, check):
    """Deactivated, renamed, and rid of their tokens."""
    with StandIn(program, "--oauth-client", CLIENT) as jira:
        call, control = jira.call, jira.control
        pair, person = pair_of(jira, "bob"), Person(jira)
        person.log_in("/login.jsp", "bob")
        pat = jira.about["pats"]["bob"]
        issue = "/rest/api/2/issue/OPEN-1"
        check("deactivate", control("POST", "/users/bob/deactivate")[0], 204)
        for what, token in (("personal token", pat), ("OAuth token", pair["access_token"])):
            status, headers, _ = call("GET", issue, token=token)
            check(f"their {what} is nobody's", (call("GET", ME, token=token)[0], status, headers["X-AUSERNAME"]), (401, 200, "anonymous"))
        control("POST", "/switch/invalid-bearer/401")
        control("POST", "/switch/inactive-myself/403")
        for what, token in (("personal token", pat), ("OAuth token", pair["access_token"])):
            check(f"or is refused, their {what}", (call("GET", ME, token=token)[0], call("GET", issue, token=token)[0]), (403, 401))
        check("an unknown token is still 401", call("GET", ME, token="nonsense")[0], 401)
        check("nor a session", person.go(ME)[0], 401)
        check("nor a login", person.log_in("/login.jsp", "bob")[0], 200)
        check("nor a refresh", error(refresh(jira, pair)), GRANT)
        found = call("GET", "/rest/api/2/user?key=JIRAUSER10102", "alice")[2]
        check("others see that", (found["name"], found["active"]), ("bob", False))
        check("reactivate", control("POST", "/users/bob/reactivate")[0], 204)
        check("all is well again", [call("GET", ME, token=token)[0] for token in (pat, pair["access_token"])], [200, 200])
        control("POST", "/switch/oauth-inactive-refresh/answered")
        control("POST", "/users/bob/deactivate")
        status, pair = refresh(jira, pair)
        check("a refresh may be answered", (status, call("GET", ME, token=pair["access_token"])[0]), (200, 403))
        control("POST", "/users/bob/reactivate")
        check("which helps later", call("GET", ME, token=pair["access_token"])[0], 200)

        comment = "/rest/api/2/issue/DEMO-1/comment"
        call("POST", comment, token=pair["access_token"], body={"body": "before"})
        check("rename", control("POST", "/users/bob/rename/robert")[0], 204)
        status, headers, me = call("GET", ME, token=pair["access_token"])
        check("the name is new, the key old", (status, headers["X-AUSERNAME"], me["name"], me["key"]), (200, "robert", "robert", "JIRAUSER10102"))
        check("for personal tokens too", call("GET", ME, token=pat)[2]["name"], "robert")
        check("a refresh goes on", refresh(jira, pair)[0], 200)
        check("found by key", call("GET", "/rest/api/2/user?key=JIRAUSER10102", "alice")[2]["name"], "robert")
        check("not by the old name", call("GET", "/rest/api/2/user?username=bob", "alice")[0], 404)
        shown = control("GET", "/state")[2]
        mine = [one for one in shown["issues"]["DEMO-1"]["comments"] if one["body"] == "before"][0]
        check("old words have the new name", (mine["author"]["name"], mine["author"]["key"]), ("robert", "JIRAUSER10102"))
        check("groups follow", "robert" in shown["groups"]["demo-developers"] and "bob" not in shown["groups"]["demo-developers"], True)
        check("a name that is taken", control("POST", "/users/robert/rename/carol")[0], 409)
        control("POST", "/users/alice/rename/alicia")
        person = {"name": "alice", "emailAddress": "a@corp.invalid", "displayName": "Another Alice"}
        call("POST", "/rest/api/2/user", "admin", person)
        check("an old name may become another's", call("GET", "/rest/api/2/user?username=alice", "carol")[2]["displayName"], "Another Alice")
        check("and be a key for ever", call("GET", "/rest/api/2/user?key=alice", "carol")[2]["name"], "alicia")
        check("whose token stays whose it was", call("GET", ME, "alice")[2]["key"], "alice")

        check("revoke personal tokens", control("POST", "/tokens/carol/revoke")[0], 204)
        check("they are dead", call("GET", ME, "carol")[0], 401)
        check("nobody's else", call("GET", ME, "admin")[0], 200)
        check("expire personal tokens", (control("POST", "/tokens/admin/expire")[0], call("GET", ME, "admin")[0]), (204, 401))
        check("of nobody", control("POST", "/tokens/nobody/revoke")[0], 404)


def gates(program, check):
    """Token requests that wait or get no answer, and what is counted."""
    with StandIn(program, "--oauth-client", CLIENT) as jira:
        control = jira.control
        pair = pair_of(jira)
        for point in ("before", "after"):
            answers = []
            control("POST", f"/oauth/hold/{point}")
            # It remembers the last body: the thread asks with one of its own.
            other = copy.copy(jira)
            waiting = threading.Thread(target=lambda: answers.append(refresh(other, pair)), daemon=True)
            waiting.start()
            check(f"held {point}", control("GET", "/oauth/held?wait=20")[2], {"held": 1})
            dead = jira.call("GET", ME, token=pair["access_token"])[0]
            check("and carried out or not", (dead, answers), (200 if point == "before" else 401, []))
            check("another is not held", error(refresh(jira, {"refresh_token": "nonsense"})), GRANT)
            control("POST", "/oauth/release")
            waiting.join(20)
            check("released", (answers[0][0], control("GET", "/oauth/held")[2]), (200, {"held": 0}))
            pair = answers[0][1]
        check("no such point", control("POST", "/oauth/hold/never")[0], 400)
        control("POST", "/oauth/hold/before")
        control("POST", "/oauth/release")
        check("an order taken back", error(refresh(jira, {"refresh_token": "nonsense"})), GRANT)

        control("POST", "/oauth/hold/before")
        gone = http.client.HTTPConnection(urlsplit(jira.about["url"]).netloc, timeout=20)
        members = {"grant_type": "refresh_token", "client_id": "outhaul", "client_secret": "s3+cret/=",
                   "refresh_token": pair["refresh_token"], "redirect_uri": CALLBACK}
        gone.request("POST", "/jira" + TOKEN, urlencode(members), FORM)
        control("GET", "/oauth/held?wait=20")
        gone.close()
        control("POST", "/oauth/release")
        until = time.monotonic() + 20
        while control("GET", "/counters")[2]["tokens_issued"]["refresh_token"] < 3 and time.monotonic() < until:
            pass
        check("who hangs up has asked all the same", error(refresh(jira, pair)), GRANT)
        pair = pair_of(jira)

        control("POST", "/oauth/drop-answer")
        check("a refusal is answered", error(refresh(jira, {"refresh_token": "nonsense"})), GRANT)
        try:
            refresh(jira, pair)
            raise SystemExit("FAILED: a refresh was answered that should not be")
        except (http.client.HTTPException, OSError) as fault:
            check("a refresh without an answer", type(fault).__name__ in ("RemoteDisconnected", "ConnectionResetError"), True)
        check("was carried out all the same", (jira.call("GET", ME, token=pair["access_token"])[0], error(refresh(jira, pair))), (401, GRANT))
        pair = pair_of(jira, "bob")
        check("once", refresh(jira, pair)[0], 200)
        counted = control("GET", "/counters")[2]
        check("counted", (counted["token_requests"], counted["tokens_issued"], counted["refreshes"]),
              ({"authorization_code": 3, "refresh_token": 11}, {"authorization_code": 3, "refresh_token": 5}, {"alice": 4, "bob": 1}))


def https(program, check):
    """The product's demand for HTTPS, which tests on loopback do without."""
    plain = "id=outhaul,secret=s3+cret/=,redirect=http://agent.invalid/cb"
    with StandIn(program, "--oauth-client", plain, "--switch", "oauth-https=required") as jira:
        check("HTTPS is demanded of the base URL", Person(jira).go(authorize_url(jira, redirect_uri="http://agent.invalid/cb"))[:2], (400, None))
    both = plain + ",redirect=https://agent.invalid/cb"
    with StandIn(program, "--oauth-client", both, "--switch", "oauth-https=required", "--base-url", "https://jira.corp.invalid/jira") as jira:
        check("and of the redirect URI", Person(jira).go(authorize_url(jira, redirect_uri="http://agent.invalid/cb"))[:2], (400, None))
        check("which is then fine", Person(jira).go(authorize_url(jira, redirect_uri="https://agent.invalid/cb"))[0], 302)


def service_accounts(program, check):
    """A client's own credentials, from 11 on."""
    with StandIn(program, "--profile", "11.3", "--oauth-client", CLIENT) as jira:
        status, got = post(jira, grant_type="client_credentials", scope="READ WRITE")
        check("client credentials in 11.3", (status, "refresh_token" in got), (200, False))
        status, _, me = jira.call("GET", ME, token=got["access_token"])
        check("are the service account", (status, me["name"]), (200, "svc-outhaul"))
        check("which may write", jira.call("POST", "/rest/api/2/issue/DEMO-1/comment", token=got["access_token"], body={"body": "x"})[0], 201)
        check("but nothing beside /rest/api/2/", jira.call("GET", "/rest/servicedeskapi/servicedesk", token=got["access_token"])[0], 403)
        jira.control("POST", "/switch/service-account-paths/any")
        check("or that too", jira.call("GET", "/rest/servicedeskapi/servicedesk", token=got["access_token"])[0], 200)
        reader = post(jira, grant_type="client_credentials", scope="READ")[1]["access_token"]
        check("READ writes nothing", jira.call("POST", "/rest/api/2/issue/DEMO-1/comment", token=reader, body={"body": "x"})[0], 403)
        for scope in ("ADMIN", "nonsense", None):
            check(f"{scope} is not for them", error(post(jira, grant_type="client_credentials", scope=scope)), (400, "invalid_scope"))
        person = Person(jira)
        check("people still log in", person.log_in("/login.jsp", "carol")[0], 302)
