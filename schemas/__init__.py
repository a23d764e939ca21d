"""The schemas of the log, and the generator of what the services know of them."""
