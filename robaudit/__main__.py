"""`python -m robaudit` is the `robaudit` command."""

from robaudit.cli.main import main

main()
