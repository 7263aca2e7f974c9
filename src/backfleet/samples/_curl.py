"""curl, with the signature computed by the script itself (ACS3-HMAC-SHA256)."""

from backfleet.samples._call import SampleCall, Value
from backfleet.samples._quoting import shell
from backfleet.samples._texts import AUTHORITY, KEY_ID, SECRET, TIMEOUT_MS, TOKEN, commented, header

ENCODING = r"""
# Percent-encode a text into `encoded`, byte by byte (RFC 3986).
encode() {
  local LC_ALL=C text=$1 at each code
  encoded=
  for ((at = 0; at < ${#text}; at++)); do
    each=${text:at:1}
    case $each in
      [a-zA-Z0-9_.~-]) ;;
      *) printf -v code %d "'$each" && printf -v each %%%02X "$((code & 255))" ;;
    esac
    encoded+=$each
  done
}
"""
DIGESTS = rf"""
hex() {{ od -An -v -tx1 | tr -d ' \n'; }}
sha256() {{ openssl dgst -sha256 -binary; }}
# The secret (of at most 64 bytes), filled up to 64, each XOR $1: HMAC by hand, for a command line is no place for it.
pad() {{
  local LC_ALL=C at code
  for ((at = 0; at < 64; at++)); do
    printf -v code %d "'${{{SECRET}:at:1}}"
    printf -v code %x "$((code ^ $1))"
    printf "\\x$code"
  done
}}
hmac() {{ {{ pad 0x5c; {{ pad 0x36; cat; }} | sha256; }} | sha256 | hex; }}
"""


def write(call: SampleCall) -> str:
    """Return the script, for bash."""
    comment = commented(header(call, "bash, curl and openssl"), "#")
    return f"#!/usr/bin/env bash\n{comment}\nset -euo pipefail\n{ENCODING}{DIGESTS}{_request(call)}{_sending(call)}"


def _request(call: SampleCall) -> str:
    """Return the lines that make body, query and headers."""
    operation = call.operation
    pairs = "".join(f"  {shell(value.name)} {_text(value)}\n" for value in _ordered(call))
    encoded = f"""
parameters=(
{pairs})
form=
for ((at = 0; at < ${{#parameters[@]}}; at += 2)); do
  encode "${{parameters[at]}}" && form+=${{form:+&}}$encoded=
  encode "${{parameters[at + 1]}}" && form+=$encoded
done
"""
    if operation.streams:
        rest = (
            f'file={shell(call.file)}\nquery=$form\nhash=$(sha256 <"$file" | hex)\ncontent=application/octet-stream\n'
        )
    else:
        rest = 'query=\nhash=$(printf %s "$form" | sha256 | hex)\ncontent=application/x-www-form-urlencoded\n'
    return encoded + rest


def _sending(call: SampleCall) -> str:
    operation, target = call.operation, call.target
    body = '--data-binary "@$file"' if operation.streams else '--data-binary @<(printf %s "$form")'
    return f"""
headers=(
  "content-type:$content"
  "host:{target.endpoint}"
  "x-acs-action:{operation.name}"
  "x-acs-content-sha256:$hash"
  "x-acs-date:$(date -u +%Y-%m-%dT%H:%M:%SZ)"
)
if [ -n "${{{TOKEN}:-}}" ]; then
  headers+=("x-acs-accesskey-id:${KEY_ID}" "x-acs-security-token:${TOKEN}")
fi
headers+=("x-acs-signature-nonce:$(openssl rand -hex 16)" "x-acs-version:{operation.product.version}")
mapfile -t headers < <(printf '%s\\n' "${{headers[@]}}" | LC_ALL=C sort)

names=$(printf '%s\\n' "${{headers[@]%%:*}}" | paste -sd ';')
canonical=$(printf '%s\\n' POST / "$query" "${{headers[@]}}" '' "$names" "$hash")
to_sign=ACS3-HMAC-SHA256$'\\n'$(printf %s "$canonical" | sha256 | hex)
signature=$(printf %s "$to_sign" | hmac)
headers+=("authorization:ACS3-HMAC-SHA256 Credential=${KEY_ID},SignedHeaders=$names,Signature=$signature")

authority=()
if [ -n "${{{AUTHORITY}:-}}" ]; then authority=(--cacert "${AUTHORITY}"); fi
# Headers and parameters are handed over as files: a command line can be read by others.
if ! answer=$(curl --silent --show-error --fail-with-body --max-time {TIMEOUT_MS // 1000} "${{authority[@]}}" \\
  --header @<(printf '%s\\n' "${{headers[@]}}") {body} \\
  "{target.address}/${{query:+?$query}}"); then
  printf '%s\\n' "$answer" >&2
  exit 1
fi
printf '%s\\n' "$answer"
"""


def _ordered(call: SampleCall) -> list[Value]:
    return sorted(call.values, key=lambda value: value.name.encode())


def _text(value: Value) -> str:
    return f'"${value.variable}"' if value.variable else shell(value.text)
