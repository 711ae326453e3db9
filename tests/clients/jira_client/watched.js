// Loaded before the library under test (node --require): an eye on every connection and look-up of this process.
// One to anywhere but the relay, or the stand-in's control port, is remembered and fails the run.
'use strict';
const dgram = require('dgram');
const dns = require('dns');
const net = require('net');

const demo = require(require('path').resolve(process.argv[2]));
const port = (url) => Number(new URL(url).port);
const relay = port(demo.base_url);
const control = port(demo.jira_control_url);
const seen = { relay: 0, control: 0, elsewhere: [] };

const local = (host) => host === undefined || host === 'localhost' || host === '127.0.0.1' || host.endsWith('.localhost');

// Every TCP and TLS connection of node begins here.
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const first = Array.isArray(given[0]) ? given[0][0] : given[0];
  const to = typeof first === 'object' ? first : { port: first, host: given[1] };
  if (local(to.host) && Number(to.port) === relay) seen.relay += 1;
  else if (local(to.host) && Number(to.port) === control) seen.control += 1;
  else seen.elsewhere.push(`connect ${to.host}:${to.port || to.path}`);
  return connect.apply(this, given);
};

// Names under .localhost mean this machine (RFC 6761, section 6.3), which not every resolver knows.
const lookup = dns.lookup;
dns.lookup = function (name, options, callback) {
  const done = callback || options;
  if (!local(name)) {
    seen.elsewhere.push(`look-up of ${name}`);
  } else if (!net.isIP(name)) {
    const all = typeof options === 'object' && options.all;
    process.nextTick(() => (all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)));
    return undefined;
  }
  return lookup.call(dns, name, options, callback);
};
for (const name of ['resolve', 'resolve4', 'resolve6', 'resolveAny']) {
  dns[name] = dns.promises[name] = (host) => {
    seen.elsewhere.push(`${name} of ${host}`);
    throw new Error('no look-ups here');
  };
}
dgram.Socket.prototype.send = function () {
  seen.elsewhere.push('a datagram');
};

module.exports = { demo, seen };
