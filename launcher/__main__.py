"""``python -m gym_service_launcher`` is the command ``gym-service``. Python 3.10 and up."""

import sys

from gym_service_launcher.cli import main

sys.exit(main())
