"""The command line of a managed host: enrol, service, run, status, recover."""

from __future__ import annotations

import sys
from datetime import timezone
from typing import TYPE_CHECKING, List, Optional

if TYPE_CHECKING:
    import argparse

CODE_VARIABLE = "BACKFLEET_ACTIVATION_CODE"
DONE, FAILED, INTERRUPTED = 0, 1, 130
UNSOUND = ("RollbackFailed", "InternalError", "UpgradeInProgress")  # a recovery that ends so is not over


def main(words: Optional[List[str]] = None) -> int:
    """Do what the words say. Returns 0 done, 1 it failed; wrong words exit with 2."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["carry-out"]:  # the agent's own; apart, because it must start fast
        from backfleet_host.agent.execution.task_process import main as carry_out

        return carry_out(words[1:])
    if words[:1] == ["bring"]:  # an order that came through another agent's shell
        from backfleet_host.agent.execution.bootstrap import main as bring

        return bring(words[1:])
    try:
        asked = _parser().parse_args(words)
        return int(asked.do(asked))
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    import argparse
    from pathlib import Path

    from backfleet_host import VERSION
    from backfleet_host.layout import DEFAULT_ROOT

    parser = argparse.ArgumentParser(
        prog="backfleet-host",
        description="Lets a Backfleet server keep this host's backup client up to date.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    root = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    root.add_argument(
        "--root", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="holds everything it writes (%(default)s)"
    )
    verbs = parser.add_subparsers(metavar="enrol|service|run|status|recover", required=True, dest="verb")
    _add_enrol(verbs, root)
    _add_service(verbs, root)
    _add_run(verbs, root)
    for verb, do, text in (
        ("status", _status, "say how this host and its clients stand; changes nothing"),
        ("recover", _recover, "finish or undo what a crash left behind"),
    ):
        words = verbs.add_parser(verb, parents=[root], help=text, description=text, allow_abbrev=False)
        words.add_argument("--json", action="store_true", help="for programs")
        words.set_defaults(do=do)
    return parser


def _add_enrol(verbs: argparse._SubParsersAction[argparse.ArgumentParser], root: argparse.ArgumentParser) -> None:
    from pathlib import Path

    text = "register this host with a server, once"
    words = verbs.add_parser("enrol", parents=[root], help=text, description=text, allow_abbrev=False)
    words.add_argument("--server", required=True, metavar="HOST:PORT")
    words.add_argument("--ca", required=True, type=Path, metavar="FILE", help="the server's certificate authority, PEM")
    words.add_argument("--activation-id", required=True, metavar="ID")
    words.add_argument(
        "--activation-code",
        metavar="CODE",
        help=f"`-` reads it from standard input; without it, {CODE_VARIABLE} counts",
    )
    words.add_argument("--name", default="", help="what people call this host")
    words.add_argument(
        "--release-root", type=Path, metavar="FILE", help="believe releases by this root, whatever the server says"
    )
    words.set_defaults(do=_enrol, complain=words.error)


def _add_service(verbs: argparse._SubParsersAction[argparse.ArgumentParser], root: argparse.ArgumentParser) -> None:
    text = "have systemd run this host's agent, now and after every start of the machine"
    words = verbs.add_parser("service", parents=[root], help=text, description=text, allow_abbrev=False)
    words.add_argument("--remove", action="store_true", help="stop it and forget its unit; clients stay as they are")
    _add_allow_shell(words)
    words.set_defaults(do=_service)


def _add_allow_shell(words: argparse.ArgumentParser) -> None:
    words.add_argument(
        "--allow-shell", action="store_true", help="let the server run any command on this host, not only orders"
    )


def _add_run(verbs: argparse._SubParsersAction[argparse.ArgumentParser], root: argparse.ArgumentParser) -> None:
    text = "be this host's agent, in the foreground, until SIGTERM"
    words = verbs.add_parser("run", parents=[root], help=text, description=text, allow_abbrev=False)
    _add_allow_shell(words)
    words.set_defaults(do=_run)


def _enrol(asked: argparse.Namespace) -> int:
    from datetime import datetime

    from backfleet_host.agent.execution.permission import RESTRICTED
    from backfleet_host.agent.protocol.server import BadAddress, read_address
    from backfleet_host.agent.setup.enrolment import CannotEnrol, Wish, enrol
    from backfleet_host.layout import Places

    try:
        address = read_address(asked.server)
    except BadAddress as problem:
        asked.complain(str(problem))
    wish = Wish(
        address, asked.ca.absolute(), asked.activation_id, _code(asked), asked.name, release_root=asked.release_root
    )
    places = Places(asked.root.absolute())
    try:
        identity = enrol(places, wish, mode=RESTRICTED, now=datetime.now(timezone.utc), say=_note)
    except CannotEnrol as problem:
        return _say(str(problem), FAILED)
    print(f"enrolled as {identity.instance_id}; now start the agent: backfleet-host service --root {places.root}")
    return DONE


def _code(asked: argparse.Namespace) -> str:
    import os

    code = asked.activation_code
    if code == "-":
        code = sys.stdin.readline()
    code = (code or os.environ.get(CODE_VARIABLE, "")).strip()
    if not code:
        asked.complain(f"an activation code is needed: --activation-code, or {CODE_VARIABLE} in the environment")
    return str(code)


def _service(asked: argparse.Namespace) -> int:
    from backfleet_host.agent.setup import systemd_unit
    from backfleet_host.identity import NotEnrolled
    from backfleet_host.layout import DEFAULT_ROOT

    root = asked.root.absolute()
    name = systemd_unit.name_of(root, DEFAULT_ROOT)
    try:
        if asked.remove:
            systemd_unit.run_no_more(name)
        else:
            systemd_unit.keep_running(name, root, allow_shell=asked.allow_shell)
    except (systemd_unit.CannotServe, NotEnrolled) as problem:
        return _say(str(problem), FAILED)
    print(f"{name} is removed" if asked.remove else f"{name} runs; look at it with: journalctl -u {name}")
    return DONE


def _run(asked: argparse.Namespace) -> int:
    from backfleet_host.agent.execution import host_program
    from backfleet_host.layout import Places

    root = asked.root.absolute()
    packed = host_program.archive()
    try:
        if packed is not None and Places(root).identity.exists():
            words = ["run", "--root", str(root), *(["--allow-shell"] if asked.allow_shell else [])]
            host_program.go_on_from(host_program.unpacked(Places(root), packed), words)
        from backfleet_host.agent.running import CannotRun, run
    except OSError as problem:
        return _say(f"{root} cannot be used: {problem.strerror or problem}; run as the user who enrolled", FAILED)
    _set_up_logs()
    try:
        return run(root, allow_shell=asked.allow_shell)
    except CannotRun as problem:
        return _say(str(problem), FAILED)


def _status(asked: argparse.Namespace) -> int:
    import json

    from backfleet_host import VERSION, upgrader
    from backfleet_host.agent.status import lines_of, standing

    root = asked.root.absolute()
    agent = standing(root)
    packages = upgrader.status(root) if agent["enrolled"] else {}
    stands = {"root": str(root), "version": VERSION, "agent": agent, **packages}
    print(json.dumps(stands, indent=1, sort_keys=True) if asked.json else "\n".join(lines_of(stands)))
    return DONE


def _recover(asked: argparse.Namespace) -> int:
    import dataclasses
    import json

    from backfleet_host import upgrader
    from backfleet_host.identity import NotEnrolled

    try:
        reports = upgrader.recover_all(asked.root.absolute(), progress=lambda line: None)
    except NotEnrolled as problem:
        return _say(str(problem), FAILED)
    except OSError as problem:
        return _say(f"{asked.root} cannot be used: {problem.strerror or problem}; run as the user who enrolled", FAILED)
    if asked.json:
        print(json.dumps([dataclasses.asdict(report) for report in reports], indent=1, sort_keys=True))
    for report in [] if asked.json else reports:
        print(f"{report.package}: {report.current_version or 'nothing'} is installed; {report.code} {report.message}")
    if not (reports or asked.json):
        print("nothing to recover")
    return FAILED if any(report.code in UNSOUND for report in reports) else DONE


def _set_up_logs() -> None:
    """Lines with time and weight on standard error; of the libraries, errors only."""
    import logging
    import time

    lines = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    lines.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(lines)
    logging.basicConfig(handlers=[handler], level=logging.ERROR)
    logging.getLogger("backfleet_host").setLevel(logging.INFO)


def _say(text: str, exit_code: int) -> int:
    print(f"backfleet-host: {text}", file=sys.stderr)
    return exit_code


def _note(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
