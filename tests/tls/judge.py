#!/usr/bin/env python3
"""testssl.sh judges both ends of TLS that callers meet: the relay's, and the agent's under a name that passes the relay unopened.
A finding above LOW fails, and so does a check that could not be made.

usage: judge.py DEMO.JSON FOLDER    (the file that `DEMO_JSON=… make demo` writes; reports are left in the folder)
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.parse

with open(sys.argv[1]) as file:
    DEMO = json.load(file)
FOLDER = sys.argv[2]

PATH = "/rest/api/2/serverInfo"
# (what it is, base URL, the name in the certificate)
ENDS = (
    ("relay", DEMO["base_url"], "Outhaul demo relay"),
    ("agent", DEMO["pass_through_base_url"], "Outhaul demo direct"),
)

# Protocols, faults of implementations, categories of ciphers, forward secrecy, order, certificate, header fields, and all
# vulnerabilities that it knows. Not the simulation of clients, which takes long and judges nothing.
CHECKS = ("-p", "-g", "-s", "-f", "-P", "-S", "-h", "-U")
SECONDS = 160

# Harmless, or to be mended: these do not fail.
BELOW = ("OK", "INFO", "LOW")

# What is known, each with its reason. The first two are about the certificate that the demo makes itself.
KNOWN = {
    "cert_validityPeriod": "the demo's certificate ends in 4096, so that no test depends on the date",
    "cert_revocation": "the demo's authority publishes neither CRL nor OCSP",
    "sessionresumption_ticket": "the check hangs up before TLS 1.3's tickets come, and has none to try then",
}

# Without these a report is none: what it says last, and one of each kind of check.
NEEDED = ("scanTime", "TLS1", "TLS1_3", "GREASE", "cipherlist_NULL", "PFS", "cipher_order", "cert_commonName",
          "HTTP_status_code", "heartbleed", "ROBOT", "secure_client_renego", "LUCKY13", "RC4")

done = 0
failed = 0


def check(what, holds, found=""):
    global done, failed
    done += 1
    failed += not holds
    print(f"  ok  {what}" if holds else f"FAILED: {what}: {found}")


def scan(name, host, port, path, checks):
    """What testssl.sh found at a port of this machine, as id → list of (severity, finding)."""
    report = os.path.join(FOLDER, f"testssl-{name}.json")
    if os.path.exists(report):
        os.remove(report)
    command = ["testssl", "--ip", "127.0.0.1", "--nodns", "none", "--warnings", "off", "--color", "0", "--quiet",
               "--add-ca", DEMO["ca_file"], "--jsonfile", report, *checks, f"https://{host}:{port}{path}"]
    with open(os.path.join(FOLDER, f"testssl-{name}.txt"), "w") as log:
        try:
            # Its status is the number of findings: the report says more.
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return {}
    findings = {}
    try:
        with open(report) as file:
            for one in json.load(file):
                findings.setdefault(one["id"].split(" ")[0], []).append((one["severity"], one["finding"]))
    except (OSError, ValueError) as error:
        print(f"no report: {error}")
    return findings


def bad(findings, known):
    return {f"{severity} {name}: {finding}" for name, all in findings.items() for severity, finding in all
            if severity not in BELOW and name not in known}


def judge(name, common_name, findings):
    missing = [one for one in NEEDED if one not in findings]
    check(f"{name}: all checks were made", not missing, missing or "")
    shown = [finding for _, finding in findings.get("cert_commonName", [])]
    check(f"{name}: it is this end that was judged", shown == [common_name], shown)
    refused = [findings.get(one, [("", "")])[0][1] for one in ("SSLv2", "SSLv3", "TLS1", "TLS1_1")]
    check(f"{name}: nothing older than TLS 1.2", all(one.startswith("not offered") for one in refused), refused)
    found = bad(findings, KNOWN)
    check(f"{name}: no finding above LOW", not found, "; ".join(sorted(found)))
    severities = [severity for all in findings.values() for severity, _ in all]
    known = sorted(one for one in KNOWN if bad({one: findings.get(one, [])}, ()))
    print(f"      {len(severities)} findings, {severities.count('LOW')} of them LOW; known: {', '.join(known)}")


def control():
    """That the judge finds something: a server which anybody may pose as."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        key, chain = os.path.join(folder, "key"), os.path.join(folder, "chain")
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
                        "-keyout", key, "-out", chain], check=True, **quiet)
        server = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-key", key, "-cert", chain,
                                   "-www", "-tls1_2", "-cipher", "ALL:aNULL:eNULL:@SECLEVEL=0"], **quiet)
        try:
            # It may not listen yet; the scan itself would take that for the end.
            for _ in range(100):
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    threading.Event().wait(0.05)
            return bad(scan("control", "localhost", port, "/", ("-s",)), KNOWN)
        finally:
            server.kill()
            server.wait()


def main():
    for program in ("testssl", "openssl"):
        if shutil.which(program) is None:
            sys.exit(f"no {program} here")
    results = {}

    def run(name, url):
        parts = urllib.parse.urlsplit(url)
        results[name] = scan(name, parts.hostname, parts.port, parts.path + PATH, CHECKS)

    # Side by side: most of the time it waits for what must not come.
    scans = [threading.Thread(target=run, args=(name, url)) for name, url, _ in ENDS]
    for one in scans:
        one.start()
    for one in scans:
        one.join()
    for name, _, common_name in ENDS:
        judge(name, common_name, results[name])
    found = control()
    check("control: a server without authentication is found", any("aNULL" in one for one in found), found)
    print(f"{done} checks, {failed} failed")
    sys.exit(1 if failed else 0)


main()
