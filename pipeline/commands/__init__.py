"""The command line: `sheap` (cli) and the programs behind its commands, one file each."""
