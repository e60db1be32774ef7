"""``python -m gym_service``: the command ``gym-service``. Python 3.10 and up."""

import sys

from gym_service.cli.main import main

sys.exit(main())
