"""The stand-in's OAuth 2.0 provider, its pages, and the control calls around them; part of stand_in.py."""
import base64
import hashlib
import http.client
import re
import threading
from urllib.parse import parse_qs, urlencode, urlsplit

from stand_in_process import StandIn

ME = "/rest/api/2/myself"
TOKEN = "/rest/oauth2/latest/token"
CALLBACK = "https://agent.invalid/oauth/callback?at=site"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CLIENT = f"id=outhaul,secret=s3+cret/=,scope=WRITE,name=Outhaul & Co,redirect={CALLBACK}"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


class Person:
    """A browser: keeps its cookie, follows what it is told to."""

    def __init__(self, jira):
        self.jira, self.cookie = jira, None

    def go(self, url, form=None):
        headers = {"Cookie": self.cookie} if self.cookie else {}
        path = url.removeprefix(self.jira.about["base_url"])
        if form is None:
            status, got, text = self.jira.raw("GET", path, headers=headers)
        else:
            headers |= FORM | {"User-Agent": "Mozilla/5.0", "Origin": self.jira.about["base_url"].rsplit("/", 1)[0]}
            status, got, text = self.jira.raw("POST", path, body=urlencode(form).encode(), headers=headers)
        for value in got.get_all("Set-Cookie") or []:
            if value.startswith("JSESSIONID="):
                self.cookie = value.split(";")[0]
        return status, got["Location"], text

    def log_in(self, location, name, password=None):
        """From the login page: where it leads."""
        text = self.go(location)[2]
        destination = re.search(r'name="os_destination" value="([^"]*)"', text).group(1).replace("&amp;", "&")
        form = {"os_username": name, "os_password": password or f"{name}-password", "os_destination": destination}
        return self.go("/login.jsp", form)


def authorize_url(jira, **changes):
    query = {"client_id": "outhaul", "redirect_uri": CALLBACK, "response_type": "code", "state": "s t&a=te", "scope": "READ WRITE",
             "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    query = {name: value for name, value in (query | changes).items() if value is not None}
    return f"{jira.about['base_url']}/rest/oauth2/latest/authorize?{urlencode(query)}"


def answer(location):
    """The members of a redirect's query."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def code(jira, user="alice", **changes):
    found = jira.control("POST", "/oauth/consent", {"user": user, "authorize": authorize_url(jira, **changes)})[2]
    return answer(found["location"])["code"]


def post(jira, path=TOKEN, query="", headers=FORM, **members):
    known = {"client_id": "outhaul", "client_secret": "s3+cret/="}
    form = {name: value for name, value in (known | members).items() if value is not None}
    status, _, body = jira.call("POST", path + query, body=urlencode(form).encode(), headers=headers)
    return status, body


def redeem(jira, secret, **changes):
    members = {"code": secret, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    return post(jira, grant_type="authorization_code", **(members | changes))


def refresh(jira, pair, **changes):
    members = {"refresh_token": pair["refresh_token"], "redirect_uri": CALLBACK}
    return post(jira, grant_type="refresh_token", **(members | changes))


def pair_of(jira, user="alice", **changes):
    return redeem(jira, code(jira, user, **changes))[1]


def error(answered):
    return answered[0], answered[1]["error"]


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
