"""How long official clients wait in tests: their own limits are too short for a machine under load."""

SDK_SECONDS = 60  # of one request
SDK_TIMEOUTS = {"connect_timeout": SDK_SECONDS * 1000, "read_timeout": SDK_SECONDS * 1000}  # milliseconds, for a Config
