"""The commands of the command line. A function for each takes (arguments, settings) and returns the exit status."""
