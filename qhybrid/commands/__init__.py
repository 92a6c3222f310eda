"""The command line: one file per group of commands. The only room that knows of `hardware`."""
