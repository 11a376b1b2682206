"""Images scaled by hand in a process in which nothing else has allocated memory, as in a short program."""

from __future__ import annotations

from declared import Work
from files import RowFiles
from slices import Epoch

from contenders import Ways
from contenders.images_by_hand import divided


def divided_alone(work: Work, files: RowFiles) -> Epoch:
    """*by hand* in a process of its own: what it lets go may go back to the system, to be mapped anew each time."""
    return divided(work, files)


WAYS: Ways = {"scaled": {"by hand, alone": divided_alone}}
