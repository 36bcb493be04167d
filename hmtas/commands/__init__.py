"""The verbs of the command line, a file for each group; `hmtas.cli` puts them together."""
