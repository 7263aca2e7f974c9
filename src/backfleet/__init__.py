"""The Backfleet control plane and its command line. ARCHITECTURE.md is the plan of the services."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("backfleet")
except PackageNotFoundError:  # run straight from the source tree
    VERSION = "0.0.0"
