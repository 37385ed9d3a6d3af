"""The command line: `sql-ros <command> --help` teaches each by example."""
