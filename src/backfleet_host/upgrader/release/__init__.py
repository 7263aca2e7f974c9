"""Find releases in signed metadata, download and verify their artifacts, and choose the upgrade path."""
