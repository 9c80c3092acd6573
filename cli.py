"""`python cli.py ...` from a checkout is the installed `spice ...`."""

from spice_keras.cli import main

main()
