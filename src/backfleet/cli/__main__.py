"""Run the command line: `python -m backfleet.cli` is the same as `backfleet`."""

from backfleet.cli import main

main(prog_name="backfleet")
