"""Mail: one message over SMTP, encrypted wherever the server of mail can."""

import json
import smtplib
import ssl
from dataclasses import field
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from backfleet.notifications.model import Notice
from backfleet.values import value_object


@value_object
class Mail:
    """A mail server. `encrypted` says how: `starttls`, `tls`, or `plain` for one on this machine."""

    host: str
    port: int
    encrypted: str
    user: str
    password: str = field(repr=False)
    sender: str


def read_mail(url: str, password: str, sender: str) -> Mail:
    """Return the mail server of a URL: smtp:// (STARTTLS), smtps://, or smtp+plain:// for a loopback address.

    Raises:
        ValueError: it is none; the text says why, and has no password.
    """
    parts = urlsplit(url)
    ways = {"smtp": ("starttls", 587), "smtps": ("tls", 465), "smtp+plain": ("plain", 25)}
    if parts.scheme not in ways or not parts.hostname:
        raise ValueError("smtp_url must be of the form smtp://user@host:587, smtps:// or smtp+plain://localhost")
    if parts.password is not None:
        raise ValueError("smtp_url must not hold a password: name a file in smtp_password_file")
    way, port = ways[parts.scheme]
    if way == "plain" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("smtp+plain:// is for a mail server on this machine: use smtp:// or smtps://")
    if "@" not in sender or any(character in sender for character in "\r\n"):
        raise ValueError("smtp_sender must be a mail address")
    return Mail(parts.hostname, parts.port or port, way, unquote(parts.username or ""), password, sender)


def read_mail_server(url: str, password_file: str, sender: str) -> Mail | None:
    """Return the mail server of the settings, None if they have none. Raises as `read_mail`, or OSError."""
    return read_mail(url, Path(password_file).read_text().strip() if password_file else "", sender) if url else None


def send_mail(mail: Mail, to: str, notice: Notice, trust: ssl.SSLContext, seconds: float) -> None:
    """Send a notice. Its id is the Message-ID, so that one that arrives twice is shown once.

    Raises:
        OSError: the server of mail cannot be reached, or refuses it.
    """
    message = EmailMessage()
    message["From"], message["To"] = mail.sender, to
    message["Subject"] = f"Backfleet: {' '.join(notice.subject.split())}"[:200]
    message["Date"] = format_datetime(notice.created_at)
    message["Message-ID"] = f"<{notice.id}@{mail.sender.rpartition('@')[2]}>"
    message.set_content(mail_text(notice))
    with _connected(mail, trust, seconds) as connection:
        if mail.user:
            connection.login(mail.user, mail.password)
        connection.send_message(message)


def _connected(mail: Mail, trust: ssl.SSLContext, seconds: float) -> smtplib.SMTP:
    if mail.encrypted == "tls":
        return smtplib.SMTP_SSL(mail.host, mail.port, timeout=seconds, context=trust)
    connection = smtplib.SMTP(mail.host, mail.port, timeout=seconds)
    try:
        if mail.encrypted == "starttls":
            connection.starttls(context=trust)
    except BaseException:
        connection.close()
        raise
    return connection


def mail_text(notice: Notice) -> str:
    """Return a notice as text. Pure."""
    data = json.loads(notice.body)["data"]
    lines = [data["summary"], "", *(f"- {each['id']}: {each['text']}" for each in data["items"])]
    left = data["count"] - len(data["items"])
    lines += [f"- and {left} more"] if left > 0 else []
    return "\n".join([*lines, "", f"{notice.kind.value}, {notice.id}, {notice.created_at:%Y-%m-%d %H:%M:%S} UTC"])
