#!/usr/bin/env python3
"""Signed callers, by others' means: the library `http-message-signatures` of PyPI signs requests and verifies answers;
and the two programs of docs/examples do both.

usage: signed.py DEMO.JSON
"""
import base64
import contextlib
import datetime
import hashlib
import http.client
import http.server
import io
import json
import os
import pathlib
import runpy
import secrets
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.parse

from watched import DEMO, check, finish

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_public_key)
from http_message_signatures import (
    HTTPMessageSigner, HTTPMessageVerifier, HTTPSignatureKeyResolver, InvalidSignature, algorithms)

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEEP = tempfile.TemporaryDirectory()
FOLDER = pathlib.Path(KEEP.name)
TRUST = ssl.create_default_context(cafile=DEMO["ca_file"])
SITE = urllib.parse.urlsplit(DEMO["base_url"])


def agent(*arguments):
    program = DEMO["agent_start"].split(" ")[0]
    done = subprocess.run([program, "--config", DEMO["agent_config"], *arguments, "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def new_caller(name):
    """Key pair, and what `caller add` says."""
    key = Ed25519PrivateKey.generate()
    private, public = FOLDER / f"{name}.pem", FOLDER / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    added = agent("caller", "add", name, "--public-key", str(public))
    (FOLDER / "agent.pub").write_text(added["agent_public_key"])
    return key, added


class Request:
    """As the library wants messages: method, url, headers."""

    def __init__(self, method, url, headers, body):
        self.method, self.url, self.headers, self.body = method, url, headers, body


class Answer:
    def __init__(self, request, status, headers, body):
        self.request, self.status_code, self.headers, self.body = request, status, headers, body
        self.url = request.url


class Keys(HTTPSignatureKeyResolver):
    def __init__(self, private=None, public=None):
        self.private, self.public = private, public

    def resolve_private_key(self, key_id):
        return self.private

    def resolve_public_key(self, key_id):
        return self.public


def send(request):
    url = urllib.parse.urlsplit(request.url)
    connection = http.client.HTTPSConnection(url.hostname, url.port, context=TRUST, timeout=60)
    target = url.path + (f"?{url.query}" if url.query else "")
    connection.request(request.method, target, request.body or None, {"Host": url.netloc, **request.headers})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return Answer(request, answer.status, dict(answer.headers.items()), body)


key, added = new_caller("signed-library")
agent_key = load_pem_public_key(added["agent_public_key"].encode())
signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=Keys(private=key))
verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=Keys(public=agent_key))


def signed(method, url, body=b"", extra=(), covered=("@method", "@target-uri")):
    headers = {"Outhaul-Agent": added["agent"], **dict(extra)}
    if body:
        headers["Content-Type"] = "application/json"
    request = Request(method, url, headers, body)
    names = [*covered, *(name.lower() for name in headers)]
    now = datetime.datetime.now()
    signer.sign(request, key_id=added["key_id"], created=now, expires=now + datetime.timedelta(seconds=120), label="sig1",
                nonce=secrets.token_urlsafe(16), tag="outhaul", covered_component_ids=names, body=body)
    return request


def proves(answer):
    """Whether the library says that the agent gave this answer to this request."""
    try:
        found = verifier.verify(answer, expect_tag="outhaul", max_age=datetime.timedelta(seconds=300), body=answer.body)
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"
    covered = {component for result in found for component in result.covered_components}
    need = {'"@status"', '"content-digest"', '"@method";req', '"@target-uri";req', '"signature";req;key="sig1"'}
    return True if need <= covered else f"only {covered} is covered"


print("the library http-message-signatures")
for form, base in (("host form", DEMO["base_url"]), ("path form", DEMO["path_base_url"])):
    answer = send(signed("GET", f"{base}/rest/api/2/issue/DEMO-1?fields=summary%2Cstatus"))
    check(f"{form}: a signed call reads", answer.status_code == 200, answer.body)
    check(f"{form}: its answer is proved", proves(answer) is True, proves(answer))
    body = json.dumps({"body": "signed"}).encode()
    call = signed("POST", f"{base}/rest/api/2/issue/DEMO-1/comment", body)
    answer = send(call)
    check(f"{form}: a signed call writes", answer.status_code == 201, answer.body)
    check(f"{form}: its answer is proved", proves(answer) is True, proves(answer))
    again = send(call)
    check(f"{form}: it passes once", again.headers.get("outhaul-problem") == "signature-replayed", again.body)
    check(f"{form}: that it came before is not signed", proves(again) is not True, again.headers)
    answer.body += b" "
    check(f"{form}: another body is seen", proves(answer) is not True, answer.headers)

parts = signed("GET", f"{DEMO['base_url']}/rest/api/2/issue/DEMO-1", covered=("@method", "@scheme", "@authority", "@path", "@query", "@request-target"))
answer = send(parts)
check("the target in its parts", answer.status_code == 200 and proves(answer) is True, (answer.body, proves(answer)))
call = signed("POST", f"{DEMO['base_url']}/rest/api/2/issue/DEMO-1/comment", b'{"body":"x"}')
call.body = b'{"body":"y"}'
answer = send(call)
check("another body is refused", answer.headers.get("outhaul-problem") == "digest-mismatch", answer.body)
check("and that it was not sent is proved", proves(answer) is True, proves(answer))
call = signed("POST", f"{DEMO['base_url']}/rest/api/2/no/such/thing")
answer = send(call)
check("a refusal of the policy is proved", answer.headers.get("outhaul-problem") == "policy-refused" and proves(answer) is True, (answer.body, proves(answer)))
call = signed("GET", f"{DEMO['base_url']}/rest/api/2/issue/DEMO-1")
call.headers["Range"] = "bytes=0-0"
answer = send(call)
check("a field that was put in is refused", answer.headers.get("outhaul-problem") == "signature-invalid", answer.body)

print("docs/examples/sign.py")
_, example = new_caller("signed-example")
common = ["--key", str(FOLDER / "signed-example.pem"), "--keyid", example["key_id"], "--agent", example["agent"],
          "--agent-key", str(FOLDER / "agent.pub"), "--ca", DEMO["ca_file"]]


def python_example(*arguments):
    # In this process: it knows names under .localhost.
    sys.argv = ["sign.py", *arguments]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            runpy.run_path(str(ROOT / "docs/examples/sign.py"), run_name="__main__")
    except SystemExit as end:
        return end.code
    return None


comment = f"{DEMO['base_url']}/rest/api/2/issue/DEMO-1/comment"
check("it reads", python_example(*common, "GET", f"{DEMO['base_url']}/rest/api/2/issue/DEMO-1?fields=summary") == 0)
check("it writes", python_example(*common, "POST", comment, '{"body":"from Python"}') == 0)
(FOLDER / "wrong.pub").write_bytes((FOLDER / "signed-example.pub").read_bytes())
wrong = [str(FOLDER / "wrong.pub") if part.endswith("agent.pub") else part for part in common]
check("it sees an answer that is not the agent's", python_example(*wrong, "GET", f"{DEMO['base_url']}/rest/api/2/issue/DEMO-1") == 3)

print("docs/examples/sign.sh")


def shell_example(*arguments, **changes):
    environment = {**os.environ, "KEY": str(FOLDER / "signed-example.pem"), "KEYID": example["key_id"], "AGENT": example["agent"],
                   "AGENT_KEY": str(FOLDER / "agent.pub"), "CURL_CA_BUNDLE": DEMO["ca_file"], **changes}
    done = subprocess.run([str(ROOT / "docs/examples/sign.sh"), *arguments], env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


code, out, error = shell_example("GET", f"{DEMO['base_url']}/rest/api/2/issue/DEMO-1?fields=summary")
check("it reads", code == 0 and out.startswith("200 "), (code, out, error))
code, out, error = shell_example("POST", comment, '{"body":"from a shell"}')
check("it writes", code == 0 and out.startswith("201 "), (code, out, error))
code, out, error = shell_example("GET", comment, AGENT_KEY=str(FOLDER / "wrong.pub"))
check("it sees an answer that is not the agent's", code == 3 and "did not sign" in error, (code, out, error))
code, out, error = shell_example("POST", f"{DEMO['base_url']}/rest/api/2/no/such/thing")
check("a refusal is the agent's", code == 0 and out.startswith("403 "), (code, out, error))


def lying_server(component):
    """Answers one call over TLS with a signature that covers this component. Gives its URL and its authority's file."""
    chain, key = FOLDER / "liar.pem", FOLDER / "liar.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(chain)],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    body = b"{}"
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    covered = '"@status" "content-digest" "@method";req "@target-uri";req "signature";req;key="sig1" ' + component

    class Liar(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Digest", f"sha-256=:{digest}:")
            self.send_header("Signature-Input", f'outhaul=({covered});created=1;keyid="{example["agent"]}";alg="ed25519"')
            self.send_header("Signature", "outhaul=:" + "A" * 86 + "==:")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Liar)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.handle_request, daemon=True).start()
    return f"https://localhost:{server.server_port}/x", str(chain)


made = FOLDER / "made-by-a-liar"
for component in [f'"//;etouch${{IFS}}{made};"', '"*"', '"content-digest;e"']:
    url, chain = lying_server(component)
    code, out, error = shell_example("GET", url, CURL_CA_BUNDLE=chain)
    check(f"what a liar names is no program: {component[:12]}", code == 3 and not made.exists(), (code, out, error))
finish()
