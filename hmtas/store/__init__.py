"""The embedding store: a season as memory-mapped Arrow files, on a disk or in a service."""
