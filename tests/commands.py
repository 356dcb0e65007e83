"""What the tests of the command line share."""

import re

import pytest

from sk_backprop._command.parser import main


def refused(capsys, *argv):
    """The message of a command that must end with status 2, in one line."""
    with pytest.raises(SystemExit) as stopped:
        main([str(arg) for arg in argv])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    program, _, message = err.partition(": ")
    assert re.fullmatch(r"python -m sk_backprop( \w+)?", program)
    return message.strip()
