#!/usr/bin/env python3
"""Tokens made by PyJWT, against a whole site: those that PyJWT's own verifier takes under the same conditions get through,
those that it refuses do not, and where the agent is stricter the table says so.

usage: pyjwt.py FOLDER-OF-BINARIES
"""
import json
import ssl
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "faults"))
from whole_site import Site, free_port  # noqa: E402

import jwt  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm  # noqa: E402

ISSUER, AUDIENCE = "https://issuer.example/py", "api://outhaul"
KEYS = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "rsa-4096": rsa.generate_private_key(65537, 4096),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed": ed25519.Ed25519PrivateKey.generate(),
}
STRANGER = rsa.generate_private_key(65537, 2048)
TAKEN = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
checks = 0


def check(what, holds, seen=""):
    global checks
    if not holds:
        raise SystemExit(f"wrong: {what}: {seen}")
    checks += 1
    print(f"ok {what}")


def jwk(name):
    public = KEYS[name].public_key()
    kind = {"r": RSAAlgorithm, "p": ECAlgorithm, "e": OKPAlgorithm}[name[0]]
    return dict(kind.to_jwk(public, as_dict=True), kid=name, use="sig")


asked = []


class Keys(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        body = json.dumps({"keys": [jwk(name) for name in KEYS]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=3600")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(site):
    port = free_port()
    server = ThreadingHTTPServer(("127.0.0.1", port), Keys)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.at / "relay.pem", site.at / "relay.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return port


def claims(**changes):
    now = int(time.time())
    all_of = dict({"iss": ISSUER, "aud": AUDIENCE, "azp": "py", "iat": now, "exp": now + 600}, **changes)
    return {name: value for name, value in all_of.items() if value is not None}


def made(algorithm="RS256", key="rsa", head=None, by=None, **changes):
    head = dict({"kid": key}, **(head or {}))
    return jwt.encode(claims(**changes), by or KEYS[key], algorithm=algorithm, headers=head)


def by_pyjwt(token):
    """What PyJWT's verifier says, asked as strictly as it can be."""
    try:
        name = jwt.get_unverified_header(token).get("kid")
        key = KEYS[name].public_key() if name in KEYS else None
        options = {"require": ["exp", "iss", "aud"]}
        jwt.decode(token, key, algorithms=TAKEN, audience=AUDIENCE, issuer=ISSUER, leeway=60, options=options)
        return True
    except (jwt.PyJWTError, TypeError, KeyError, AttributeError, ValueError):
        return False


def run(site):
    def call(token):
        return site.call("GET", "/jira/rest/api/2/serverInfo", key=token)

    now = int(time.time())
    good = [
        ("RS256", made()),
        ("RS256 with 4096 bits", made(key="rsa-4096")),
        ("RS384", made("RS384")),
        ("RS512", made("RS512")),
        ("PS256", made("PS256")),
        ("ES256", made("ES256", "p256")),
        ("ES384", made("ES384", "p384")),
        ("EdDSA", made("EdDSA", "ed")),
        ("a list of audiences", made(aud=["x", AUDIENCE])),
        ("times with fractions", made(exp=time.time() + 60.5, nbf=time.time() - 0.5)),
        ("expired within the skew", made(exp=now - 20)),
        ("early within the skew", made(nbf=now + 20)),
        ("at+jwt", made(head={"typ": "at+jwt"})),
        ("further claims", made(oid="4f2c", roles=["a"], nested={"deep": {"er": 1}})),
        ("a certificate in the head", made(head={"x5t": "abc", "x5c": ["AAAA"]})),
    ]
    for name, token in good:
        check(f"PyJWT takes {name}", by_pyjwt(token))
        answer = call(token)
        check(f"and so do we: {name}", answer.status == 200, answer)
    bad = [
        ("alg none", jwt.encode(claims(), None, algorithm="none", headers={"kid": "rsa"})),
        ("HS256", jwt.encode(claims(), "a secret of some thirty-two bytes", algorithm="HS256", headers={"kid": "rsa"})),
        ("PS512, which is not taken", made("PS512")),
        ("ES512, which is not taken", made("ES512", "p521")),
        ("a stranger's key under our name", made(by=STRANGER)),
        ("a key of another kind", made("ES256", head={"kid": "rsa"}, by=KEYS["p256"])),
        ("a name that is no key's", made(head={"kid": "other"})),
        ("expired", made(exp=now - 90)),
        ("without an end", made(exp=None)),
        ("early", made(nbf=now + 90)),
        ("issued in the future", made(iat=now + 90)),
        ("another audience", made(aud="api://other")),
        ("no audience", made(aud=None)),
        ("another issuer", made(iss="https://issuer.example/other")),
        ("cut", made()[:-8]),
        ("four parts", made() + ".x"),
    ]
    for name, token in bad:
        check(f"PyJWT refuses {name}", not by_pyjwt(token))
        answer = call(token)
        # What has not three parts is taken for a key.
        code = "caller-unknown" if name == "four parts" else "token-invalid"
        check(f"and so do we: {name}", (answer.status, answer.problem) == (401, code), answer)
    # Where the agent is stricter.
    stricter = [
        ("a logout token", made(head={"typ": "logout+jwt"})),
        ("an end that is a text", made(exp=str(now + 600))),
        ("an audience among other things", made(aud=[AUDIENCE, 1])),
        ("a program that is not named", made(azp="other")),
        ("a token of more than 8 KB", made(pad="x" * 7000)),
    ]
    for name, token in stricter:
        answer = call(token)
        check(f"refused here whatever others do: {name}", (answer.status, answer.problem) == (401, "token-invalid"), answer)
    check("a key of the site is taken as ever", site.call("GET", "/jira/rest/api/2/serverInfo").status == 200)
    # The one at the start, and the one for the key of another name is still within its minute.
    check("the issuer was asked once", asked == ["/keys"], asked)
    status = json.loads(site.command("status", "--json").stdout)["issuers"][0]
    check("the key of P-521 is told as not used", any("p521" in one for one in status["ignored"]), status)
    check("five keys are", status["keys"] == 5, status)


with tempfile.TemporaryDirectory() as folder:
    site = Site(sys.argv[1], folder)
    try:
        port = serve(site)
        algorithms = json.dumps(TAKEN)
        site.start(f"""[issuer.py]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
key-set = "https://localhost:{port}/keys"
ca-file = "{site.about["ca_file"]}"
algorithms = {algorithms}
callers = [{{ claim = "azp", value = "py", caller = "py" }}]
""")
        run(site)
    finally:
        site.stop()
print(f"{checks} checks")
