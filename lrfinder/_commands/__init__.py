"""The commands of `lrfinder`, one per file; only they and `lrfinder.cli` print."""
