"""`python -m oaiproxy`."""

import sys

from oaiproxy.cli import main

if __name__ == "__main__":
    sys.exit(main())
