#!/usr/bin/env python3
"""Write what shells complete for `backfleet-host`, from its command line itself: `write_completions.py FOLDER`.

The host program starts too slowly on small hosts to be asked at each TAB, so these are plain lists.
"""

import argparse
import sys
from pathlib import Path

from backfleet_host.__main__ import _parser as host_parser

BASH = """\
# bash completion of backfleet-host, printed from its command line
_backfleet_host() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words
  case $before in {files}) COMPREPLY=($(compgen -f -- "$word")); return ;; esac
  case ${{COMP_WORDS[1]}} in
{cases}
  *) words="{verbs}" ;;
  esac
  [ "$COMP_CWORD" -eq 1 ] && words="{verbs}"
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o filenames -F _backfleet_host backfleet-host
"""
ZSH = "#compdef backfleet-host\nautoload -U +X bashcompinit && bashcompinit\n"
FILE_NAMES = ("DIR", "FILE")


def scripts() -> dict[str, str]:
    """Return the script of each shell by the shell's name."""
    commands = commands_of(host_parser())
    bash = bash_script(commands)
    return {"bash": bash, "zsh": ZSH + bash, "fish": fish_script(commands)}


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command by its name."""
    (verbs,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return dict(verbs.choices)


def flags_of(command: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options of a command."""
    return [action for action in command._actions if action.option_strings]


def bash_script(commands: dict[str, argparse.ArgumentParser]) -> str:
    """Return the script for bash: commands, their options, and the values of those that take a choice."""
    cases, files = [], set()
    for name, command in commands.items():
        words = [flag for action in flags_of(command) for flag in action.option_strings]
        for action in flags_of(command):
            if action.metavar in FILE_NAMES:
                files.update(action.option_strings)
            if action.choices:
                inner = " ".join(map(str, action.choices))
                cases.append(f'  {name}) [ "$before" = {action.option_strings[-1]} ] && words="{inner}" ||')
                cases.append(f'    words="{" ".join(words)}" ;;')
                break
        else:
            cases.append(f'  {name}) words="{" ".join(words)}" ;;')
    return BASH.format(files="|".join(sorted(files)), cases="\n".join(cases), verbs=" ".join(commands))


def fish_script(commands: dict[str, argparse.ArgumentParser]) -> str:
    """Return the script for fish, with what each word means."""
    lines = ["complete -c backfleet-host -f"]
    for name, command in commands.items():
        text = quoted(command.description or "")
        lines.append(f"complete -c backfleet-host -n __fish_use_subcommand -a {name} -d {text}")
        for action in flags_of(command):
            flags = " ".join(f"-l {flag[2:]}" for flag in action.option_strings if flag.startswith("--"))
            takes = (
                ""
                if action.nargs == 0
                else f" -x -a {quoted(' '.join(map(str, action.choices)))}"
                if action.choices
                else " -r"
            )
            help_text = quoted((action.help or "").replace("%(default)s", str(action.default)))
            lines.append(
                f"complete -c backfleet-host -n '__fish_seen_subcommand_from {name}' {flags}{takes} -d {help_text}"
            )
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return text as one word of fish. Source: fish's manual, quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def main() -> int:
    """Write the scripts; return the exit code."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for shell, text in scripts().items():
        (folder / f"backfleet-host.{shell}").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
