"""Files that others wrote or will read: labels, splits and submissions."""
