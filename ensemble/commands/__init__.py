"""The verbs of `hmtas ensemble`."""
