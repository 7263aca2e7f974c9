"""`python -m backfleet.cli`: the same as `backfleet`."""

from backfleet.cli import main

main(prog_name="backfleet")
