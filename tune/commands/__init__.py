"""The verbs of `hmtas tune`."""
