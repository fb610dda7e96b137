"""`python -m flowtime` is the `flowtime` command."""

from flowtime.cli import main

main()
