"""`python -m qhybrid`: the command line."""

from qhybrid.commands.main import main

if __name__ == "__main__":
    main()
