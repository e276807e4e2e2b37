"""Mistakes that the user can mend."""


class UserError(Exception):
    """What is wrong and what to do, in one line; the program prints it and exits with 2."""
