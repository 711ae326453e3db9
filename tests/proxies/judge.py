"""A CONNECT proxy that lets in only whom an independent library has authenticated: pyspnego for NTLM and Negotiate, or
MIT Kerberos (by python3-gssapi) for Negotiate with tickets.

Usage: judge.py ntlm|negotiate|kerberos [--body length|chunked|none] [--ask-first] [--certificate FILE --key FILE]
NTLM's accounts are those of $NTLM_USER_FILE (DOMAIN:user:password a line); Kerberos' keys those of $KRB5_KTNAME.

Prints to standard error: `listening PORT`, then a line for each login: `accepted NAME` or `refused WHY`.
"""

import argparse
import asyncio
import base64
import ssl
import sys


def say(*words):
    print(*words, file=sys.stderr, flush=True)


class Library:
    """pyspnego."""

    def __init__(self, scheme):
        import spnego

        self.context = spnego.server(protocol=scheme, options=spnego.NegotiateOptions.use_ntlm if scheme == "ntlm" else 0)

    def step(self, token):
        return self.context.step(token)

    def complete(self):
        return self.context.complete

    def who(self):
        return self.context.client_principal


class Kerberos:
    """MIT Kerberos, as acceptor with the keys of a keytab."""

    def __init__(self):
        import gssapi

        self.context = gssapi.SecurityContext(creds=gssapi.Credentials(usage="accept"), usage="accept")

    def step(self, token):
        return self.context.step(token)

    def complete(self):
        return self.context.complete

    def who(self):
        return str(self.context.initiator_name)


async def head(reader):
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    return lines[0].split(" "), fields


def refusal(challenge, body):
    page = b"<html>" + b"Who are you? " * 2000 + b"</html>"
    answer = f"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: {challenge}\r\nContent-Type: text/html\r\n"
    if body == "chunked":
        cut = len(page) // 2
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (page[:cut], page[cut:]))
        return answer.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    if body == "none":
        return answer.encode() + b"Content-Length: 0\r\n\r\n"
    return answer.encode() + b"Content-Length: %d\r\n\r\n" % len(page) + page


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(options, reader, writer):
    scheme = "NTLM" if options.scheme == "ntlm" else "Negotiate"
    context = None
    asked = not options.ask_first
    try:
        while True:
            (method, target, _), fields = await head(reader)
            given, _, token = fields.get("proxy-authorization", "").partition(" ")
            if method != "CONNECT":
                writer.write(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
                return
            if not asked or given != scheme:
                asked = True
                writer.write(refusal(scheme, options.body))
                await writer.drain()
                continue
            if context is None:
                context = Kerberos() if options.scheme == "kerberos" else Library(options.scheme)
            try:
                answer = context.step(base64.b64decode(token))
            except Exception as error:  # Whatever the library says is a refusal.
                say("refused", type(error).__name__, str(error).replace("\n", " "))
                context = None
                writer.write(refusal(scheme, options.body))
                await writer.drain()
                continue
            if context.complete():
                break
            writer.write(refusal(f"{scheme} {base64.b64encode(answer or b'').decode()}", options.body))
            await writer.drain()
        say("accepted", context.who())
        host, _, port = target.rpartition(":")
        there, back = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(copy(reader, back), copy(there, writer))
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("scheme", choices=["ntlm", "negotiate", "kerberos"])
    parser.add_argument("--body", choices=["length", "chunked", "none"], default="length")
    parser.add_argument("--ask-first", action="store_true", help="heed no login that was not asked for")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    options = parser.parse_args()
    tls = None
    if options.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.certificate, options.key)
    server = await asyncio.start_server(lambda *both: serve(options, *both), "127.0.0.1", 0, ssl=tls, limit=1 << 20)
    say("listening", server.sockets[0].getsockname()[1])
    await server.serve_forever()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(0)
