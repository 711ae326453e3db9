#!/bin/sh
# Signs one call to Outhaul with openssl (3.0 or later), sends it with curl and checks the signed answer, as
# docs/signed.md says.
#
# usage: KEY=caller.pem KEYID=ohs_… AGENT=ID AGENT_KEY=agent.pub [CURL_CA_BUNDLE=FILE] sign.sh METHOD URL [BODY]
#
# Exit status: 0 the agent's own answer; 3 an answer that proves nothing: what became of the call is unknown.
set -eu
method=$1 url=$2 body=${3-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

digest() { printf 'sha-256=:%s:' "$(openssl dgst -sha256 -binary "$1" | openssl base64 -A)"; }

# The host in lower case and without the port 443; the rest as it is.
authority=$(printf %s "$url" | sed 's|^https://\([^/]*\).*|\1|; s|:443$||' | tr '[:upper:]' '[:lower:]')
target=/$(printf %s "$url" | sed 's|^https://[^/]*/*||')
uri=https://$authority$target
printf %s "$body" >"$work/body"
content=$(digest "$work/body")

now=$(date +%s)
list='"@method" "@target-uri" "content-digest" "outhaul-agent"'
{
    printf '"@method": %s\n"@target-uri": %s\n"content-digest": %s\n"outhaul-agent": %s\n' "$method" "$uri" "$content" "$AGENT"
    if [ -n "$body" ]; then printf '"content-type": application/json\n'; fi
} >"$work/base"
if [ -n "$body" ]; then list="$list \"content-type\""; fi
parameters="($list);created=$now;expires=$((now + 120));nonce=\"$(openssl rand -base64 18)\";keyid=\"$KEYID\";alg=\"ed25519\";tag=\"outhaul\""
printf '"@signature-params": %s' "$parameters" >>"$work/base"
openssl pkeyutl -sign -inkey "$KEY" -rawin -in "$work/base" -out "$work/signature"
signature=:$(openssl base64 -A -in "$work/signature"):

# Fields that curl sends by itself are not signed, and end at the agent.
if [ -n "$body" ]; then set -- --data-binary "@$work/body" -H 'Content-Type: application/json'; else set --; fi
status=$(curl -sS -X "$method" -H "Host: $authority" -H "Content-Digest: $content" -H "Outhaul-Agent: $AGENT" \
    -H "Signature-Input: sig1=$parameters" -H "Signature: sig1=$signature" "$@" \
    -D "$work/head" -o "$work/answer" -w '%{http_code}' "https://$authority$target")
touch "$work/answer"
echo "$status $(cat "$work/answer")"

unknown() {
    echo "The answer proves nothing: $1. Whether the call was made is unknown." >&2
    exit 3
}
# Only for names that were looked at: they become part of a program.
field() { tr -d '\r' <"$work/head" | sed -n "s/^$1: *//Ip" | tail -1; }

input=$(field signature-input)
case $input in outhaul=\(*) input=${input#outhaul=} ;; *) unknown "it is not signed" ;; esac
list=${input#(} list=${list%%)*}
# Nothing of it is believed yet: names are no patterns for files either.
set -f
for must in '"@status"' '"content-digest"' '"@method";req' '"@target-uri";req' '"signature";req;key="sig1"' \
    $(if [ -n "$(field outhaul-problem)" ]; then echo '"outhaul-problem"'; fi); do
    case " $list " in *" $must "*) ;; *) unknown "$must is not signed" ;; esac
done
case $input in *";keyid=\"$AGENT\";"*) ;; *) unknown "another agent signed it" ;; esac
[ "$(field content-digest)" = "$(digest "$work/answer")" ] || unknown "its body is another"
for name in $list; do
    case $name in
    '"@status"') value=$status ;;
    '"@method";req') value=$method ;;
    '"@target-uri";req') value=$uri ;;
    '"signature";req;key="sig1"') value=$signature ;;
    *)
        case $name in *[!a-z0-9\"-]*) unknown "it covers what no answer of an agent has" ;; esac
        value=$(field "$(printf %s "$name" | tr -d '"')")
        ;;
    esac
    printf '%s: %s\n' "$name" "$value"
done >"$work/base"
printf '"@signature-params": %s' "$input" >>"$work/base"
field signature | sed 's/^outhaul=:\(.*\):$/\1/' | openssl base64 -d -A -out "$work/signature"
openssl pkeyutl -verify -pubin -inkey "$AGENT_KEY" -rawin -in "$work/base" -sigfile "$work/signature" >/dev/null 2>&1 ||
    unknown "the agent did not sign it"
