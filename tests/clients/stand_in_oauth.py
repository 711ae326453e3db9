"""Ways to the stand-in's OAuth 2.0 provider: a person at the pages, and a client at the token endpoint."""
import base64
import hashlib
import re
from urllib.parse import parse_qs, urlencode, urlsplit

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
    status, body = answered
    return status, body.get("error") if isinstance(body, dict) else body
