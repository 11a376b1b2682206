"""A file of rows that is served over HTTP by a process of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from declared import Work
from files import ToWrite

SERVER = Path(__file__).with_name("static_server.py")
HERE = "127.0.0.1"


class Served(ToWrite):
    """Rows in a `.npy` file that is served, and that is to be fetched into new files.

    Attributes
    ----------
    path, url : str
        Where it lies, and where it is served.
    sha256 : str
        Its digest.
    """

    def __init__(self, work: Work, folder: str) -> None:
        super().__init__(work, folder)
        self.path = os.path.join(folder, "served.npy")
        np.save(self.path, self.rows)
        self.sha256 = hashlib.sha256(Path(self.path).read_bytes()).hexdigest()
        os.environ["no_proxy"] = HERE
        self._server = subprocess.Popen([sys.executable, str(SERVER), HERE, folder], stdout=subprocess.PIPE, text=True)
        told = self._server.stdout.readline() if self._server.stdout is not None else ""
        self.url = f"http://{HERE}:{int(told)}/{os.path.basename(self.path)}"

    def close(self) -> None:
        """End the server, and remove what was written."""
        self._server.terminate()
        self._server.communicate()
        self.make_ready()
