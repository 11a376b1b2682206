"""What all tests share: hypothesis without deadlines or traces; some folders on demand only."""

import os
import signal
import tempfile

from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

_ON_DEMAND = {"frameworks": "BATCHUP_TEST_ALL", "h5mapper": "BATCHUP_TEST_H5MAPPER"}
collect_ignore = [folder for folder, variable in _ON_DEMAND.items() if os.environ.get(variable) != "1"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

_HOME = tempfile.TemporaryDirectory(prefix="batchup-hypothesis-")  # removed when the process ends
set_hypothesis_home_dir(_HOME.name)
settings.register_profile(
    "batchup",
    deadline=None,
    database=None,
    max_examples=60,
    derandomize=bool(os.environ.get("CI")),  # what a change is judged by is the same each time; elsewhere, new examples
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("batchup")
