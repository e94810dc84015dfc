"""The one error for bad input."""


class InputError(ValueError):
    """Bad input of the user's: the message is one line that says what is wrong and what to do."""
