"""`python -m hmtas` is `hmtas`."""

from hmtas.cli import main

if __name__ == "__main__":
    main()
