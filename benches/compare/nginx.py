"""The peers: the upstream that all share, and nginx as one hop and as two."""
import json
import os
import shutil

from processes import children, free_port, start, wait, listens

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
USER = "bench"
JSON_PATH = "/rest/api/2/issue/BENCH-1"
BIG_PATH = "/secure/attachment/1/big"
BIG = 100 * 1000 * 1000

COMMON = """
worker_processes 1;
daemon off;
master_process on;
pid {folder}/{name}.pid;
error_log {folder}/{name}.log warn;
events {{ worker_connections 4096; }}
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
    sendfile on;
    client_max_body_size 0;
    ssl_protocols TLSv1.3;
    ssl_certificate {folder}/relay.pem;
    ssl_certificate_key {folder}/relay.key;
    # A body goes on as it comes: neither held until it is whole, nor written to disk.
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host localhost;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_trusted_certificate {folder}/ca.pem;
    proxy_ssl_verify on;
    proxy_ssl_name localhost;
    proxy_ssl_server_name on;
    {body}
}}
"""

# What a hop goes on to, kept alive.
NEXT = """
    upstream {name} {{
        server 127.0.0.1:{port};
        keepalive 300;
        keepalive_requests 100000000;
        keepalive_timeout 300s;
    }}
"""

UPSTREAM = """
    server {{
        listen 127.0.0.1:{plain} backlog=4096;
        listen 127.0.0.1:{tls} ssl backlog=4096;
        default_type application/json;
        root {folder}/www;
        add_header X-AUSERNAME {user};
        location / {{ return 200 '{json}'; }}
        location = /rest/api/2/myself {{ return 200 '{myself}'; }}
        location /secure/ {{ }}
        location /sink/ {{ proxy_pass http://sink/; }}
    }}
"""

HOP = """
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        location / {{ proxy_pass {to}; }}
        {more}
    }}
"""

# Where uploads leave the upstream's way: nginx can't swallow them without writing them to disk.
TO_SINK = "location /sink/ { proxy_pass http://sink/; }"


class Nginx:
    """One nginx with one worker."""

    def __init__(self, folder, name, body, port):
        file = folder / f"{name}.conf"
        file.write_text(COMMON.format(folder=folder, name=name, body=body))
        process = start([NGINX, "-p", folder, "-c", file], folder / f"{name}.out")
        process.log = folder / f"{name}.log"
        wait(f"nginx ({name})", lambda: listens(port), process)
        self.workers = children(process.pid)


def upstream(folder, sink_port):
    """What everybody asks: 1 KB of JSON, a file of 100 MB, and a way to the sink. Gives its ports: plain and TLS."""
    plain, tls = free_port(), free_port()
    (folder / "www/secure/attachment/1").mkdir(parents=True)
    # A worker that is not root's must be able to read it.
    for one in (folder, folder / "www", folder / "www/secure", folder / "www/secure/attachment", folder / "www/secure/attachment/1"):
        one.chmod(0o755)
    with open(folder / f"www{BIG_PATH}", "wb") as file:
        piece = os.urandom(1000 * 1000)
        for _ in range(BIG // len(piece)):
            file.write(piece)
    body = json.dumps({"key": "BENCH-1", "fields": {"summary": "x" * 960}})
    # Whose the tokens are, for a person who is linked.
    myself = json.dumps({"key": "JIRAUSER1", "name": USER, "displayName": "Bench", "active": True})
    server = UPSTREAM.format(plain=plain, tls=tls, folder=folder, user=USER, json=body, myself=myself)
    nginx = Nginx(folder, "upstream", NEXT.format(name="sink", port=sink_port) + server, plain)
    return plain, tls, nginx.workers


def single(folder, upstream_port, sink_port):
    """One hop."""
    port = free_port()
    body = NEXT.format(name="next", port=upstream_port) + NEXT.format(name="sink", port=sink_port)
    return port, Nginx(folder, "single", body + HOP.format(port=port, to="http://next", more=TO_SINK), port).workers


class Chain:
    """Two hops with TLS before, between and not behind them. `lines`: further ports of the first hop, by name, whose
    way to the second leads over a line at that port."""

    def __init__(self, folder, upstream_port, sink_port, second_port, lines):
        body = NEXT.format(name="next", port=upstream_port) + NEXT.format(name="sink", port=sink_port)
        body += HOP.format(port=second_port, to="http://next", more=TO_SINK)
        second = Nginx(folder, "second", body, second_port)
        self.ports, body = {}, ""
        for name, port in {"": second_port, **lines}.items():
            self.ports[name] = free_port()
            body += NEXT.format(name=f"next{name}", port=port)
            body += HOP.format(port=self.ports[name], to=f"https://next{name}", more="")
        first = Nginx(folder, "first", body, self.ports[""])
        self.workers = first.workers + second.workers
