"""The stand-in for Jira as a process of its own, started for a test and asked directly."""
import base64
import json
import subprocess
import urllib.error
import urllib.request


class Keep(urllib.request.HTTPRedirectHandler):
    """Redirects are answers here."""

    def redirect_request(self, *arguments):
        return None


opener = urllib.request.build_opener(Keep)


class StandIn:
    def __init__(self, program, *arguments):
        self.process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True)
        self.about = json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    def control(self, method, path, body=None):
        return self.call(method, path, body=body, control=True)

    def call(self, *arguments, **options):
        """Status, headers, and the body: as JSON where it is."""
        status, headers, text = self.raw(*arguments, **options)
        return status, headers, text if self.parsed is None else self.parsed

    def raw(self, method, path, user=None, body=None, token=None, basic=None, headers=None, control=False, node=0):
        """Status, headers, and the body as text; `parsed` is what it means as JSON, or None."""
        url = (self.about["control_url"] if control else self.about["node_urls"][node]) + path
        request = urllib.request.Request(url, method=method)
        if user:
            token = self.about["pats"][user]
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if basic:
            request.add_header("Authorization", "Basic " + base64.b64encode(basic.encode()).decode())
        if body is not None:
            request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            answer = opener.open(request, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        text = answer.read()
        try:
            self.parsed = json.loads(text)
        except ValueError:
            self.parsed = None
        return answer.status, answer.headers, text.decode(errors="replace")
