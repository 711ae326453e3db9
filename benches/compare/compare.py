"""Requests per second, latency and CPU a request: straight to nginx, through two chained nginx hops, through Outhaul.

All with TLS at the front door, 1 KB of JSON behind, one worker a hop. The three take turns within each round, so that
what else the machine does falls on all alike. Medians over the rounds; what counts is the ratio to the nginx chain.
Outhaul runs as shipped: policy on, a caller's key checked, a service's token put in, the answering user compared.
"""
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = int(os.environ.get("SECONDS_EACH", "5"))
CONNECTIONS = [int(one) for one in os.environ.get("CONNECTIONS", "1,64").split(",")]
TARGET = Path(sys.argv[1]).resolve()
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
USER = "bench"
PATH = "/rest/api/2/issue/BENCH-1"

COMMON = """
worker_processes 1;
daemon off;
master_process on;
pid {folder}/{name}.pid;
error_log {folder}/{name}.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/{name}-body;
    proxy_temp_path {folder}/{name}-proxy;
    fastcgi_temp_path {folder}/{name}-fastcgi;
    uwsgi_temp_path {folder}/{name}-uwsgi;
    scgi_temp_path {folder}/{name}-scgi;
    keepalive_requests 100000000;
    keepalive_timeout 300s;
    tcp_nodelay on;
    ssl_protocols TLSv1.3;
    ssl_certificate {folder}/demo/relay.pem;
    ssl_certificate_key {folder}/demo/relay.key;
    {body}
}}
"""

UPSTREAM = """
    server {{
        listen 127.0.0.1:{plain};
        {tls}
        default_type application/json;
        location / {{
            add_header X-AUSERNAME {user};
            return 200 '{json}';
        }}
    }}
"""

# One hop: TLS in; TLS or plain out, kept alive.
HOP = """
    upstream next {{
        server 127.0.0.1:{next};
        keepalive 128;
        keepalive_requests 100000000;
        keepalive_timeout 300s;
    }}
    server {{
        listen 127.0.0.1:{port} ssl;
        location / {{
            proxy_pass {scheme}://next;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host localhost;
            proxy_ssl_protocols TLSv1.3;
            proxy_ssl_trusted_certificate {folder}/demo/ca.pem;
            proxy_ssl_verify on;
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
        }}
    }}
"""


def free_port():
    import socket
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start_nginx(folder, name, body):
    text = COMMON.format(folder=folder, name=name, body=body)
    file = folder / f"{name}.conf"
    # The first one runs before there are certificates, and needs none.
    if not (folder / "demo" / "relay.pem").exists():
        text = "\n".join(line for line in text.splitlines() if "ssl_certificate" not in line)
    file.write_text(text)
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(file)], stderr=subprocess.DEVNULL)
    for _ in range(100):
        workers = children(process.pid)
        if workers:
            return process, workers
        if process.poll() is not None:
            raise SystemExit(f"nginx ({name}) does not start: see {folder}/{name}.log")
        time.sleep(0.05)
    raise SystemExit(f"nginx ({name}) has no worker")


def children(parent):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


def cpu_seconds(processes):
    """CPU time of processes so far. The scheduler's count where there is one: it is exact."""
    total = 0.0
    for process in processes:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        try:
            total += sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except OSError:
            fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7}


def wrk(url, headers, connections, seconds):
    arguments = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for header in headers:
        arguments += ["-H", header]
    text = subprocess.run(arguments + [url], check=True, stdout=subprocess.PIPE, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"wrk met errors at {url}:\n{text}")

    def latency(percent):
        value, unit = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.M).groups()
        return float(value) * UNITS[unit]

    requests = int(re.search(r"(\d+) requests in", text).group(1))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    return {"requests": requests, "rate": rate, "p50": latency(50), "p99": latency(99)}


def main():
    started = []
    folder = Path(tempfile.mkdtemp(prefix="outhaul-bench-"))
    try:
        body = json.dumps({"key": "BENCH-1", "fields": {"summary": "x" * 960}})
        plain, tls, hop_two, hop_one = free_port(), free_port(), free_port(), free_port()
        user = USER
        upstream, _ = start_nginx(folder, "upstream", UPSTREAM.format(plain=plain, tls="", user=user, json=body))
        started.append(upstream)

        # The demo starts relay and agent with that nginx as its Jira.
        where = folder / "demo.json"
        environment = dict(os.environ, JIRA_URL=f"http://127.0.0.1:{plain}", JIRA_PAT="bench-token", JIRA_USER=user,
                           DEMO_JSON=str(where), DEMO_DIR=str(folder / "demo"), DEMO_UPSTREAM="")
        log = open(folder / "demo.log", "w")
        demo = subprocess.Popen([TARGET / "release/examples/demo"], env=environment, stdout=log, stderr=log)
        started.append(demo)
        for _ in range(600):
            if where.exists():
                break
            if demo.poll() is not None:
                raise SystemExit("the demo did not get ready:\n" + (folder / "demo.log").read_text()[-3000:])
            time.sleep(0.1)
        about = json.loads(where.read_text())
        # A caller of its own: the demo's has links rewritten, which costs.
        command = [about["agent_start"].split()[0], "--config", about["agent_config"], "--json", "caller", "add", "bench"]
        key = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["key"]

        direct, direct_workers = start_nginx(folder, "direct", UPSTREAM.format(
            plain=free_port(), tls=f"listen 127.0.0.1:{tls} ssl;", user=user, json=body))
        started.append(direct)
        second, second_workers = start_nginx(folder, "second", HOP.format(
            port=hop_two, next=plain, scheme="http", folder=folder))
        started.append(second)
        first, first_workers = start_nginx(folder, "first", HOP.format(
            port=hop_one, next=hop_two, scheme="https", folder=folder))
        started.append(first)

        path_form = about["path_base_url"].split("/s/", 1)
        port = path_form[0].rsplit(":", 1)[1]
        # The relay answers the path form under its public name too, which every resolver knows.
        outhaul_url = f"https://localhost:{port}/s/{path_form[1]}{PATH}"
        contenders = {
            "direct": (f"https://localhost:{tls}{PATH}", [], direct_workers),
            "two nginx": (f"https://localhost:{hop_one}{PATH}", [], first_workers + second_workers),
            "outhaul": (outhaul_url, [f"Authorization: Bearer {key}"], [about["pids"]["relay"], about["pids"]["agent"]]),
        }
        measure(contenders)
    finally:
        for process in reversed(started):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def measure(contenders):
    results = {}
    for name, (url, headers, _) in contenders.items():
        wrk(url, headers, 8, 1)  # warm
    for number in range(ROUNDS):
        for connections in CONNECTIONS:
            for name, (url, headers, processes) in contenders.items():
                before = cpu_seconds(processes)
                found = wrk(url, headers, connections, SECONDS)
                found["cpu"] = (cpu_seconds(processes) - before) / found["requests"] * 1e6
                results.setdefault((connections, name), []).append(found)
        print(f"round {number + 1} of {ROUNDS} done", flush=True)
    kinds = ["rate", "p50", "p99", "cpu"]
    medians = {at: {kind: statistics.median(one[kind] for one in found) for kind in kinds}
               for at, found in results.items()}
    print(f"\nmedians of {ROUNDS} rounds of {SECONDS} s, 1 KB, TLS; in brackets the ratio to two nginx hops")
    print(f"{'connections':>11}  {'':10} {'requests/s':>19} {'p50 µs':>17} {'p99 µs':>17} {'CPU µs/request':>17}")
    for (connections, name), median in medians.items():
        base = medians[(connections, "two nginx")]
        cells = [f"{median[kind]:10.0f} ({median[kind] / base[kind]:5.2f})" for kind in kinds]
        print(f"{connections:>11}  {name:10} {cells[0]:>19} {cells[1]:>17} {cells[2]:>17} {cells[3]:>17}")
    file = TARGET / "bench-compare.json"
    file.write_text(json.dumps([{"connections": at[0], "name": at[1], **median, "rounds": results[at]}
                                for at, median in medians.items()], indent=1))
    print(f"\nall rounds: {file}")


main()
