#!/usr/bin/env bash
# curl through relay and agent: HTTP/1.1 and HTTP/2, both forms, and the parts of HTTP that proxies get wrong.
# usage: curl.sh DEMO.JSON    (the file that `DEMO_JSON=… make demo` writes)
# With OUTHAUL_TEST_WAY=pass-through the base URLs are those whose TLS ends at the agent.
set -u
demo=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
checks=0

value() { python3 -c 'import json,sys; v=json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."): v=v[k]
print(v)' "$demo" "$1"; }
if [ "${OUTHAUL_TEST_WAY:-}" = pass-through ]; then
    base=$(value pass_through_base_url) other=$(value customer_base_url) other_form="customer's name" end=direct
else
    base=$(value base_url) other=$(value path_base_url) other_form="path form" end=relay
fi
key=$(value caller_key)
ca=$(value ca_file)
control=$(value jira_control_url)

# The key goes in by a file: arguments are for everybody to see.
printf 'header = "Authorization: Bearer %s"\n' "$key" >"$work/key"
c() { curl --silent --show-error --max-time 120 --cacert "$ca" --config "$work/key" "$@"; }

check() { # NAME EXPECTED FOUND
    checks=$((checks + 1))
    if [ "$2" = "$3" ]; then
        echo "  ok  $1"
    else
        echo "FAILED: $1: expected “$2”, found “$3”"
        failures=$((failures + 1))
    fi
}
# Part of the stand-in's state, by a Python expression over `s`.
state() { curl --silent --show-error "$control/state" | python3 -c 'import json,sys; s=json.load(sys.stdin)
print('"$1"')'; }
# A header of a saved head, in lower case, without the line's end.
head_of() { tr -d '\r' <"$1" | grep -i "^$2:" | tail -1 | cut -d' ' -f2-; }

echo "curl: $base"
check "whose certificate it is" "CN=Outhaul demo $end" \
    "$(c -v -o "$work/body" "$base/rest/api/2/serverInfo" 2>&1 | sed -n 's/^\*  subject: //p')"
for version in --http1.1 --http2; do
    found=$(c $version -o "$work/body" -w '%{http_version} %{http_code}' "$base/rest/api/2/issue/DEMO-1?fields=summary")
    want=$([ $version = --http2 ] && echo "2 200" || echo "1.1 200")
    check "GET with $version" "$want" "$found"
    check "its JSON" DEMO-1 "$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["key"])' "$work/body")"
    found=$(c $version -o "$work/body" -w '%{http_code}' "$other/rest/api/2/issue/DEMO-1?fields=summary")
    check "$other_form with $version" 200 "$found"
done

check "the key as Basic password" 200 "$(curl -s --cacert "$ca" -o "$work/body" -w '%{http_code}' -u "anyone:$key" "$base/rest/api/2/serverInfo")"
c -D "$work/head" -o "$work/body" "$base/rest/api/2/serverInfo"
check "no cookie of Jira's comes through" "" "$(head_of "$work/head" set-cookie)"

check "204 has no body" "204 0" "$(c -o "$work/body" -w '%{http_code} %{size_download}' -X PUT -H 'Content-Type: application/json' \
    -d '{"name":"alice"}' "$base/rest/api/2/issue/DEMO-2/assignee")"
check "and it was done" alice "$(state "s['issues']['DEMO-2']['assignee']")"

# Uploads: chunked, then 100 MB with a length, each compared with what Jira has.
head -c 3000000 /dev/urandom >"$work/three"
found=$(c --http1.1 -o "$work/body" -w '%{http_code}' -H 'Transfer-Encoding: chunked' -H 'X-Atlassian-Token: no-check' \
    -F "file=@$work/three" "$base/rest/api/2/issue/DEMO-2/attachments")
check "chunked upload" 200 "$found"
check "its checksum" "$(sha256sum <"$work/three" | cut -d' ' -f1)" "$(state "s['issues']['DEMO-2']['attachments'][-1]['sha256']")"
content=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))[0]["content"])' "$work/body")
check "the link is rewritten" "$base" "${content%/secure/*}"

check "GET of it" "$(sha256sum <"$work/three")" "$(c "$content" | sha256sum)"
c -I -D "$work/head" -o /dev/null "$content"
check "HEAD has the length and no body" "3000000" "$(head_of "$work/head" content-length)"
found=$(c -r 1000-1999 -D "$work/head" -o "$work/part" -w '%{http_code} %{size_download}' "$content")
check "Range" "206 1000" "$found"
check "its bytes" "$(tail -c +1001 "$work/three" | head -c 1000 | sha256sum)" "$(sha256sum <"$work/part")"
check "Content-Range" "bytes 1000-1999/3000000" "$(head_of "$work/head" content-range)"
tag=$(head_of "$work/head" etag)
check "304" "304 0" "$(c -o "$work/body" -w '%{http_code} %{size_download}' -H "If-None-Match: $tag" "$content")"

for version in --http1.1 --http2; do
    head -c 104857600 /dev/urandom >"$work/big"
    # The limit of the stand-in is 100 MiB: one byte less than that fits with room.
    truncate -s 104857599 "$work/big"
    found=$(c $version -o "$work/body" -w '%{http_code}' -H 'X-Atlassian-Token: no-check' -F "file=@$work/big" \
        "$base/rest/api/2/issue/DEMO-2/attachments")
    check "100 MB up with $version" 200 "$found"
    check "its checksum" "$(sha256sum <"$work/big" | cut -d' ' -f1)" "$(state "s['issues']['DEMO-2']['attachments'][-1]['sha256']")"
    content=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))[0]["content"])' "$work/body")
    check "100 MB down with $version" "$(sha256sum <"$work/big")" "$(c $version "$content" | sha256sum)"
done
rm -f "$work/big"

c --http1.1 -v -o "$work/body" -H 'Expect: 100-continue' -H 'Content-Type: application/json' \
    -d '{"body":"after 100"}' "$base/rest/api/2/issue/DEMO-2/comment" 2>"$work/log"
check "100-continue, then the answer" "100 201" "$(tr -d '\r' <"$work/log" | sed -n 's/^< HTTP\/1.1 \([0-9]*\).*/\1/p' | xargs)"
check "the comment is there" "after 100" "$(state "s['issues']['DEMO-2']['comments'][-1]['body']")"
c --http1.1 -v -o "$work/body" -H 'Expect: 100-continue' -H 'Content-Type: application/json' --expect100-timeout 20 \
    -d '{"name":"x"}' "$base/rest/api/2/user" 2>"$work/log"
check "no 100 for a call that is refused" "403" "$(tr -d '\r' <"$work/log" | sed -n 's/^< HTTP\/1.1 \([0-9]*\).*/\1/p' | xargs)"

# gzip: a caller without rewrite-links gets Jira's very bytes.
agent=$(value agent_start)
plain=$("${agent%% *}" --config "$(value agent_config)" caller add "curl-$$" --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["key"])')
printf 'header = "Authorization: Bearer %s"\n' "$plain" >"$work/plain"
curl -s --max-time 60 --cacert "$ca" --config "$work/plain" -H 'Accept-Encoding: gzip' -D "$work/head" -o "$work/body" \
    "$base/rest/api/2/issue/DEMO-1"
check "gzip stays" "gzip 1f8b" "$(head_of "$work/head" content-encoding) $(head -c 2 "$work/body" | od -An -tx1 | tr -d ' ')"
check "and unpacks" DEMO-1 "$(gunzip <"$work/body" | python3 -c 'import json,sys; print(json.load(sys.stdin)["key"])')"
check "links stay as Jira wrote them" 1 "$(gunzip <"$work/body" | grep -c 'https://jira.corp.invalid/jira/rest')"
"${agent%% *}" --config "$(value agent_config)" caller remove "curl-$$" >/dev/null
check "a removed caller is refused at once" 401 "$(curl -s --cacert "$ca" --config "$work/plain" -o /dev/null -w '%{http_code}' "$base/rest/api/2/serverInfo")"

# The query passes byte for byte.
query='jql=summary+~+%22a%2Fb%22+AND+project%3DDEMO&x=%C3%A4&y=1%252F2&empty='
c -o /dev/null "$base/rest/api/2/search?$query"
check "the query is untouched" "/jira/rest/api/2/search?$query" \
    "$(curl -s "$control/requests" | python3 -c 'import json,sys; print(json.load(sys.stdin)[-1]["target"])')"

problem() { # NAME STATUS CODE ARGUMENTS…
    local name=$1 status=$2 code=$3
    shift 3
    c -D "$work/head" -o "$work/body" "$@"
    check "$name" "$status $code application/problem+json urn:outhaul:problem:$code True" \
        "$(tr -d '\r' <"$work/head" | sed -n 's/^HTTP[^ ]* \([0-9]*\).*/\1/p' | tail -1) $(head_of "$work/head" outhaul-problem) $(
            head_of "$work/head" content-type) $(python3 -c 'import json,sys
d=json.load(open(sys.argv[1])); print(d["type"], all(d.get(k) for k in ("title","detail","fault","retry","outcome","request_id")))' "$work/body")"
}
problem "refused by policy" 403 policy-refused "$base/rest/pat/latest/tokens"
problem "an ambiguous path" 400 ambiguous-path --path-as-is "$base/rest/api/2/issue/../user"
problem "an encoded slash" 400 ambiguous-path "$base/rest/api/2/issue/a%2Fb"
problem "an upgrade" 501 upgrade-refused --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
    -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==' "$base/rest/api/2/serverInfo"
printf 'header = "Authorization: Bearer ohk_nobody_x"\n' >"$work/key"
problem "a key nobody has" 401 caller-unknown "$base/rest/api/2/serverInfo"

echo "$checks checks, $failures failed"
[ "$failures" = 0 ]
