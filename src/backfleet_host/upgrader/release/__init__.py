"""Which bytes a release is: signed metadata, downloads, manifests, upgrade paths."""
