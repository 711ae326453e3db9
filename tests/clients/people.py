"""People who link their accounts in a browser: the agent's pages, Jira's login and consent, and the code at the end."""
import html
import http.client
import json
import re
import ssl
import urllib.parse

from watched import DEMO

SITE = urllib.parse.urlsplit(DEMO["base_url"])
TRUST = ssl.create_default_context(cafile=DEMO["ca_file"])


def call(method, path, person, body=None):
    """A call of the caller that names people, straight at the relay: status, header fields, document."""
    connection = http.client.HTTPSConnection(SITE.hostname, SITE.port, context=TRUST, timeout=60)
    headers = {"Host": SITE.netloc, "Authorization": f"Bearer {DEMO['people_key']}", "Outhaul-Act-As": person,
               "Content-Type": "application/json", "Accept": "application/json"}
    connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, answer.headers, json.loads(text) if text else None


class Browser:
    """Keeps cookies by server, follows nothing by itself."""

    def __init__(self):
        self.cookies = {}

    def go(self, url, form=None):
        # What Jira calls itself leads nowhere; a browser inside the company would reach it.
        real = url.replace(DEMO["jira_base_url"], DEMO["jira_url"], 1)
        parts = urllib.parse.urlsplit(real)
        jar = self.cookies.setdefault(parts.netloc, {})
        headers = {"User-Agent": "Mozilla/5.0", "Host": urllib.parse.urlsplit(url).netloc}
        if jar:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        body = None
        if form is not None:
            asked = urllib.parse.urlsplit(url)
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"{asked.scheme}://{asked.netloc}"}
            body = urllib.parse.urlencode(form)
        connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=60)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("GET" if form is None else "POST", target, body=body, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        for value in answer.headers.get_all("Set-Cookie") or []:
            name, _, rest = value.partition("=")
            jar[name] = rest.split(";")[0]
        place = answer.headers["Location"]
        connection.close()
        return answer.status, place and urllib.parse.urljoin(url, place), text

    def page(self, url, form=None):
        """Follows redirects to a page: its address and its text."""
        for _ in range(10):
            status, place, text = self.go(url, form)
            # A form may lead nowhere but to the pages themselves, so the way on is in the page.
            onward = re.search(r'http-equiv="refresh" content="0; url=([^"]*)"', text)
            if place is None and onward is None:
                assert status < 400, (status, url, text)
                return url, text
            url, form = place or html.unescape(onward.group(1)), None
        raise AssertionError("redirected for ever")


def field(text, name):
    return html.unescape(re.search(rf'name="{name}" value="([^"]*)"', text).group(1))


def link(person, user):
    """The whole way, as a person in a browser and the program they asked; gives what the program hears at the end."""
    status, _, started = call("POST", "/link/start", person, {"upstream": "jira", "display_name": user.title()})
    assert status == 201, started
    browser = Browser()
    url, text = browser.page(started["url"])
    url, text = browser.page(url, {"form": field(text, "form"), "step": "consent"})
    form = {"os_username": user, "os_password": f"{user}-password", "os_destination": field(text, "os_destination")}
    url, text = browser.page(DEMO["jira_base_url"] + "/login.jsp", form)
    # The consent page's own form, with everything it hides.
    hidden = {name: html.unescape(value) for name, value in re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', text)}
    allow = re.search(r'<button[^>]*id="allow"[^>]*>', text).group(0)
    hidden[re.search(r'name="([^"]*)"', allow).group(1)] = re.search(r'value="([^"]*)"', allow).group(1)
    action = html.unescape(re.search(r'<form[^>]*action="([^"]*)"', text).group(1))
    url, text = browser.page(urllib.parse.urljoin(url, action), hidden)
    assert "Link these two accounts?" in text, text
    url, text = browser.page(url, {"form": field(text, "form"), "step": "yes"})
    code = re.search(r'<span aria-hidden="true">([^<]*)</span>', text).group(1)
    return call("POST", "/link/finish", person, {"code": code})
