"""``python -m sk_backprop``: BackpropRegressor on a table in a file; see `sk_backprop._command`."""

import sys

from sk_backprop._command.parser import main

if __name__ == "__main__":
    sys.exit(main())
