"""What all tests share: hypothesis without deadlines or traces on disk; the frameworks' tests on demand only."""

import os
import tempfile

from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

collect_ignore = [] if os.environ.get("BATCHUP_TEST_ALL") == "1" else ["frameworks"]

_HOME = tempfile.TemporaryDirectory(prefix="batchup-hypothesis-")  # removed when the process ends
set_hypothesis_home_dir(_HOME.name)
settings.register_profile(
    "batchup",
    deadline=None,
    database=None,
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("batchup")
