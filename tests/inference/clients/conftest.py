"""The scripts here run in environments of their own, with the clients they are about."""

collect_ignore_glob = ["*.py"]
