"""A pipeline file proposed from a sample of real topics: pure but for the reading, which `init` does."""
