"""The one way a user's mistake travels to the command line."""


class UserError(Exception):
    """A mistake the user can mend: one line saying what is wrong, where, and what to do.

    The command line prints the message and exits with code 2. Anything else that is raised is a bug
    and ends in a traceback.
    """
