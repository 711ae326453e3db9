"""What every row stands on: certificates, the upstream, both nginx contestants, lines, one relay."""
import nginx
from nginx import BIG_PATH, JSON_PATH
from outhaul import Agent, Relay
from processes import free_port, listens, run, start, wait

import load


class Stage:
    def __init__(self, folder, bins, tools, options):
        self.folder, self.tools, self.options = folder, tools, options
        self.relay_program, self.agent_program = bins / "outhaul-relay", bins / "outhaul-agent"
        run([tools, "certificates", folder, "outhaul.localhost"])
        load.CA[:] = [folder / "ca.pem"]
        self.sink_port = free_port()
        sink = start([tools, "sink", "--listen", f"127.0.0.1:{self.sink_port}", "--user", nginx.USER], folder / "sink.log")
        wait("the sink", lambda: listens(self.sink_port), sink)
        self.upstream_port, self.direct_port, self.upstream_workers = nginx.upstream(folder, self.sink_port)
        self.second_port = free_port()
        self.line_ports = {name: free_port() for name in ("far", "window", "narrow")}
        self.chain = nginx.Chain(folder, self.upstream_port, self.sink_port, self.second_port, self.line_ports)
        self._relay, self._agents, self._single, self._lines = None, {}, None, set()

    @property
    def relay(self):
        if self._relay is None:
            self._relay = Relay(self, "shared")
        return self._relay

    def agent(self, site, **options):
        """An agent of the shared relay, started when first asked for."""
        if site not in self._agents:
            self._agents[site] = Agent(self.relay, site, **options)
        return self._agents[site]

    def direct(self):
        return self._nginx("direct", self.direct_port, self.upstream_workers)

    def one_hop(self):
        if self._single is None:
            self._single = nginx.single(self.folder, self.upstream_port, self.sink_port)
        return self._nginx("one nginx", *self._single)

    def two_hops(self, line=""):
        return self._nginx("two nginx", self.chain.ports[line], self.chain.workers)

    @staticmethod
    def _nginx(name, port, workers):
        base = f"https://localhost:{port}"
        return {"name": name, "json": base + JSON_PATH, "big": base + BIG_PATH, "upload": base + "/sink/upload",
                "headers": [], "processes": workers}

    def far(self, kind, line_options):
        """Both contestants with the same kind of line between their two sides. The agent holds one tunnel: one line."""
        self.line(self.line_ports[kind], self.second_port, line_options)
        # What the agent dials; the relay is known first, the line to it comes after.
        port = free_port()
        self.line(port, self.relay.port, line_options)
        agent = self.agent(kind, tunnels=1, line=port)
        return [self.two_hops(kind), agent.contestant("outhaul")]

    def line(self, port, to, options):
        if port in self._lines:
            return
        command = [self.tools, "line", "--listen", f"127.0.0.1:{port}", "--to", f"127.0.0.1:{to}"]
        for name, value in options.items():
            command += [f"--{name}", value]
        process = start(command, self.folder / "line.log")
        wait("a line", lambda: listens(port), process)
        self._lines.add(port)
