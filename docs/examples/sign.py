#!/usr/bin/env python3
"""Signs one call to Outhaul and checks the signed answer, as docs/signed.md says. Needs the package `cryptography`.

usage: sign.py --key caller.pem --keyid ohs_… --agent ID --agent-key agent.pub [--ca FILE] [--act-as PERSON] METHOD URL [BODY]

Exit status: 0 the agent's own answer; 3 an answer that proves nothing: what became of the call is unknown.
"""
import argparse
import base64
import hashlib
import http.client
import os
import ssl
import sys
import time
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key


def digest(body):
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def sign(key, keyid, method, target_uri, fields):
    """The fields Signature-Input and Signature over the method, the address and all of `fields`."""
    values = {"@method": method, "@target-uri": target_uri, **fields}
    now = int(time.time())
    nonce = base64.b64encode(os.urandom(18)).decode()
    parameters = "({});created={};expires={};nonce=\"{}\";keyid=\"{}\";alg=\"ed25519\";tag=\"outhaul\"".format(
        " ".join(f'"{name}"' for name in values), now, now + 120, nonce, keyid)
    base = "".join(f'"{name}": {value}\n' for name, value in values.items()) + f'"@signature-params": {parameters}'
    signature = base64.b64encode(key.sign(base.encode())).decode()
    return {"Signature-Input": f"sig1={parameters}", "Signature": f"sig1=:{signature}:"}


def check(agent_key, agent, method, target_uri, signature, status, headers, body):
    """Says nothing if this is the agent's answer to this very call; else raises ValueError."""
    label, _, parameters = headers.get("Signature-Input", "").partition("=")
    value = headers.get("Signature", "")
    if label != "outhaul" or not value.startswith("outhaul=:"):
        raise ValueError("it is not signed")
    components = parameters[1:parameters.index(")")].split(" ")
    must = ['"@status"', '"content-digest"', '"@method";req', '"@target-uri";req', '"signature";req;key="sig1"']
    if headers.get("Outhaul-Problem"):
        must.append('"outhaul-problem"')
    if not set(must) <= set(components) or f';keyid="{agent}";' not in parameters:
        raise ValueError("it is signed, but not as the answer to this call")
    if headers["Content-Digest"] != digest(body):
        raise ValueError("its body is another")
    known = {'"@status"': str(status), '"@method";req': method, '"@target-uri";req': target_uri,
             '"signature";req;key="sig1"': signature.partition("=")[2]}
    lines = [f"{name}: {known[name] if name in known else headers[name.strip(chr(34))]}" for name in components]
    base = "\n".join(lines + [f'"@signature-params": {parameters}'])
    try:
        agent_key.verify(base64.b64decode(value[len("outhaul=:"):-1]), base.encode())
    except InvalidSignature:
        raise ValueError("the agent did not sign it") from None


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n")[2][len("usage: "):])
    for name in ("--key", "--keyid", "--agent", "--agent-key"):
        parser.add_argument(name, required=True)
    parser.add_argument("--ca")
    parser.add_argument("--act-as")
    parser.add_argument("method")
    parser.add_argument("url")
    parser.add_argument("body", nargs="?", default="")
    given = parser.parse_args()
    with open(given.key, "rb") as file:
        key = load_pem_private_key(file.read(), None)
    with open(given.agent_key, "rb") as file:
        agent_key = load_pem_public_key(file.read())

    url, body = urlsplit(given.url), given.body.encode()
    target = url.path + (f"?{url.query}" if url.query else "")
    authority = url.netloc.lower().removesuffix(":443")
    target_uri = f"https://{authority}{target}"
    fields = {"content-digest": digest(body), "outhaul-agent": given.agent}
    if body:
        fields["content-type"] = "application/json"
    if given.act_as:
        fields["outhaul-act-as"] = given.act_as
    fields.update(sign(key, given.keyid, given.method, target_uri, fields))

    trust = ssl.create_default_context(cafile=given.ca)
    connection = http.client.HTTPSConnection(url.hostname, url.port or 443, context=trust, timeout=60)
    connection.request(given.method, target, body or None, {"Host": authority, **fields})
    answer = connection.getresponse()
    text = answer.read()
    print(answer.status, text.decode(errors="replace"))
    try:
        check(agent_key, given.agent, given.method, target_uri, fields["Signature"], answer.status, answer.headers, text)
    except (ValueError, KeyError) as fault:
        print(f"The answer proves nothing: {fault}. Whether the call was made is unknown.", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
