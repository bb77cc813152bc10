"""One module per command of the command line; each has `execute(arguments, settings) -> exit status`."""
