"""Batch scoring: rows of a file or a topic, a version from the log, scores to a file or a topic."""
