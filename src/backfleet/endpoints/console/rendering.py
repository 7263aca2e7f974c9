"""Templates, and the files that pages use. Everything that a template shows is escaped unless it is one of its own."""

import hashlib
import re
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, pass_context
from markupsafe import Markup

from backfleet_host.texts import counted

STATIC: Final = "/console/static"
TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
NAVIGATION: Final = (
    ("/fleet", "Fleet", "f"), ("/tasks", "Tasks", "t"), ("/rollouts", "Rollouts", "r"), ("/releases", "Releases", "v"),
    ("/explorer", "Explorer", "e"), ("/trail", "Trail", "a"), ("/access", "Access", "p"), ("/server", "Server", "s"),
)  # fmt: skip
"""The pages in the bar: address, name, and the key after `g`."""
MINUTE, HOUR, DAY = 60, 3600, 86_400


class Renderer:
    """The templates and static files of the console. An address of a file holds its hash: it is kept for good."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("backfleet.endpoints.console"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._files = {file.name: file.read_bytes() for file in _files()}
        self._names = {name: _hashed(name, body) for name, body in self._files.items()}
        self._environment.filters.update(moment=moment, ago=ago, duration=duration, count=counted, words=words)
        self._environment.globals.update(static=self.address, token=_form_token, NAVIGATION=NAVIGATION)

    def render(self, template: str, **values: object) -> str:
        """Return a page."""
        return self._environment.get_template(template).render(**values)

    def address(self, name: str) -> str:
        """Return the address of a static file."""
        return f"{STATIC}/{self._names[name]}"

    def file(self, name: str) -> tuple[bytes, str] | None:
        """Return the bytes and the type of a static file by the name in its address; None if there is none."""
        for plain, hashed in self._names.items():
            if hashed == name:
                body = self._files[plain]
                if plain.endswith(".js"):
                    body = self._with_hashed_imports(body)
                return body, TYPES[plain.rpartition(".")[2]]
        return None

    def _with_hashed_imports(self, body: bytes) -> bytes:
        for plain, hashed in self._names.items():
            body = body.replace(f'from "./{plain}"'.encode(), f'from "./{hashed}"'.encode())
        return body


def moment(seconds: float | None) -> Markup:
    """Return a moment in UTC; a script adds the viewer's own time, shown on hover. Given in seconds since 1970."""
    if not seconds:
        return Markup('<span class="none">never</span>')
    at = datetime.fromtimestamp(seconds, UTC)
    text, exact = f"{at:%Y-%m-%d %H:%M}", f"{at:%Y-%m-%dT%H:%M:%SZ}"
    return Markup('<time datetime="{exact}" title="{exact}">{text}</time>').format(exact=exact, text=text)


@pass_context
def ago(context: Any, seconds: float | None) -> Markup:
    """Return how long ago a moment was, with the moment itself on hover."""
    if not seconds:
        return Markup('<span class="none">never</span>')
    at = datetime.fromtimestamp(seconds, UTC)
    exact, passed = f"{at:%Y-%m-%dT%H:%M:%SZ}", context["visit"].now.timestamp() - seconds
    text = f"{duration(passed)} ago" if passed >= 0 else f"in {duration(-passed)}"
    return Markup('<time datetime="{exact}" title="{exact}">{text}</time>').format(exact=exact, text=text)


def duration(seconds: float) -> str:
    """Return a length of time in its largest unit or two."""
    seconds = int(seconds)
    if seconds < MINUTE:
        return f"{seconds} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE} min"
    if seconds < 2 * DAY:
        return f"{seconds // HOUR} h {seconds % HOUR // MINUTE} min"
    return f"{seconds // DAY} days"


def words(state: str) -> str:
    """Return a state as people read it: RolledBack and rolled_back are "rolled back"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", str(state)).lower()


@pass_context
def _form_token(context: Any) -> Markup:
    """Return the hidden field that every form has."""
    return Markup('<input type="hidden" name="form_token" value="{}">').format(context["form_token"])


def _files() -> list[Any]:
    folder = resources.files("backfleet.endpoints.console") / "static"
    return [file for file in folder.iterdir() if file.name.rpartition(".")[2] in TYPES]


def _hashed(name: str, body: bytes) -> str:
    stem, _, ending = name.rpartition(".")
    return f"{stem}.{hashlib.sha256(body).hexdigest()[:12]}.{ending}"
