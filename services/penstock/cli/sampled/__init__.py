"""A sample of producers' topics: read in no group, and judged as intake would."""
