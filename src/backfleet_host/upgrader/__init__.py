"""The upgrade on the host: one transaction, forwards or backwards, never between."""
