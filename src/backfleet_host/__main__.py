"""The command line of a managed host: enrol, prepare, service, run, adopt, status, doctor, recover, remove."""

from __future__ import annotations

import sys
from datetime import timezone
from typing import TYPE_CHECKING, List, Optional

from backfleet_host.texts import printable

if TYPE_CHECKING:
    import argparse

CODE_VARIABLE = "BACKFLEET_ACTIVATION_CODE"
VERBS = "enrol|prepare|service|run|adopt|give-back|status|doctor|recover|rehearse|watchdog|late-rollback|remove"
DONE, FAILED, INTERRUPTED = 0, 1, 130
UNFINISHED = ("RollbackFailed", "InternalError", "UpgradeInProgress")  # codes of a recovery that did not succeed


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command that the arguments name.

    Returns:
        0 if it is done, 1 if it failed. Wrong arguments exit with 2.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["carry-out"]:  # the process of a task: before the parser is built, since it must start fast
        from backfleet_host.agent.execution.task_process import main as carry_out

        return carry_out(arguments[1:])
    if arguments[:1] == ["bring"]:  # an order that came through another agent's shell
        from backfleet_host.agent.execution.bootstrap import main as bring

        return bring(arguments[1:])
    try:
        options = _parser().parse_args(arguments)
        return int(options.do(options))
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)


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
        "--root",
        type=Path,
        default=DEFAULT_ROOT,
        metavar="DIR",
        help="the folder that holds everything it writes (%(default)s)",
    )
    verbs = parser.add_subparsers(metavar=VERBS, required=True, dest="verb")
    _add_enrol(verbs, root)
    _add_prepare(verbs, root)
    _add_service(verbs, root)
    _add_run(verbs, root)
    _add_adopting(verbs, root)
    _add_remove(verbs, root)
    for verb, do, text in (
        ("status", _status, "show the status of this host and its clients; changes nothing"),
        ("doctor", _doctor, "check this host, and say what is wrong and what to do; changes nothing"),
        ("recover", _recover, "finish or roll back what a crash left behind"),
    ):
        command = verbs.add_parser(verb, parents=[root], help=text, description=text, allow_abbrev=False)
        command.add_argument("--json", action="store_true", help="for programs")
        command.set_defaults(do=do)
    return parser


def _add_enrol(verbs: argparse._SubParsersAction[argparse.ArgumentParser], root: argparse.ArgumentParser) -> None:
    from pathlib import Path

    text = "register this host with a server, once"
    command = verbs.add_parser("enrol", parents=[root], help=text, description=text, allow_abbrev=False)
    command.add_argument("--server", required=True, metavar="HOST:PORT")
    command.add_argument(
        "--ca", required=True, type=Path, metavar="FILE", help="the server's certificate authority, PEM"
    )
    command.add_argument("--activation-id", required=True, metavar="ID")
    command.add_argument(
        "--activation-code",
        metavar="CODE",
        help=f"`-` reads it from standard input; without it, the variable {CODE_VARIABLE} is used",
    )
    command.add_argument("--name", default="", help="a name for people")
    command.add_argument(
        "--release-root", type=Path, metavar="FILE", help="trust releases by this root instead of the server's"
    )
    command.add_argument(
        "--new-identity",
        action="store_true",
        help="also if this host is enrolled: it is a copy of another one, which keeps the identity they share",
    )
    command.set_defaults(do=_enrol, complain=command.error)


def _add_prepare(verbs: argparse._SubParsersAction[argparse.ArgumentParser], root: argparse.ArgumentParser) -> None:
    from backfleet_host.agent.setup import prepare_command

    text = "have this disk, or each copy of it, enrol when the machine starts"
    command = verbs.add_parser("prepare", parents=[root], help=text, description=text, allow_abbrev=False)
    prepare_command.add_arguments(command)
    command.set_defaults(do=_prepare)


def _add_service(verbs: argparse._SubParsersAction[argparse.ArgumentParser], root: argparse.ArgumentParser) -> None:
    text = "have systemd run this host's agent, now and after every start of the machine"
    command = verbs.add_parser("service", parents=[root], help=text, description=text, allow_abbrev=False)
    command.add_argument(
        "--remove", action="store_true", help="stop the agent and remove its unit; clients stay as they are"
    )
    _add_allow_shell(command)
    command.set_defaults(do=_service)
    for verb, text in (
        ("rehearse", "check that this program can carry orders here: the proof of an upgrade of itself"),
        ("watchdog", "finish or roll back an upgrade of the host program that was cut off"),
        ("late-rollback", "go back to this version of the host program, if the current one's agent runs no more"),
    ):
        command = verbs.add_parser(verb, parents=[root], help=text, description=text, allow_abbrev=False)
        command.set_defaults(do=_own_package)


def _add_remove(verbs: argparse._SubParsersAction[argparse.ArgumentParser], root: argparse.ArgumentParser) -> None:
    text = "leave: stop the agent, hand the clients back or remove them, deregister, and delete the rest"
    command = verbs.add_parser("remove", parents=[root], help=text, description=text, allow_abbrev=False)
    command.add_argument(
        "--clients",
        required=True,
        choices=("keep", "remove"),
        help="keep: as plain programs in place, which nobody upgrades; remove: their state stays",
    )
    command.set_defaults(do=_remove)


def _add_adopting(verbs: argparse._SubParsersAction[argparse.ArgumentParser], root: argparse.ArgumentParser) -> None:
    from backfleet_host.agent.setup import adopt_command

    for verb, add_arguments, text in adopt_command.VERBS:
        command = verbs.add_parser(verb, parents=[root], help=text, description=text, allow_abbrev=False)
        add_arguments(command)
        command.set_defaults(do=_adopt)


def _add_allow_shell(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--allow-shell", action="store_true", help="let the server run any command on this host, not only orders"
    )


def _add_run(verbs: argparse._SubParsersAction[argparse.ArgumentParser], root: argparse.ArgumentParser) -> None:
    text = "run this host's agent in the foreground, until SIGTERM"
    command = verbs.add_parser("run", parents=[root], help=text, description=text, allow_abbrev=False)
    _add_allow_shell(command)
    command.set_defaults(do=_run)


def _enrol(options: argparse.Namespace) -> int:
    from datetime import datetime

    from backfleet_host.agent.execution.permission import RESTRICTED
    from backfleet_host.agent.protocol.address import BadAddress, read_address
    from backfleet_host.agent.setup.enrolment import CannotEnrol, EnrolmentOptions, enrol
    from backfleet_host.layout import Places

    try:
        address = read_address(options.server)
    except BadAddress as problem:
        options.complain(str(problem))
    enrolment = EnrolmentOptions(
        address,
        options.ca.absolute(),
        options.activation_id,
        _code(options),
        options.name,
        release_root=options.release_root,
        new_identity=options.new_identity,
    )
    places = Places(options.root.absolute())
    try:
        identity = enrol(places, enrolment, mode=RESTRICTED, now=datetime.now(timezone.utc), progress=_note)
    except CannotEnrol as problem:
        return _fail(str(problem), FAILED)
    _say(f"enrolled as {identity.instance_id}; now start the agent: backfleet-host service --root {places.root}")
    return DONE


def _prepare(options: argparse.Namespace) -> int:
    from backfleet_host.agent.setup import prepare_command
    from backfleet_host.agent.setup.enrolment_errors import CannotEnrol

    try:
        _say(prepare_command.carry_out(options))
    except CannotEnrol as problem:
        return _fail(str(problem), FAILED)
    return DONE


def _code(options: argparse.Namespace) -> str:
    import os

    code = options.activation_code
    if code == "-":
        code = sys.stdin.readline()
    code = (code or os.environ.get(CODE_VARIABLE, "")).strip()
    if not code:
        options.complain(
            f"an activation code is needed: give --activation-code, or set {CODE_VARIABLE} in the environment"
        )
    return str(code)


def _service(options: argparse.Namespace) -> int:
    from backfleet_host.agent.setup import systemd_unit
    from backfleet_host.identity import NotEnrolled

    root = options.root.absolute()
    name = systemd_unit.unit_name(root)
    try:
        if options.remove:
            systemd_unit.remove_unit(name)
        else:
            systemd_unit.install_unit(name, root, allow_shell=options.allow_shell)
    except (systemd_unit.CannotServe, NotEnrolled) as problem:
        return _fail(str(problem), FAILED)
    _say(f"{name} is removed" if options.remove else f"{name} runs; look at it with: journalctl -u {name}")
    return DONE


def _remove(options: argparse.Namespace) -> int:
    from backfleet_host.agent.setup.leaving import CannotLeave, leave, lines_of

    root = options.root.absolute()
    try:
        left = leave(root, options.clients, _note)
    except CannotLeave as problem:
        return _fail(str(problem), FAILED)
    for line in lines_of(left, root):
        _say(line)
    return DONE


def _adopt(options: argparse.Namespace) -> int:
    from backfleet_host.agent.setup import adopt_command

    try:
        for line in options.carry_out(options):
            _say(line)
    except adopt_command.CannotAdopt as problem:
        return _fail(str(problem), FAILED)
    return DONE


def _run(options: argparse.Namespace) -> int:
    from backfleet_host.agent.execution import host_program
    from backfleet_host.layout import Places

    root = options.root.absolute()
    archive = host_program.own_archive()
    _set_up_logs()
    if Places(root).prepared.exists():
        from backfleet_host.agent.execution.permission import RESTRICTED, SHELL
        from backfleet_host.agent.setup.first_start import enrol_if_prepared

        enrol_if_prepared(Places(root), mode=SHELL if options.allow_shell else RESTRICTED)
    try:
        if archive is not None and Places(root).identity.exists():
            arguments = ["run", "--root", str(root), *(["--allow-shell"] if options.allow_shell else [])]
            host_program.restart_from(host_program.unpack(Places(root), archive), arguments)
        from backfleet_host.agent.running import CannotRun, run
    except OSError as problem:
        return _fail(
            f"{root} cannot be used: {problem.strerror or problem}; run as the user who enrolled the host", FAILED
        )
    try:
        return run(root, allow_shell=options.allow_shell)
    except CannotRun as problem:
        return _fail(str(problem), FAILED)


def _status(options: argparse.Namespace) -> int:
    import json

    from backfleet_host import VERSION, upgrader
    from backfleet_host.agent.status import lines_of, status

    root = options.root.absolute()
    try:
        agent = status(root)
        packages = upgrader.status(root) if agent["enrolled"] else {}
    except OSError as problem:
        return _fail(f"{problem.filename or root} cannot be read: {problem.strerror or problem}", FAILED)
    host_status = {"root": str(root), "version": VERSION, "agent": agent, **packages}
    if options.json:
        print(json.dumps(host_status, indent=1, sort_keys=True))
    for line in [] if options.json else lines_of(host_status):
        _say(line)
    return DONE


def _doctor(options: argparse.Namespace) -> int:
    import json
    from datetime import datetime

    from backfleet_host.agent.doctor import EXIT_CODES, as_json, examine, lines_of, worst

    findings = list(examine(options.root.absolute(), datetime.now(timezone.utc)))
    if options.json:
        print(json.dumps(as_json(findings), indent=1, sort_keys=True))
    for line in [] if options.json else lines_of(findings):
        _say(line)
    return EXIT_CODES[worst(findings)]


def _own_package(options: argparse.Namespace) -> int:
    from backfleet_host.agent.execution.host_program import own_archive
    from backfleet_host.agent.setup.own_package import NotReady, carry_out

    try:
        for line in carry_out(options.verb, own_archive(), options.root.absolute()):
            _say(line)
    except NotReady as problem:
        return _fail(str(problem), problem.exit_code)
    return DONE


def _recover(options: argparse.Namespace) -> int:
    import dataclasses
    import json

    from backfleet_host import upgrader
    from backfleet_host.identity import NotEnrolled

    try:
        reports = upgrader.recover_all(options.root.absolute(), progress=lambda line: None)
    except NotEnrolled as problem:
        return _fail(str(problem), FAILED)
    except OSError as problem:
        return _fail(
            f"{options.root} cannot be used: {problem.strerror or problem}; run as the user who enrolled the host",
            FAILED,
        )
    if options.json:
        print(json.dumps([dataclasses.asdict(report) for report in reports], indent=1, sort_keys=True))
    for report in [] if options.json else reports:
        _say(f"{report.package}: {report.current_version or 'nothing'} is installed; {report.code} {report.message}")
    if not (reports or options.json):
        print("nothing to recover")
    return FAILED if any(report.code in UNFINISHED for report in reports) else DONE


def _set_up_logs() -> None:
    """Log to standard error with time and level. Libraries log errors only."""
    import logging
    import time

    class _LogLines(logging.Formatter):
        def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
            record.message = printable(record.message)
            return super().formatMessage(record)

    lines = _LogLines("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    lines.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(lines)
    logging.basicConfig(handlers=[handler], level=logging.ERROR)
    logging.getLogger("backfleet_host").setLevel(logging.INFO)


def _fail(text: str, exit_code: int) -> int:
    _note(f"backfleet-host: {text}")
    return exit_code


def _note(text: str) -> None:
    print(printable(text), file=sys.stderr)


def _say(line: str) -> None:
    """Print one line. Names, paths and messages in it come from elsewhere: what is not printable is escaped."""
    print(printable(line))


if __name__ == "__main__":
    sys.exit(main())
