"""What runs on a managed host: a Cloud Assistant agent, and the upgrade of a backup client as one transaction.

Pure Python with few dependencies, packed as one file (`backfleet-host.pyz`). Runs on Python 3.10 or newer: its
packages ask for that.
"""

VERSION = "0.1.0"
