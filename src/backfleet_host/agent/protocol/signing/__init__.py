"""The host's RSA key and its signatures: the wire's RSASSA-PKCS1-v1_5 with MD5 (protocol page, section 2).

Verbs: `make_key` makes a key; `read_private_pem`, `private_pem` and `public_pem` read and write one; `Signer(key).sign`
signs a message. Three implementations give the same result, and the first that works on this host is used: the package
`cryptography`, the command `openssl`, and our own Python (docs/decisions/0024-signing-on-hosts.md).
"""

from backfleet_host.agent.protocol.signing.key import (
    SigningKey,
    WrongSignature,
    private_pem,
    public_pem,
    read_private_pem,
)
from backfleet_host.agent.protocol.signing.signer import Signer, make_key

__all__ = ["Signer", "SigningKey", "WrongSignature", "make_key", "private_pem", "public_pem", "read_private_pem"]
