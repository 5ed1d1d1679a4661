"""The command line: parse, call, print. One file a command, imported only when it is called."""
